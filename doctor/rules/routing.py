"""RO: the hop has no way to the sidecar for this path or name, or takes another one."""

from doctor.evidence import Answer, Exchange, Probe, Sight
from doctor.rules import rule
from doctor.rules.causes import own_cause
from doctor.rules.makers import maker_of
from doctor.rules.ways import has_arrived, is_in_front, is_repeated, unasked, wants_tls

_ORIGIN_FAULTS = ("destination_not_found",)


@rule("RO01")
def no_route(sight: Sight, answer: Answer) -> str | None:
    """The hop has no route for the stream's path or name.

    Why:
        Calls need two paths, the webhook and the stream. Set-up guides mount the first and
        forget the second: "notify works, conversation does not". Or the name is not one that
        the hop knows, and its default site answered.
    Evidence:
        The hop's own 404: it does not carry the sidecar's stamp, and nothing arrived there.
    Fix nginx:
        server_name voice.example.com;
        location /voice/ {   # takes both paths
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
    Fix tailscale:
        tailscale funnel --bg --set-path /voice/stream http://127.0.0.1:8080/voice/stream
        Or one mount for everything: tailscale funnel --bg 8080
    Fix cloudflared:
        ingress:
          - hostname: voice.example.com      # without path, or path: ^/voice/
            service: http://127.0.0.1:8080
          - service: http_status:421
    Fix caddy:
        voice.example.com { reverse_proxy 127.0.0.1:8080 }
    Fix haproxy:
        use_backend sidecar if { path_beg /voice/ }   # or: default_backend sidecar
    Fix traefik:
        rule: "Host(`voice.example.com`) && PathPrefix(`/voice/`)"
    Fix envoy:
        domains: ["voice.example.com", "voice.example.com:*"]
        routes: [{ match: { prefix: /voice/ }, route: { cluster: sidecar } }]
    Fix apache:
        ServerName voice.example.com
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket
    Fix:
        Route the stream's path to the sidecar, as the webhook's.
    """
    if own_cause(sight) != "no_route":
        return None
    said = f"it answered {answer.status} itself, and {unasked(sight)}"
    return f"{sight.probe.hop.name} has no route for {_what(sight)}: {said}{_webhook(sight)}"


def _what(sight: Sight) -> str:
    upgrade = sight.probe.upgrade
    host = upgrade.sent("Host") if upgrade is not None else None
    return f"{sight.stream_path} under {host}" if host else sight.stream_path


def _webhook(sight: Sight) -> str:
    """What the other path tells: one path that is missing, or the whole name."""
    webhook = sight.probe.webhook
    if webhook is None or webhook.answer is None:
        return ""
    if webhook.arrivals or webhook.answer.stamp is not None:
        return f"; {sight.webhook_path} does arrive, so only the stream's path is missing"
    if webhook.answer.status == 404 and maker_of(webhook.answer) is not None:
        return f"; {sight.webhook_path} does not arrive either, so it may be the name"
    return ""


@rule("RO02")
def empty_answer(sight: Sight, answer: Answer) -> str | None:
    """The hop answered the upgrade with an empty 200.

    Why:
        Caddy says 200 with an empty body where no site or handler takes a request: to a client
        of WebSockets that is no 101, and Twilio reports 31920.
    Evidence:
        2xx without a body and without the sidecar's stamp; nothing arrived there.
    Fix caddy:
        voice.example.com {            # the name that Twilio asks for, and the port
            reverse_proxy 127.0.0.1:8080
        }
        A `handle` block or matcher must take /voice/stream, too.
    Fix:
        Route the stream's path and name to the sidecar.
    """
    if own_cause(sight) != "empty_ok":
        return None
    return (
        f"{sight.probe.hop.name} has nothing for {_what(sight)}: it answered {answer.status} with "
        f"an empty body, and nothing arrived at the sidecar{_webhook(sight)}"
    )


@rule("RO03")
def closed_without_answer(sight: Sight, upgrade: Exchange) -> str | None:
    """The hop closed the connection without an answer.

    Why:
        nginx does so for `return 444` (a catch-all server, mostly), HAProxy for `reject` and
        Caddy for `abort`. Small proxies (proxy.py, mitmproxy) do where their upstream is down.
    Evidence:
        EOF or a reset in place of a status line; nothing arrived at the sidecar.
    Fix nginx:
        server_name voice.example.com;   # the block with `return 444` took the request
    Fix haproxy:
        http-request reject unless { path_beg /voice/ }
    Fix caddy:
        No `abort` for this path.
    Fix:
        See which rule of the hop drops the request, and whether it reaches its upstream.
    """
    if upgrade.fault not in ("eof", "reset") or upgrade.first_bytes or not is_in_front(sight):
        return None
    if upgrade.answer is not None or has_arrived(sight) is not False or is_repeated(sight):
        return None
    if wants_tls(sight):
        return None
    how = "reset" if upgrade.fault == "reset" else "closed"
    return (
        f"{sight.probe.hop.name} {how} the connection without an answer, and nothing arrived at "
        f"the sidecar{_upstream_hint(sight)}"
    )


