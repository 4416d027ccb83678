"""HS: what a hop changes of a request that arrives as an upgrade all the same."""

from doctor.evidence import Arrival, Exchange, Probe, Sight
from doctor.rules import rule
from doctor.rules.ways import (
    arrived_behind,
    exchange_behind,
    gateway_refusal,
    is_in_front,
    is_taken_by_gateway,
)

PROTOCOL = "Sec-WebSocket-Protocol"
EXTENSIONS = "Sec-WebSocket-Extensions"


def _wanted(sight: Sight, upgrade: Exchange) -> Exchange | Arrival:
    """What arrives when the hop behind is asked, which is what should arrive here."""
    behind = exchange_behind(sight)
    return arrived_behind(sight) or behind or upgrade


def _is_mounted(sight: Sight, asked: str, came: str) -> bool:
    """Whether a prefix was cut or added, and the gateway takes what comes of it: on purpose."""
    through = sight.probe.through
    if through is None or not is_taken_by_gateway(through) or "?" in f"{asked}{came}":
        return False
    return asked.endswith(came) or came.endswith(asked)


@rule("HS08")
def target_rewritten(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop changes the path or the query of the upgrade.

    Why:
        The gateway serves its stream at one path. A hop that strips its mount point, glues
        paths together or decodes %2F asks for another one: 404, or 403, since Twilio's
        signature covers the URL letter for letter.
    Evidence:
        The request target that arrived at the sidecar is not the one that was sent, and the
        hop behind passes it on unchanged. A prefix that is cut or added on purpose is none:
        the gateway takes what comes of it.
    Fix nginx:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;   # no path behind the port
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
        # With a path, even a lone slash, nginx replaces the location's prefix by it.
    Fix tailscale:
        tailscale funnel --bg --set-path /voice/stream http://127.0.0.1:8080/voice/stream
        (a mount is stripped, so the target repeats it; or mount / alone)
    Fix caddy:
        handle /voice/* { reverse_proxy 127.0.0.1:8080 }   # handle_path strips the prefix
    Fix traefik:
        Take the stripPrefix (or replacePath) middleware off this router.
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket   # same path both sides
        AllowEncodedSlashes NoDecode
    Fix haproxy:
        Remove `http-request set-path` or `replace-path` for /voice/.
    Fix envoy:
        route: { cluster: sidecar }   # without prefix_rewrite or regex_rewrite
    Fix cloudflared:
        cloudflared 2026.8.2 or later: 2026.8.0 and 2026.8.1 normalise paths
    Fix:
        Pass the request target on as it came.
    """
    if not is_in_front(sight):
        return None
    wanted, name = _wanted(sight, upgrade), sight.probe.hop.name
    if arrival.target != wanted.target:
        if _is_mounted(sight, upgrade.target, arrival.target):
            return None
        return (
            f"{name} changed the path: {upgrade.target} was asked for, and {arrival.target} "
            "arrived at the sidecar"
        )
    digests = {wanted.target_digest, arrival.target_digest}
    if "" in digests or len(digests) == 1:
        return None
    return f"{name} changed what is hidden here of {upgrade.target}: it arrived spelt otherwise"


@rule("HS10")
def host_rewritten(sight: Sight, arrival: Arrival) -> str | None:
    """The hop replaces the Host header, and the gateway refuses what comes under another name.

    Why:
        The gateway knows its public name: it answers 421, 404 or 403 to another one, compares
        Origin with Host, or puts Twilio's signed URL together from it.
    Evidence:
        The Host that arrived at the sidecar is not the one that was sent; the gateway refuses
        the upgrade through this hop, and takes it directly.
    Fix nginx:
        proxy_set_header Host $http_host;   # not the name in proxy_pass; $host has no port
    Fix apache:
        ProxyPreserveHost On
    Fix traefik:
        passHostHeader: true                # on the service's loadBalancer
    Fix caddy:
        reverse_proxy 127.0.0.1:8080        # without `header_up Host ...`
    Fix envoy:
        Remove host_rewrite_literal or auto_host_rewrite from the route.
    Fix haproxy:
        Remove `http-request set-header Host ...`.
    Fix cloudflared:
        originRequest: {}                   # without httpHostHeader
    Fix:
        Pass Host on as it came, or set the public URL in the gateway.
    """
    changed = _changed_host(sight)
    refusal = gateway_refusal(sight)
    if changed is None or refusal is None or not _is_whole(arrival):
        return None
    return f"{changed}, and the gateway answers {refusal.status} to it"


@rule("HS21", level="warning")
def host_hidden(sight: Sight, upgrade: Exchange) -> str | None:
    """The hop replaces the Host header and does not tell which it was.

    Why:
        Twilio signs the public URL. A gateway that puts that URL together from Host gets
        another one and refuses the call with 403; one that knows its public URL does not care.
    Evidence:
        The Host that arrived at the sidecar is not the one that was sent, and neither
        X-Forwarded-Host nor Forwarded carries it.
    Fix nginx:
        proxy_set_header Host $http_host;   # not the name in proxy_pass; $host has no port
    Fix apache:
        ProxyPreserveHost On
    Fix traefik:
        passHostHeader: true                # on the service's loadBalancer
    Fix caddy:
        reverse_proxy 127.0.0.1:8080        # without `header_up Host ...`
    Fix envoy:
        Remove host_rewrite_literal or auto_host_rewrite from the route.
    Fix haproxy:
        Remove `http-request set-header Host ...`.
    Fix cloudflared:
        originRequest: {}                   # without httpHostHeader
    Fix:
        Pass Host on as it came, or set the public URL in the gateway.
    """
    changed, arrival = _changed_host(sight), upgrade.arrival
    if changed is None or arrival is None or gateway_refusal(sight) is not None:
        return None
    told = f"{arrival.value('X-Forwarded-Host') or ''} {arrival.value('Forwarded') or ''}".lower()
    return None if (upgrade.sent("Host") or "").lower() in told else changed


def _changed_host(sight: Sight) -> str | None:
    upgrade = sight.probe.upgrade
    arrival = upgrade.arrival if upgrade is not None else None
    if upgrade is None or arrival is None or not is_in_front(sight):
        return None
    sent, came = upgrade.sent("Host"), arrival.value("Host")
    behind = arrived_behind(sight)
    if sent is None or _same_host(sent, came):
        return None
    if behind is not None and behind.value("Host") == came:
        return None
    return f"{sight.probe.hop.name} replaced Host: {sent} was sent and {came or 'none'} arrived"


def _is_whole(arrival: Arrival) -> bool:
    """Whether nothing worse is wrong with what arrived."""
    return not [each for each in arrival.violations if each.get("section") == "4.2.1"]


def _same_host(sent: str, came: str | None) -> bool:
    return came is not None and came.lower() == sent.lower()


@rule("HS09", level="warning")
def subprotocol_dropped(sight: Sight, probe: Probe) -> str | None:
    """The hop does not pass the subprotocol on.

    Why:
        Twilio offers none, so its calls work. Another client that offers one must fail the
        connection where the server cannot see it and selects none or another (RFC 6455
        section 4.1).
    Evidence:
        An upgrade that offered a subprotocol arrived at the sidecar without it.
    Fix nginx:
        Remove `proxy_set_header Sec-WebSocket-Protocol ...;`.
    Fix haproxy:
        Remove `http-request del-header Sec-WebSocket-Protocol`.
    Fix:
        Pass every Sec-WebSocket field on as it came.
    """
    offer = probe.offer
    if offer is None or offer.arrival is None or not is_in_front(sight):
        return None
    sent, came = offer.sent(PROTOCOL), offer.arrival.value(PROTOCOL)
    behind = sight.behind.offer.arrival if sight.behind and sight.behind.offer else None
    if sent is None or came == sent or (behind is not None and behind.value(PROTOCOL) == came):
        return None
    return (
        f"{probe.hop.name} does not pass the subprotocol on: {sent} was offered and "
        f"{came or 'none'} arrived"
    )


@rule("HS19", level="warning")
def extension_added(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop offers an extension that its client did not.

    Why:
        An extension is negotiated end to end. A hop that offers compression by itself must
        decode what comes back; where it does not, the client sees reserved bits and closes
        with 1002.
    Evidence:
        An upgrade without Sec-WebSocket-Extensions arrived at the sidecar with one.
    Fix nginx:
        Remove `proxy_set_header Sec-WebSocket-Extensions ...;`.
    Fix:
        Pass Sec-WebSocket-Extensions on as it came.
    """
    behind = arrived_behind(sight)
    came = arrival.value(EXTENSIONS)
    if not is_in_front(sight) or came is None or upgrade.sent(EXTENSIONS) is not None:
        return None
    if behind is not None and behind.value(EXTENSIONS) is not None:
        return None
    return f"{sight.probe.hop.name} offers an extension that was not asked for: {came}"
