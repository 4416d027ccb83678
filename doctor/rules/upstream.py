"""UP: the hop does not get through to what is behind it, which answers the doctor."""

import re

from doctor.evidence import Answer, Exchange, Probe, Sight
from doctor.rules import rule
from doctor.rules.causes import own_cause
from doctor.rules.makers import maker_of
from doctor.rules.ways import has_arrived, is_in_front, is_repeated, unasked, was_malformed

# What the sidecar's stamp says where it did not get through to the gateway (RFC 9209 section 2.3).
_UNREACHED = (
    "connection_refused",
    "connection_timeout",
    "destination_ip_unroutable",
    "destination_unavailable",
    "dns_error",
    "dns_timeout",
)

# Envoy's words for a handshake with its upstream that failed.
_TLS_ERROR = re.compile(r"TLS_error|CERTIFICATE_VERIFY_FAILED")
# What a 503 means besides, where the program has one page for all of it.
_OR_ELSE = {
    "haproxy": " (no server is up, none is free, no backend was chosen, or a rule says 503)",
    "apache": " (its worker is in error, or a rule says 503)",
    "caddy": " (its health check takes the upstream for down, or its configuration says 503)",
}


def _or_else(answer: Answer) -> str:
    maker = maker_of(answer)
    if maker is None or answer.status != 503:
        return ""
    if maker == "envoy" and not answer.body:  # its words about endpoints are never missing
        return " (there is no such cluster, or its configuration says 503)"
    return _OR_ELSE.get(maker, "")


def _strangers(sight: Sight) -> tuple[str, ...]:
    """What came to the sidecar's port in place of the upgrade, where it can be this hop's."""
    upgrade = sight.probe.upgrade
    if upgrade is None or not is_in_front(sight):
        return ()
    if has_arrived(sight) is not False and was_malformed(sight) is None:
        return ()
    behind = sight.behind
    is_next = behind is None or behind.hop.kind == "sidecar"
    return upgrade.strangers if is_next else ()


def _dials_tls(sight: Sight) -> bool:
    return sight.behind is not None and sight.behind.hop.url.startswith("https:")


def _behind(sight: Sight) -> str:
    behind = sight.behind
    if behind is None:
        return "what is behind it"
    state = "answers the doctor" if behind.is_good else "is itself in trouble"
    return f"{behind.hop.name}, which {state} at {behind.hop.url}"


@rule("UP01")
def upstream_unreached(sight: Sight, answer: Answer) -> str | None:
    """The hop does not reach what is behind it.

    Why:
        The hop dials an address where nobody listens, or where somebody closes at once: a wrong
        port, `localhost` that means ::1 here and 127.0.0.1 there, a container's own loopback, a
        server that a health check has taken out. HAProxy and Apache have one 503 for all of
        this, and for a request that no rule gave a server.
    Evidence:
        The hop's own 502 or 503, and nothing arrived at the sidecar, which answers the doctor.
    Fix nginx:
        proxy_pass http://127.0.0.1:8080;       # an address, not localhost
        error.log says "connect() failed (111: Connection refused)" and to which address
    Fix haproxy:
        server sidecar 127.0.0.1:8080           # echo "show servers state" | socat - SOCKET
    Fix caddy:
        reverse_proxy 127.0.0.1:8080
    Fix traefik:
        servers: [{ url: "http://127.0.0.1:8080" }]
    Fix envoy:
        socket_address: { address: 127.0.0.1, port_value: 8080 }
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket retry=0
    Fix cloudflared:
        service: http://127.0.0.1:8080          # not localhost; in a container: the host's name
    Fix tailscale:
        tailscale funnel --bg http://127.0.0.1:8080
    Fix:
        Dial the address where the next hop listens; in a container, its service name.
    """
    if own_cause(sight) != "upstream" or _strangers(sight) or _dials_tls(sight):
        return None
    if _TLS_ERROR.search(answer.body):
        return None
    return (
        f"{sight.probe.hop.name} does not reach {_behind(sight)}: it answered {answer.status} "
        f"itself{_or_else(answer)}, and {unasked(sight)}"
    )