def _upstream_hint(sight: Sight) -> str:
    behind = sight.behind
    if behind is None or behind.is_good:
        return ""
    return f" ({behind.hop.name} behind it does not answer the doctor, either)"


@rule("RO04")
def page_answered(sight: Sight, answer: Answer) -> str | None:
    """The hop answered the upgrade with a page.

    Why:
        A static site, the index of a single-page application or another site's default server
        took the path: every path that it does not know is 200 and HTML.
    Evidence:
        2xx with a body and without the sidecar's stamp; nothing arrived there.
    Fix nginx:
        location /voice/ {   # before try_files ... /index.html
            proxy_pass http://127.0.0.1:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $http_connection;
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }
        server_name voice.example.com;
    Fix caddy:
        handle /voice/* { reverse_proxy 127.0.0.1:8080 }   # before file_server
    Fix apache:
        ProxyPass /voice/ http://127.0.0.1:8080/voice/ upgrade=websocket
        FallbackResource disabled       # within <Location /voice/>
    Fix:
        Route the stream's path to the sidecar before the pages.
    """
    if own_cause(sight) != "page":
        return None
    kind = (answer.value("Content-Type") or "a page").partition(";")[0]
    return (
        f"{sight.probe.hop.name} answered {answer.status} with {kind} itself: {_what(sight)} is "
        f"not routed to the sidecar{_webhook(sight)}"
    )


@rule("RO05", level="warning")
def sidecar_bypassed(sight: Sight, answer: Answer) -> str | None:
    """The hop goes around the sidecar.

    Why:
        The upgrade worked, and neither its answer carries the stamp nor did it arrive at the
        sidecar: the hop dials the gateway itself. Calls work, and nobody watches them.
    Evidence:
        A 101 without Proxy-Status, and no record of the probe.
    Fix nginx:
        proxy_pass http://127.0.0.1:8080;        # the sidecar's port, not the gateway's
    Fix tailscale:
        tailscale funnel --bg 8080
    Fix cloudflared:
        service: http://127.0.0.1:8080
    Fix:
        Dial the sidecar's port, or take the sidecar out of hops.toml.
    """
    echo = sight.probe.phase("echo")
    if not _is_switched_elsewhere(sight, answer) or (echo is not None and echo.fault):
        return None
    if _is_emptily_ok(sight.probe) and not _is_emptily_ok(sight.behind):
        return None  # nobody gave it: see RO07
    return f"{sight.probe.hop.name} goes around the sidecar: its 101 was given by somebody else"


def _is_switched_elsewhere(sight: Sight, answer: Answer) -> bool:
    is_unstamped = answer.status == 101 and answer.stamp is None
    return is_unstamped and is_in_front(sight) and has_arrived(sight) is False


def _is_emptily_ok(probe: Probe | None) -> bool:
    """Whether the stream's path, asked without an upgrade, is a 200 that says nothing at all."""
    answer = probe.plain.answer if probe is not None and probe.plain is not None else None
    if answer is None or answer.status != 200 or answer.stamp is not None:
        return False
    return not answer.body and answer.value("Content-Type") is None


@rule("RO07")
def raw_tcp_service(sight: Sight, answer: Answer) -> str | None:
    """The tunnel takes the service for raw TCP, and speaks WebSocket itself.

    Why:
        For every scheme but http, https, ws and wss (tcp, ssh, and a typing error like htp)
        cloudflared gives the 101 itself and sends what the frames hold to the service, without
        HTTP. The call connects and stays silent.
    Evidence:
        A 101 without the stamp, nothing arrived at the sidecar, and the same path asked without
        an upgrade is a 200 that holds nothing, which the hop behind does not say.
    Fix cloudflared:
        service: http://127.0.0.1:8080
    Fix:
        Have the hop speak HTTP to the sidecar.
    """
    if sight.probe.hop.kind not in ("cloudflared", "other"):
        return None
    if not _is_switched_elsewhere(sight, answer):
        return None
    if not _is_emptily_ok(sight.probe) or _is_emptily_ok(sight.behind):
        return None
    return (
        f"{sight.probe.hop.name} gives the 101 itself and speaks no HTTP to what is behind it: "
        "every request is fine to it, and nothing arrived at the sidecar"
    )


@rule("RO06")
def no_sidecar_route(sight: Sight, probe: Probe) -> str | None:
    """The sidecar has no route for the stream's path or name.

    Why:
        The routes of hopscope.toml are tried in their order, by host and path; without one
        that fits, the sidecar answers 404 and lists the routes that it has.
    Evidence:
        Its stamp says error=destination_not_found.
    Fix sidecar:
        [[route]]
        name = "voice"
        path = "/voice/"
        upstream = "http://127.0.0.1:8081"
    Fix:
        Add a route to hopscope.toml, or a hop in front changed the path or Host: see HS08, HS10.
    """
    if probe.hop.kind != "sidecar":
        return None
    for exchange in (probe.through, probe.upgrade, probe.plain):
        stamp = exchange.answer.stamp if exchange and exchange.answer else None
        if stamp is not None and stamp.error in _ORIGIN_FAULTS:
            return f"{probe.hop.name} has no route for {sight.stream_path}: {stamp.details}"
    return None
