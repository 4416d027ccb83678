"""HS: the upgrade request, as it left the doctor and as it arrived at the sidecar."""

from doctor.evidence import Arrival, Exchange, Pairs, Sight
from doctor.rules import rule
from doctor.rules.ways import (
    arrived_behind,
    asks_upgrade,
    exchange_behind,
    fields_differ,
    gateway_refusal,
    has_failed,
    has_token,
    is_in_front,
)

KEY = "Sec-WebSocket-Key"
VERSION = "Sec-WebSocket-Version"


def has_upgrade(arrival: Arrival | None) -> bool:
    return arrival is not None and asks_upgrade(arrival.value("Upgrade"))


def has_connection(arrival: Arrival | None) -> bool:
    return arrival is not None and has_token(arrival.value("Connection"), "upgrade")


def _came_whole_behind(sight: Sight) -> bool:
    """Whether the same upgrade is not known to arrive crippled through the hop behind alone."""
    behind = arrived_behind(sight)
    return behind is None or (has_upgrade(behind) and has_connection(behind))


@rule("HS01")
def upgrade_stripped(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop removed the Upgrade header.

    Why:
        Upgrade is hop-by-hop (RFC 9110 section 7.8): a proxy drops it unless told otherwise.
        What arrives is a plain GET that still carries a Sec-WebSocket-Key, and the gateway
        answers it as one: 404, 400, 426, or 200 with a page. Twilio reports 31920.
    Evidence:
        The doctor sent it; the sidecar's record of the same probe does not have it.
    Fix nginx:
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
        # A location with any proxy_set_header of its own inherits none from outside.
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket
        (2.4.47 and later; before, mod_proxy_wstunnel and ws://127.0.0.1:8080/voice/stream)
    Fix haproxy:
        Remove `http-request del-header Upgrade` (or set-header Connection close) for this path:
        http-request del-header Upgrade unless { hdr(Upgrade) -i websocket }
    Fix envoy:
        upgrade_configs: [{ upgrade_type: websocket }]   # and no request_headers_to_remove
    Fix cloudflared:
        cloudflared tunnel --protocol http2 run TUNNEL   # or quic: one of them keeps it
        In the dashboard: Network, WebSockets on; HTTP/2 to origin off.
    Fix tailscale:
        A client that negotiated HTTP/2 cannot upgrade: let it offer http/1.1 alone, or
        tailscale funnel --bg --tls-terminated-tcp=443 tcp://127.0.0.1:8080
    Fix caddy:
        reverse_proxy 127.0.0.1:8080   # without `header_up -Upgrade` or `-Connection`
    Fix traefik:
        Take Upgrade and Connection out of the customRequestHeaders middleware.
    Fix:
        Tell the hop to forward Upgrade and Connection.
    """
    if not is_in_front(sight) or not asks_upgrade(upgrade.sent("Upgrade")):
        return None
    behind = arrived_behind(sight)
    if has_upgrade(arrival) or (behind is not None and not has_upgrade(behind)):
        return None
    name = sight.probe.hop.name
    key = "still with its Sec-WebSocket-Key" if arrival.has(KEY) else "and without any key"
    return (
        f"{name} removed the Upgrade header: the upgrade left the doctor with Upgrade: websocket "
        f"and arrived at the sidecar without it (HTTP/{arrival.version}, "
        f"{_shown(arrival, 'Connection')}), {key}"
    )


@rule("HS02")
def connection_rewritten(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop replaced the Connection header of the upgrade.

    Why:
        Upgrade counts only where Connection names it (RFC 9110 section 7.8). `Upgrade:
        websocket` beside `Connection: close` contradicts itself: no client sends it, a proxy
        that was told half does.
    Evidence:
        Upgrade arrived, and Connection does not list upgrade any more.
    Fix nginx:
        proxy_set_header Connection $http_connection;
    Fix haproxy:
        Remove `http-request set-header Connection ...`; HAProxy forwards it by itself.
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket   # no RequestHeader set
    Fix:
        Send `Connection: Upgrade` with every request that carries Upgrade.
    """
    if not is_in_front(sight) or not has_failed(sight):
        return None
    if not has_upgrade(arrival) or has_connection(arrival) or not _came_whole_behind(sight):
        return None
    sent = upgrade.sent("Connection")
    return (
        f"{sight.probe.hop.name} rewrote the Connection header: the upgrade left the doctor with "
        f"Connection: {sent} and arrived at the sidecar with {_shown(arrival, 'Connection')}"
    )


@rule("HS03")
def http10_arrived(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop passed the upgrade on as HTTP/1.0.

    Why:
        RFC 6455 section 4.1 wants HTTP/1.1 or higher, and RFC 9110 section 7.8 has servers
        ignore Upgrade in HTTP/1.0. nginx up to 1.29.6 speaks HTTP/1.0 to its upstreams.
    Evidence:
        The sidecar's record says HTTP/1.0, with Upgrade and Connection intact, and the upgrade
        was refused.
    Fix nginx:
        proxy_http_version 1.1;
    Fix apache:
        UnsetEnv proxy-nokeepalive    # and no `SetEnv force-proxy-request-1.0`
    Fix:
        Let the hop speak HTTP/1.1 to what is behind it.
    """
    behind = arrived_behind(sight)
    if not is_in_front(sight) or not has_failed(sight) or arrival.version != "1.0":
        return None
    if not (has_upgrade(arrival) and has_connection(arrival)):
        return None  # that is worse, and has rules of its own
    if behind is not None and behind.version == "1.0":
        return None
    return (
        f"{sight.probe.hop.name} passed the upgrade on as HTTP/1.0: "
        f"it left the doctor as HTTP/1.1, {_came_of(upgrade)}"
    )


@rule("HS11")
def key_changed(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop removed or replaced Sec-WebSocket-Key.

    Why:
        The 101 must answer the client's key (RFC 6455 section 4.2.2). A filter that strips
        unknown or "Sec-" fields takes it away: strict servers answer 400, lenient ones a 101
        that every client rejects.
    Evidence:
        The key that arrived at the sidecar is not the one that was sent, and the upgrade failed.
    Fix nginx:
        Remove `proxy_set_header Sec-WebSocket-Key ...;` (an empty value removes the field).
    Fix haproxy:
        Remove `http-request del-header Sec-WebSocket-Key` (or `-m beg Sec-`).
    Fix apache:
        Remove `RequestHeader unset Sec-WebSocket-Key`.
    Fix:
        Pass every Sec-WebSocket field on as it came.
    """
    behind = arrived_behind(sight)
    if not is_in_front(sight) or not has_failed(sight) or not has_upgrade(arrival):
        return None
    if arrival.value(KEY) == upgrade.sent(KEY):
        return None
    sent_behind = exchange_behind(sight)
    if behind is not None and sent_behind is not None and fields_differ(sent_behind, behind, KEY):
        return None
    done = "replaced" if arrival.has(KEY) else "removed"
    return f"{sight.probe.hop.name} {done} the Sec-WebSocket-Key, {_came_of(upgrade)}"


@rule("HS18")
def version_rewritten(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop removed or replaced Sec-WebSocket-Version.

    Why:
        A server answers 426 to a version that it does not know (RFC 6455 section 4.4), and 400
        where the field is missing.
    Evidence:
        The version that arrived at the sidecar is not the 13 that was sent, and the upgrade
        failed.
    Fix nginx:
        Remove `proxy_set_header Sec-WebSocket-Version ...;`.
    Fix haproxy:
        Remove `http-request del-header Sec-WebSocket-Version`.
    Fix:
        Pass every Sec-WebSocket field on as it came.
    """
    behind = arrived_behind(sight)
    if not is_in_front(sight) or not has_failed(sight) or not has_upgrade(arrival):
        return None
    if arrival.value(VERSION) == upgrade.sent(VERSION):
        return None
    if behind is not None and behind.value(VERSION) == arrival.value(VERSION):
        return None
    if arrival.value(KEY) != upgrade.sent(KEY):
        return None  # HS11 tells of the filter that took both
    return (
        f"{sight.probe.hop.name} changed Sec-WebSocket-Version from {upgrade.sent(VERSION)} to "
        f"{arrival.value(VERSION) or 'nothing'}, {_came_of(upgrade)}"
    )


@rule("HS12", level="warning")
def crooked_upgrade_tolerated(sight: Sight, upgrade: Exchange, arrival: Arrival) -> str | None:
    """The hop bends the upgrade, and what is behind it takes it all the same.

    Why:
        An upgrade in HTTP/1.0, or without upgrade in Connection, breaks RFC 6455 section 4.1.
        The gateway of today is lenient; its next version may not be.
    Evidence:
        The sidecar's record of an upgrade that succeeded departs from the RFC in these fields.
    Fix nginx:
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $http_connection;
    Fix:
        Let the hop speak HTTP/1.1 and forward Upgrade and Connection.
    """
    if not is_in_front(sight) or has_failed(sight) or upgrade.answer is None:
        return None
    behind = arrived_behind(sight)
    known = _request_violations(behind) if behind is not None else set()
    bent = [
        f"{violation['field']}: {violation['saw']}"
        for violation in arrival.violations
        if violation.get("section") == "4.2.1" and violation.get("field") not in known
    ]
    if not bent:
        return None
    return (
        f"{sight.probe.hop.name} bends the upgrade and it is taken all the same: {'; '.join(bent)}"
    )


def _request_violations(arrival: Arrival) -> set[object]:
    return {violation.get("field") for violation in arrival.violations}


@rule("HS13", level="warning")
def connection_upgrade_on_all(sight: Sight, plain: Exchange) -> str | None:
    """The hop sends `Connection: upgrade` with requests that ask for no upgrade.

    Why:
        A hard-coded `proxy_set_header Connection "upgrade"` goes out with the webhook, too.
        Some servers answer 400 to a Connection that names an absent field, and connections to
        the upstream are never kept.
    Evidence:
        A plain GET arrived at the sidecar with upgrade in Connection, and was sent without.
    Fix nginx:
        proxy_set_header Connection $http_connection;
    Fix haproxy:
        http-request set-header Connection Upgrade if { hdr(Upgrade) -i websocket }
    Fix:
        Forward Connection: upgrade only where the request has it.
    """
    arrival = plain.arrival
    if arrival is None or not is_in_front(sight) or arrival.has("Upgrade"):
        return None
    if not has_connection(arrival) or has_token(plain.sent("Connection"), "upgrade"):
        return None
    behind = sight.behind.plain.arrival if sight.behind and sight.behind.plain else None
    if has_connection(behind):
        return None
    return (
        f"{sight.probe.hop.name} sends Connection: {arrival.value('Connection')} with plain "
        "requests, too"
    )


@rule("HS14")
def names_recased(sight: Sight, upgrade: Exchange) -> str | None:
    """The hop respells header names, and what is behind it compares them with case.

    Why:
        Names are the same in any case (RFC 9110 section 5.1). HAProxy and Envoy write them in
        lower case, Go programs as Sec-Websocket-Key. A hand-written server that looks for
        exactly Sec-WebSocket-Key does not find it.
    Evidence:
        The gateway refused what came through this hop and takes it directly; the two heads
        differ in the case of these names and in nothing else that it may ask for.
    Fix haproxy:
        h1-case-adjust sec-websocket-key Sec-WebSocket-Key      # in global, one a name
        option h1-case-adjust-bogus-server                      # in the backend
    Fix envoy:
        http_protocol_options: { header_key_format: { proper_case_words: {} } }
    Fix:
        Compare header names without case in the gateway.
    """
    answer, exchange = gateway_refusal(sight), sight.probe.through or upgrade
    arrival = exchange.arrival
    if answer is None or arrival is None or not is_in_front(sight):
        return None
    if not _is_alike(exchange.fields, arrival.fields) or arrival.version != "1.1":
        return None
    if arrival.target != exchange.target:
        return None
    respelled = _respelled(exchange.fields, arrival.fields)
    if not respelled:
        return None
    return (
        f"{sight.probe.hop.name} respells header names ({', '.join(respelled[:3])}), and the "
        f"gateway answers {answer.status} to what it takes in the doctor's spelling"
    )


def _is_alike(sent: Pairs, arrived: Pairs) -> bool:
    """Whether everything that makes an upgrade arrived with its value."""
    there = {name.lower(): value for name, value in arrived}
    wanted = ("host", "upgrade", "connection", KEY.lower(), VERSION.lower())
    return all(
        (there.get(name.lower()) or "").lower() == (value or "").lower()
        for name, value in sent
        if name.lower() in wanted
    )


def _respelled(sent: Pairs, arrived: Pairs) -> list[str]:
    spelt = {name.lower(): name for name, _ in arrived}
    return [
        f"{name} as {spelt[name.lower()]}"
        for name, _ in sent
        if name.lower() in spelt and spelt[name.lower()] != name
    ]


def _shown(arrival: Arrival, name: str) -> str:
    value = arrival.value(name)
    return f"no {name}" if value is None else f"{name}: {value}"


def _came_of(upgrade: Exchange) -> str:
    if upgrade.answer is not None and upgrade.answer.status != 101:
        return f"and {upgrade.answer.status} came back"
    if upgrade.fault:
        return f"and it came to nothing ({upgrade.fault.replace('_', ' ')})"
    return "and the upgrade went through"
