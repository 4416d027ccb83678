"""Which ingress a request came through, told from its head: names, spelling, order and version.

Evidence, not guesses: a mark counts where a vendor documents it or where it was measured, and
where two programs leave the same one the answer is "unknown". The heads behind every line here,
and the look-alikes that must stay unknown, are in tests/heads.

Several hops leave several marks. The first line of `_EVIDENCE` that fits wins: names that belong
to one vendor, which survive the hops behind it, before order and case, which show only the last.
The answer is a label for logs and metrics, never a reason to trust a field: clients can write all
of them. Not told for want of a mark of their own: a Go ReverseProxy, Caddy before its `Via`,
Tailscale Serve for a tagged node, HAProxy and Envoy in modes that add no field of theirs.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile

Fields = Sequence[tuple[str, str]]

# Base domains of ngrok (ngrok.com/docs/universal-gateway/domains, "ngrok managed domains").
_NGROK = tuple(
    f".ngrok{rest}"
    for rest in (".app", ".dev", ".pizza", ".io", "-free.app", "-free.dev", "-free.pizza")
)
_TWILIO = ("Twilio.TmeWs/", "TwilioProxy/")  # Media Streams and webhooks, from published captures
# Fields that something between client and server writes. In lower case.
_FORWARDING = tuple(
    "x-forwarded- x-real-ip x-original- x-request-id x-host x-amzn- via forwarded cdn-loop".split()
)
# nginx writes these from its configuration or its defaults and drops the client's own
# (ngx_http_proxy_module.c, ngx_http_proxy_headers).
_NGINX_OWN = ("Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding")
_NGINX_DROPS = {*map(str.lower, _NGINX_OWN), "te", "keep-alive", "expect"}
# What its configurations add, spelt as in nginx.org's examples and in ingress-nginx's template.
_NGINX_ADDS = ("X-Real-IP", "X-Forwarded-")
_NGINX_RUN = (*_NGINX_ADDS, "X-Request-ID", "X-Scheme", "X-Original-")


class _Head:
    """A request head in the two spellings that the evidence below asks for."""

    def __init__(self, version: str, fields: Fields) -> None:
        self.version = version
        self.fields = fields
        self.names = [name for name, _ in fields]
        self.lower = [name.lower() for name in self.names]

    def value(self, name: str) -> str:
        """The value of a field, its lines joined (RFC 9110 section 5.3); empty when it is absent."""
        return ", ".join(value for key, value in self.fields if key.lower() == name)

    def has_whole_handshake(self) -> bool:
        """Whether the upgrade asked for by a Sec-WebSocket-Key is still there (RFC 6455 4.1)."""
        return "upgrade" in self.value("connection").lower() and "upgrade" in self.lower

    def nginx_run(self) -> list[str]:
        """The leading fields that nginx could have written itself."""
        return list(takewhile(lambda n: n in _NGINX_OWN or n.startswith(_NGINX_RUN), self.names))


def _has(*names: str) -> Callable[[_Head], bool]:
    return lambda head: any(name in head.lower for name in names)


def _is_ngrok(head: _Head) -> bool:
    """A name under ngrok's domains, and X-Forwarded-For, which ngrok always adds.

    The name alone shows nothing: a probe on this machine sends the public name, too. Published
    captures of Twilio through ngrok have both. A name of one's own stays unknown.
    """
    hosts = (head.value("host"), head.value("x-forwarded-host"))
    names = (host.rsplit(",")[0].partition(":")[0].lower() for host in hosts)
    return "x-forwarded-for" in head.lower and any(name.endswith(_NGROK) for name in names)


def _is_caddy(head: _Head) -> bool:
    """`Via: 1.1 Caddy` (RFC 9110 section 7.6.3); measured 2.11.7. Caddy 2.6.2 adds no Via."""
    return any(hop.split()[1:2] == ["Caddy"] for hop in head.value("via").split(","))


def _is_traefik(head: _Head) -> bool:
    """The set of five that no other program sends, with Go's `X-Real-Ip`; measured 3.7.15."""
    return {"X-Real-Ip", *(f"X-Forwarded-{x}" for x in ("Host", "Port", "Proto", "Server"))} <= {
        *head.names
    }


def _is_apache(head: _Head) -> bool:
    """X-Forwarded-Server, then only Content-Length, Connection and Upgrade; measured 2.4.71.

    mod_proxy appends its fields and writes Connection last (none at all when it is told to speak
    HTTP/1.0). `ProxyVia Full` adds "(Apache/...)". `ProxyAddHeaders Off` leaves no mark.
    """
    if "(Apache/" in head.value("via"):
        return True
    if "X-Forwarded-Server" not in head.names:
        return False
    behind = head.names[head.names.index("X-Forwarded-Server") + 1 :]
    return {*behind} <= {"Content-Length", "Transfer-Encoding", "Connection", "Upgrade"} and (
        "Connection" in behind or head.version == "1.0"
    )


