"""CL: how streams end through a hop."""

from doctor.evidence import Echo, Fault, Probe, Sight, Silence, Soak
from doctor.rules import rule
from doctor.rules.frames import is_close, is_restart

# Whose default it is, in seconds of silence (measured, or the vendor's documentation).
_DEFAULTS = {
    30: "a load balancer of Google's",
    50: "HAProxy's example configuration",
    55: "Heroku",
    60: "nginx (proxy_read_timeout) and AWS's load balancers",
    100: "Cloudflare",
    180: "Traefik (idleTimeout)",
    300: "Envoy (stream_idle_timeout) and Apache (ProxyTimeout)",
}
NEAR_S = 1.5


def _bad_close(sight: Sight, echoes: tuple[Echo, ...], fault: Fault) -> Echo | None:
    """The first close with this fault, where messages passed and the hop behind closes well."""
    if any(echo.fault and echo.aged_s is None and not is_close(echo) for echo in echoes):
        return None
    bad = next((echo for echo in echoes if is_close(echo) and echo.fault), None)
    if bad is None or bad.fault != fault:
        return None
    behind = {echo.name: echo.fault for echo in sight.behind.echoes} if sight.behind else {}
    return None if behind.get(bad.name) == fault else bad


@rule("CL01")
def idle_cut(sight: Sight, probe: Probe, silence: Silence) -> str | None:
    """The hop ends a stream that is silent.

    Why:
        Every proxy has a limit for silence on a connection. Twilio's media flows all the time;
        a stream that waits (a caller on hold, a paused track) is cut, and the call with it.
        Bytes in either direction start the clock anew, a ping is enough.
    Evidence:
        Both sides said nothing, and the stream ended before the time was over.
    Fix nginx:
        proxy_read_timeout 1h;
    Fix haproxy:
        timeout tunnel 1h        # without it, timeout client and server count
    Fix envoy:
        stream_idle_timeout: 0s  # and route: { timeout: 0s, idle_timeout: 0s }
    Fix apache:
        ProxyWebsocketIdleTimeout 3600   # ProxyTimeout where upgrade=websocket is used
    Fix traefik:
        respondingTimeouts: { readTimeout: 0s, idleTimeout: 3600s }
    Fix caddy:
        Remove stream_timeout from reverse_proxy.
    Fix cloudflared:
        The edge ends streams after 100 s of silence: let the gateway ping every 30 s.
    Fix:
        Raise the limit above the longest silence of a call, or ping more often.
    """
    died, behind = silence.died_after_s, sight.behind.silence if sight.behind else None
    if died is None or is_restart(silence.how):
        return None
    if behind is not None and behind.died_after_s is not None:
        return None
    default = next((who for age, who in _DEFAULTS.items() if abs(died - age) < NEAR_S), None)
    known = f"; that is the default of {default}" if default else ""
    return f"{probe.hop.name} ended a silent stream after {died:.1f} s: {silence.how}{known}"


@rule("CL02")
def closed_without_close(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop drops the Close.

    Why:
        A Close frame says who ended the stream and why. A hop that closes TCP in its place
        leaves 1006 to both sides: Twilio reports 31903 where it would be 31921, or nothing.
    Evidence:
        A Close was sent over the echoing stream, and EOF came in its place.
    Fix:
        Pass the Close on before the connection is closed.
    """
    bad = _bad_close(sight, echoes, "close_lost")
    return None if bad is None else f"{probe.hop.name} drops the Close: {bad.name}: {bad.saw}"


@rule("CL03")
def hop_restarted(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop ended the stream because it restarts.

    Why:
        A reload or a deployment ends streams: Caddy sends 1001 to both sides at any reload of
        its configuration, Cloudflare's edge says "CloudFlare WebSocket proxy restarting". All
        calls of the hop end in the same moment.
    Evidence:
        Close 1001 or 1012 came, which the sidecar's echo does not send.
    Fix caddy:
        reverse_proxy 127.0.0.1:8080 { stream_close_delay 1h }
    Fix envoy:
        --drain-time-s 3600
    Fix nginx:
        worker_shutdown_timeout 1h;   # old workers keep their streams for so long
    Fix haproxy:
        hard-stop-after 1h
    Fix:
        Reload when no call runs, or let old processes keep their streams.
    """
    said = [echo.saw for echo in echoes if echo.fault == "cut"]
    silence = probe.silence
    if silence is not None and silence.died_after_s is not None:
        said.append(silence.how)
    restart = next((words for words in said if is_restart(words)), None)
    if restart is None:
        return None
    behind = sight.behind
    if behind is not None and any(is_restart(echo.saw) for echo in behind.echoes):
        return None
    return f"{probe.hop.name} went away while a stream was open: {restart}"


@rule("CL04")
def close_code_changed(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop changes the code of a Close.

    Why:
        A proxy that ends the WebSocket on each side writes a Close of its own: 4000 becomes
        1000, an error looks like a good end.
    Evidence:
        A Close was sent over the echoing stream, and another code came.
    Fix:
        Mirror code and reason, or pass bytes on.
    """
    bad = _bad_close(sight, echoes, "close_changed")
    return (
        None if bad is None else f"{probe.hop.name} changes the Close: {bad.name}: {bad.saw} came"
    )


@rule("CL05")
def close_never_came(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The end of one side never reaches the other through the hop.

    Why:
        The hop ends one side's stream and keeps the other's open: a zombie. The caller hears
        silence until somebody hangs up.
    Evidence:
        A Close was sent over the echoing stream; neither a Close nor EOF came back.
    Fix haproxy:
        timeout client-fin 5s
        timeout server-fin 5s
    Fix:
        Close both sides when one is closed.
    """
    bad = _bad_close(sight, echoes, "missing")
    return (
        None
        if bad is None
        else f"{probe.hop.name} does not pass the end of a stream on: {bad.name}: {bad.saw}"
    )


@rule("CL06")
def cut_while_talking(sight: Sight, probe: Probe, soak: Soak) -> str | None:
    """The hop ends a stream that is in use.

    Why:
        A limit for the age of a connection, whatever flows: Google's load balancers (30 s
        unless set), Envoy's max_stream_duration, a platform's limit for requests.
    Evidence:
        Frames of media were echoed, and the stream ended under them.
    Fix envoy:
        route: { timeout: 0s, max_stream_duration: { max_stream_duration: 0s } }
    Fix caddy:
        Remove stream_timeout from reverse_proxy.
    Fix:
        Raise the limit above the longest call (Twilio's is 4 hours).
    """
    behind = sight.behind.soak if sight.behind else None
    if soak.fault != "cut" or (behind is not None and behind.fault == "cut"):
        return None
    seconds = soak.received * 0.02
    return f"{probe.hop.name} ended a stream in use after about {seconds:.0f} s of media"
