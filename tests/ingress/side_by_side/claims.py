"""The answer to who asks how Funnel treats an Upgrade, each sentence with what must stand in the
tables for it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingress.side_by_side.ingresses import CLOUDFLARE, MOUNTED
from ingress.side_by_side.reloads import STAYS, TOLD

RELOAD_TITLE = "the open stream"
Cells = Callable[[str, str], str]  # ingress, title
_TITLES = {
    "request_added": "request: added",
    "request_changed": "request: changed",
    "request_dropped": "request: dropped",
    "request_spelling": "request: names spelled",
    "answer_changed": "101: changed",
    "answer_dropped": "101: dropped",
    "offers": "subprotocol and extension offered",
    "alpn": "of h2 and http/1.1 chooses",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer, and what must stand in the tables for it."""

    says: str
    is_borne: Callable[[Cells], bool]


def _are(ingress: str, **wanted: str) -> Callable[[Cells], bool]:
    """Cells of one ingress; a title is written with underscores, and without colons."""
    return lambda cell: all(
        cell(ingress, _TITLES.get(name, name.replace("_", " "))) == value
        for name, value in wanted.items()
    )


def _all(names: Sequence[str], title: str, *wanted: str) -> Callable[[Cells], bool]:
    return lambda cell: all(cell(name, title) in wanted for name in names)


def _each(*needed: Callable[[Cells], bool]) -> Callable[[Cells], bool]:
    return lambda cell: all(need(cell) for need in needed)


def claims(proper: Sequence[str]) -> tuple[Claim, ...]:
    """The answer. `proper` are the ingresses that were compared."""
    cloudflare = tuple(name for name in CLOUDFLARE if name in proper)
    whole = {"request_changed": "nothing", "request_dropped": "nothing"}
    return (
        Claim(
            "Funnel's HTTPS mode passes an Upgrade on whole. `Connection`, `Upgrade`, the key, the "
            "version, an offered subprotocol and an offered extension arrive with the values that "
            "were sent, and the 101 comes back with nothing changed or taken away.",
            _each(
                _are("funnel-https", **whole),
                _are("funnel-https", offers="kept"),
                _are("funnel-https", answer_changed="nothing", answer_dropped="nothing"),
            ),
        ),
        Claim(
            "It spells names as Go does (`Sec-Websocket-Key`), which only a server that minds case "
            "notices, and adds `X-Forwarded-For`, `-Host`, `-Proto: https`, "
            "`Tailscale-Funnel-Request: ?1` and `Accept-Encoding: gzip`.",
            _are(
                "funnel-https",
                request_spelling="Sec-Websocket-Key, Sec-Websocket-Version",
                request_added="Accept-Encoding: gzip, Tailscale-Funnel-Request: ?1, "
                "X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto: https",
            ),
        ),
        Claim(
            "It loses three things that no call of Twilio's has: bytes that a client sends before "
            "it has its 101, pairs of a query that hold a `;` or a bad escape (silently), and "
            "upgrades over HTTP/2, which it chooses where a client offers it.",
            _each(
                _are("funnel-https", bytes_behind_the_head="lost"),
                _are("funnel-https", alpn="h2"),
                lambda cell: cell("funnel-https", "; in the query") == "becomes …/stream?c=3",
                lambda cell: cell("funnel-https", "bad escape in the query").endswith("?c=3"),
            ),
        ),
        Claim(
            "What breaks calls is the mount. `tailscale funnel --set-path=/voice` takes `/voice` "
            "off the path: `/voice/stream` arrives as `/stream`, which no gateway that listens on "
            "the former knows. Serve `/`, or name the path in the target as well.",
            lambda cell: cell(MOUNTED, "as it is") == "becomes /stream",
        ),
        Claim(
            "As TLS-terminated TCP (`--tls-terminated-tcp`) Funnel changes nothing at all, and "
            "tells the sidecar nothing of the client or of https.",
            _each(
                _are("funnel-tcp", request_added="nothing", **whole),
                _are("funnel-tcp", bytes_behind_the_head="passed", request_spelling="kept"),
            ),
        ),
        Claim(
            "Cloudflare Tunnel treats the Upgrade no better and no worse: nothing is changed or "
            "dropped, and cloudflared keeps queries and early bytes as they are.",
            _each(
                _all(cloudflare, "request: changed", "nothing"),
                _all(cloudflare, "request: dropped", "nothing"),
                _all(cloudflare, "; in the query", "kept"),
                _all(cloudflare, "bytes behind the head", "passed"),
            ),
        ),
        Claim(
            "nginx does as well if it is told to, and breaks calls if it is not: with `proxy_pass` "
            "alone it takes the Upgrade away (HS01), and with the two headers but no timeouts it "
            "ends a silent stream after 60 s. Apache without `upgrade=websocket` takes it away, "
            "too; Envoy without `upgrade_configs` refuses it.",
            _each(
                lambda cell: "HS01" in cell("nginx-bare", "verdict"),
                lambda cell: "HS01" in cell("apache-bare", "verdict"),
                lambda cell: cell("envoy-bare", "upgrade") == "403, by the ingress",
                lambda cell: bool(re.search(r"after (59|6\d)\.", cell("nginx-headers", "silence"))),
                _are("nginx", verdict="healthy"),
            ),
        ),
        Claim(
            "Frames are no reason to choose: through every one of them texts, binaries, fragments "
            "and a mebibyte came back as they were sent, pings of either side reached the other "
            "one, and close codes were kept.",
            _each(
                _all(proper, "messages to 1 MiB", "as sent"),
                _all(proper, "close codes", "as sent"),
                _all(proper, "ping by the client", "passed"),
                _all(proper, "ping by the server", "passed"),
            ),
        ),
        Claim(
            "Nor are paths, with two exceptions: Traefik and Apache decode and tidy them (Traefik "
            "makes `&` of `;` in a query as well, Apache answers 404 to `%2F`).",
            _each(
                _all(("traefik", "apache"), "double slash", "becomes …/a"),
                lambda cell: cell("traefik", "; in the query").endswith("?a=1&b=2&c=3"),
                lambda cell: cell("apache", "escaped slash %2F") == "answered 404 in front",
                _all(
                    [name for name in proper if name not in ("traefik", "apache")],
                    "double slash",
                    "kept",
                ),
            ),
        ),
        Claim(
            "A reload ends no open stream, but for Caddy's, which sends Close 1001 unless it is "
            "told to wait (`stream_close_delay`).",
            lambda cell: (
                cell("caddy", RELOAD_TITLE) == "is ended by Close 1001"
                and all(cell(name, RELOAD_TITLE) == STAYS for name in TOLD if name != "caddy")
            ),
        ),
    )