def _is_nginx(head: _Head) -> bool:
    """nginx's own fields first, then the client's in their order; measured 1.22.1, 1.30.4, 1.31.4.

    To 1.31.3 the configured fields precede the default Host and Connection; since 1.31.4 Host is
    always the first. To 1.29.6 `Connection: close` and HTTP/1.0 are the defaults, later there is
    no Connection. Everybody else appends, sorts, lower-cases, or puts User-Agent second.
    """
    run = head.nginx_run()
    rest = head.lower[len(run) :]
    if "Host" not in run or not rest or _NGINX_DROPS.intersection(rest):
        return False
    connection = head.value("connection")
    if any(name.startswith(_NGINX_ADDS) for name in run):
        return "Connection" in run or "X-Real-IP" in run  # an AWS balancer has neither up here
    if run[0] in ("Upgrade", "Connection"):
        # WebKit up to Safari 14 opens like this and says "Upgrade", but always with an Origin;
        # ApacheBench says "Keep-Alive". nginx's own word is "close", its examples' "upgrade".
        return connection in ("", "close", "upgrade") or (
            connection == "Upgrade" and "origin" not in rest
        )
    if "sec-websocket-key" in rest and not head.has_whole_handshake():
        return len(run) > 1  # a hop took Upgrade or Connection away and wrote the other up here
    # Weak: PHP's http:// stream opens like this, too, but sends no User-Agent unless told to.
    has_close = connection == "close" and ("Content-Length" in run or head.version == "1.0")
    return (
        "Connection" in run
        and "user-agent" in rest
        and (has_close or (head.version == "1.0" and "Upgrade" in run))
    )


def _is_haproxy(head: _Head) -> bool:
    """Every name in lower case and x-forwarded-for the last; measured 2.6.12.

    `option forwardfor` adds its field after all rules, behind the client's own x-forwarded-for.
    Node's proxies and Envoy write theirs before x-forwarded-proto. Weak against home-made proxies
    on hyper, which append to a lower-case head, too. Without that option: no mark.
    """
    names = [name for name in head.names if name != "connection"]
    return names[-1:] == ["x-forwarded-for"] and names == [name.lower() for name in names]


def _is_twilio_direct(head: _Head) -> bool:
    """Twilio's User-Agent and nothing that a hop in between would have left.

    Weak: it says that no HTTP hop shows itself. A head all in lower case, a spoilt handshake or a
    first line-up that nginx could have written shows that there may be one.
    """
    run = head.nginx_run()
    return (
        head.value("user-agent").startswith(_TWILIO)
        and head.version == "1.1"
        and not any(name.startswith(_FORWARDING) for name in head.lower)
        and head.names != head.lower
        and ("sec-websocket-key" not in head.lower or head.has_whole_handshake())
        and not ("Host" in run and len(run) > 1)
    )


_EVIDENCE: tuple[tuple[Callable[[_Head], bool], str], ...] = (
    # Cloudflare's edge, and cloudflared (2026.8.2) which adds its connector's id.
    (_has("cf-ray", "cf-connecting-ip", "cf-warp-tag-id"), "cloudflare"),
    # tailscaled (1.96 to 1.103, ipn/ipnlocal/serve.go) deletes these when a client sends them.
    (_has("tailscale-funnel-request"), "tailscale-funnel"),
    (
        _has(*(f"tailscale-{x}" for x in ("user-login", "user-name", "headers-info"))),
        "tailscale-serve",
    ),
    (_is_ngrok, "ngrok"),
    # Envoy 1.40.0: x-envoy-expected-rq-timeout-ms, absent when the route's timeout is 0s.
    (lambda head: any(name.startswith("x-envoy-") for name in head.lower), "envoy"),
    (_is_caddy, "caddy"),
    (_is_traefik, "traefik"),
    (_is_apache, "apache"),
    (_is_nginx, "nginx"),
    (_is_haproxy, "haproxy"),
    (_is_twilio_direct, "twilio-direct"),
)


def tell_ingress(version: str, fields: Fields) -> str:
    """The ingress that a request came through, or "unknown" where its head does not show it.

    `version` is "1.0" or "1.1"; `fields` are names as received, with their case, and values, in
    order. One of cloudflare, tailscale-funnel, tailscale-serve, ngrok, envoy, caddy, traefik,
    apache, nginx, haproxy, twilio-direct, unknown.
    """
    head = _Head(version, fields)
    return next((ingress for fits, ingress in _EVIDENCE if fits(head)), "unknown")