@rule("UP02")
def upstream_timed_out(sight: Sight, answer: Answer) -> str | None:
    """The hop waited in vain for what is behind it.

    Why:
        The address that the hop dials drops packets, or a program there accepts and never
        answers: a firewall between the two, a wrong address in a private network, a stopped
        process with a full backlog.
    Evidence:
        The hop's own 504 (522 and 524 from Cloudflare), and nothing arrived at the sidecar.
    Fix nginx:
        proxy_pass http://127.0.0.1:8080;   # error.log: "timed out ... while connecting"
    Fix haproxy:
        timeout connect 5s                  # log field Tc -1: the connection was never made
    Fix:
        Dial the address where the next hop listens, and open the way to it.
    """
    if own_cause(sight) != "upstream_timeout":
        return None
    return (
        f"{sight.probe.hop.name} waited in vain for {_behind(sight)}: it answered {answer.status} "
        f"itself, and {unasked(sight)}"
    )


@rule("UP03")
def tls_spoken_to_plaintext(sight: Sight) -> str | None:
    """The hop speaks TLS to a plain port.

    Why:
        The hop dials https:// where http:// is spoken. Its own error is a bare 502.
    Evidence:
        A TLS ClientHello came to the sidecar's plain port while the hop was asked.
    Fix nginx:
        proxy_pass http://127.0.0.1:8080;
    Fix haproxy:
        server sidecar 127.0.0.1:8080        # without ssl
    Fix caddy:
        reverse_proxy http://127.0.0.1:8080  # without transport http { tls }
    Fix envoy:
        Remove transport_socket from the cluster.
    Fix traefik:
        servers: [{ url: "http://127.0.0.1:8080" }]
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket   # not https: or wss:
    Fix cloudflared:
        service: http://127.0.0.1:8080
    Fix tailscale:
        tailscale funnel --bg http://127.0.0.1:8080
    Fix:
        Dial http:// between the hop and the sidecar.
    """
    if "tls" not in _strangers(sight):
        return None
    return f"{sight.probe.hop.name} speaks TLS to the sidecar, whose port is plain HTTP"


@rule("UP04")
def http2_spoken_upstream(sight: Sight) -> str | None:
    """The hop speaks HTTP/2 to what is behind it.

    Why:
        The hop was told to use h2c. The sidecar speaks HTTP/1.1, as an Upgrade does.
    Evidence:
        An HTTP/2 preface came to the sidecar's port while the hop was asked.
    Fix caddy:
        reverse_proxy 127.0.0.1:8080            # without transport http { versions h2c }
    Fix envoy:
        explicit_http_config: { http_protocol_options: {} }   # not http2_protocol_options
    Fix haproxy:
        server sidecar 127.0.0.1:8080           # without proto h2
    Fix traefik:
        servers: [{ url: "http://127.0.0.1:8080" }]   # not h2c://
    Fix cloudflared:
        originRequest: { http2Origin: false }
    Fix:
        Speak HTTP/1.1 between the hop and the sidecar.
    """
    if "http2" not in _strangers(sight):
        return None
    return f"{sight.probe.hop.name} speaks HTTP/2 to the sidecar, and an Upgrade needs HTTP/1.1"


@rule("UP05")
def proxy_header_sent(sight: Sight) -> str | None:
    """The hop sends a PROXY protocol header that nobody asked for.

    Why:
        The header carries the client's address in front of the request. Who does not expect it
        finds no HTTP.
    Evidence:
        A PROXY header came to the sidecar's port while the hop was asked.
    Fix sidecar:
        proxy_protocol = true                   # in hopscope.toml
    Fix haproxy:
        server sidecar 127.0.0.1:8080           # without send-proxy or send-proxy-v2
    Fix nginx:
        proxy_protocol off;                     # in the stream block
    Fix traefik:
        Remove proxyProtocol from the TCP service's loadBalancer.
    Fix envoy:
        Remove the proxy_protocol transport_socket from the cluster.
    Fix tailscale:
        tailscale funnel --bg --tls-terminated-tcp=443 tcp://127.0.0.1:8080  # no --proxy-protocol
    Fix:
        Stop sending it, or set proxy_protocol = true in hopscope.toml.
    """
    if "proxy" not in _strangers(sight):
        return None
    return f"{sight.probe.hop.name} sends a PROXY header to the sidecar, which does not expect one"


@rule("UP06")
def upstream_tls_failed(sight: Sight, answer: Answer) -> str | None:
    """The hop and what is behind it do not agree on TLS.

    Why:
        The hop behind speaks TLS. Spoken to in plain HTTP it closes, and a hop that verifies
        its certificate refuses one that is expired, self-signed or for another name (many send
        no name at all unless told to). All of it is a bare 502 or 503 to the client.
    Evidence:
        The hop's own 502 or 503; the hop behind it is dialled with https:// and answers the
        doctor there.
    Fix nginx:
        proxy_pass https://backend;
        proxy_ssl_server_name on; proxy_ssl_name backend.example.com;
        proxy_ssl_trusted_certificate /etc/ssl/ca.pem;
    Fix haproxy:
        server next 10.0.0.2:443 ssl verify required ca-file ca.pem sni str(backend.example.com)
    Fix caddy:
        reverse_proxy https://10.0.0.2 { transport http { tls_server_name backend.example.com } }
    Fix traefik:
        serversTransport: { serverName: backend.example.com, rootCAs: [ca.pem] }
    Fix envoy:
        transport_socket: { name: tls, typed_config: { sni: backend.example.com } }
    Fix apache:
        SSLProxyEngine on
        SSLProxyCACertificateFile ca.pem
    Fix cloudflared:
        originRequest: { originServerName: backend.example.com, caPool: ca.pem }
    Fix:
        Dial https://, send the name that the certificate is for, and trust who signed it.
    """
    said = _TLS_ERROR.search(answer.body)
    if own_cause(sight) != "upstream" or _strangers(sight) or not (_dials_tls(sight) or said):
        return None
    return (
        f"{sight.probe.hop.name} does not get through to {_behind(sight)} by TLS: it answered "
        f"{answer.status} itself, and {unasked(sight)} (scheme, name, certificate)"
    )


@rule("UP07")
def gateway_unreached(sight: Sight, probe: Probe) -> str | None:
    """The sidecar does not reach the gateway.

    Why:
        The sidecar's upstream is not where the gateway listens, or the gateway is down. It
        answers 503 and says why in its stamp; with echo, probes pass all the same.
    Evidence:
        The stamp on its answer to a request that it passes on: error=connection_refused and
        the like.
    Fix sidecar:
        hopscope proxy --upstream http://127.0.0.1:8081   # where the gateway listens
    Fix:
        Start the gateway, or correct the sidecar's upstream.
    """
    if probe.hop.kind != "sidecar":
        return None
    for exchange in (probe.through, probe.upgrade, probe.plain):
        stamp = exchange.answer.stamp if exchange and exchange.answer else None
        if stamp is not None and stamp.error in _UNREACHED:
            return f"{probe.hop.name} does not reach the gateway: {stamp.details or stamp.error}"
    return None


@rule("UP08")
def answer_never_came(sight: Sight, upgrade: Exchange) -> str | None:
    """The hop took the upgrade and never answered, and never asked the sidecar.

    Why:
        The hop waits for its upstream without a limit (Caddy, Traefik), or holds the request
        for a rule of its own. Its upstream is a black hole or speaks another protocol.
    Evidence:
        The request was sent, nothing came back in time, nothing arrived at the sidecar.
    Fix haproxy:
        server sidecar 127.0.0.1:8080           # without proto h2
    Fix caddy:
        transport http { dial_timeout 3s response_header_timeout 10s }
    Fix traefik:
        serversTransport: { forwardingTimeouts: { dialTimeout: 3s, responseHeaderTimeout: 10s } }
    Fix:
        See which address the hop dials for this path, and give it a limit for the answer.
    """
    if upgrade.fault != "timeout" or upgrade.answer is not None or not is_in_front(sight):
        return None
    if has_arrived(sight) is not False or is_repeated(sight) or _strangers(sight):
        return None
    return (
        f"{sight.probe.hop.name} took the upgrade and never answered; nothing arrived at the "
        "sidecar"
    )


@rule("UP09")
def malformed_sent(sight: Sight) -> str | None:
    """The hop sends the sidecar what it cannot take for a request.

    Why:
        The sidecar refuses what two programs could read differently: two lengths, a bare line
        feed, two Hosts, or what is no HTTP/1.x at all.
    Evidence:
        Its stamp on the answer says error=http_request_error and why; asked directly by the
        doctor it takes the same request.
    Fix:
        See which rule of the hop adds or rewrites the field that the reason names.
    """
    reason = was_malformed(sight)
    if reason is None:
        return None
    return f"{sight.probe.hop.name} sends what the sidecar must refuse: {reason}"
