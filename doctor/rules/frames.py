"""FR: what a hop does to messages on an open stream."""

from doctor.evidence import Echo, Fault, Probe, Sight, Soak
from doctor.rules import rule

LARGE = ("64 KiB", "1 MiB")
RESTARTS = ("Close 1001", "Close 1012")


def is_close(echo: Echo) -> bool:
    return echo.name.startswith("close ")


def is_large(echo: Echo) -> bool:
    return any(size in echo.name for size in LARGE)


def is_restart(said: str) -> bool:
    """Whether a stream ended in the words of a server that goes away (RFC 6455 section 7.4.1)."""
    return said.startswith(RESTARTS) or any(f": {code}" in said for code in RESTARTS)


def first_bad(sight: Sight, echoes: tuple[Echo, ...]) -> Echo | None:
    """The first message that went wrong here, and not the same way behind.

    What was cut for its stream's age is told by a silent stream that died, if there is one.
    """
    told = [echo for echo in echoes if echo.aged_s is None or not sight.probe.died_silent]
    bad = next((echo for echo in told if echo.fault and not is_close(echo)), None)
    if bad is None:
        return None
    held = next((echo for echo in told if echo.fault == "held"), None)
    bad = held or bad  # what came late explains what seemed to be missing
    behind = {echo.name: echo.fault for echo in sight.behind.echoes} if sight.behind else {}
    return None if behind.get(bad.name) == bad.fault else bad


def _is(echo: Echo | None, *faults: Fault) -> bool:
    return echo is not None and echo.fault in faults


def _below(echoes: tuple[Echo, ...], large: Echo) -> str:
    """The largest message that came back before the one that did not."""
    passed = [e.name for e in echoes[: echoes.index(large)] if not e.fault and not is_close(e)]
    return f"; {passed[-1]} came back" if passed else ""


@rule("FR01")
def frames_held(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop holds messages back.

    Why:
        A proxy that buffers, coalesces or compresses passes messages on when it has enough of
        them. Media of 20 ms comes in bursts: the caller hears gaps, the gateway hears nothing
        and then everything.
    Evidence:
        Echoed messages came back late, or only behind others.
    Fix nginx:
        No sub_filter, gzip or limit_rate on this location.
    Fix haproxy:
        No `filter compression` or `filter bwlim-*` for this backend; option http-no-delay
    Fix apache:
        ProxyPass ... upgrade=websocket flushpackets=on   # and no mod_deflate for /voice/
    Fix:
        Pass every frame on as it comes: no buffering, no compression, TCP_NODELAY.
    """
    bad = first_bad(sight, echoes)
    if bad is None or not _is(bad, "held"):
        return None
    return f"{probe.hop.name} holds messages back: {bad.name}: {bad.saw}"


@rule("FR02")
def ping_unanswered(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop swallows pings.

    Why:
        A proxy that ends the WebSocket on each side and does not forward control frames. The
        gateway's keep-alive sees no pong and closes with 1011.
    Evidence:
        Messages came back, and a ping had no pong.
    Fix:
        Use a proxy that passes bytes on (nginx, HAProxy, Caddy, Traefik, Envoy), or forward
        pings and pongs.
    """
    bad = first_bad(sight, echoes)
    if bad is None or bad.name != "ping" or not _is(bad, "missing"):
        return None
    return f"{probe.hop.name} does not answer or pass on pings: {bad.saw}"


@rule("FR03")
def frame_altered(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop changes what is sent over the stream.

    Why:
        A proxy that decodes and encodes messages: text for binary, other bytes, reserved bits
        of a compression that was never negotiated. Twilio reports 31924 or 31950.
    Evidence:
        An echoed message came back as another.
    Fix:
        Take filters off the stream, and let the hop pass bytes on as they come.
    """
    bad = first_bad(sight, echoes)
    if bad is None or not _is(bad, "altered"):
        return None
    return f"{probe.hop.name} changes messages: {bad.name}: {bad.saw}"


@rule("FR04")
def large_message_cut(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop does not pass large messages.

    Why:
        A limit for messages or frames: 64 KiB, 1 MiB (Python's websockets), 4 MiB (aiohttp).
        Twilio's messages are small, a gateway's may not be: a whole answer of speech in one
        `media` message is some hundred KiB.
    Evidence:
        Small messages came back, and a large one ended the stream or never came.
    Fix:
        Raise the hop's limit for messages, or send audio in pieces of 20 ms.
    """
    bad = first_bad(sight, echoes)
    if bad is None or not is_large(bad) or not _is(bad, "cut", "missing") or is_restart(bad.saw):
        return None
    if bad.aged_s is not None:
        return None
    return f"{probe.hop.name} does not pass {bad.name}: {bad.saw}{_below(echoes, bad)}"


@rule("FR05")
def messages_lost(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """Messages do not come through the hop.

    Why:
        The stream is open and silent: the hop answered the handshake and does not pass frames
        on, in one direction or both.
    Evidence:
        A small message was sent over the open stream, and nothing came back.
    Fix haproxy:
        No `mode http` filter that waits for a body; timeout tunnel 1h
    Fix cloudflared:
        service: http://127.0.0.1:8080   # a tcp:// service answers 101 itself and passes no HTTP
    Fix:
        See whether the hop passes bytes on behind the 101.
    """
    bad = first_bad(sight, echoes)
    if bad is None or is_large(bad) or bad.name == "ping" or not _is(bad, "missing"):
        return None
    return f"{probe.hop.name} does not pass messages on: {bad.name}: {bad.saw}"


@rule("FR06")
def stream_cut(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The stream ends in the middle of a conversation.

    Why:
        The hop has a limit for the age of a connection, counts the handshake's time against
        the stream, or gave up on a frame.
    Evidence:
        The stream ended while messages were echoed: small ones, or any that came back when sent
        again over a new stream.
    Fix nginx:
        proxy_read_timeout 1h; proxy_send_timeout 1h;
    Fix envoy:
        route: { timeout: 0s, max_stream_duration: {} }   # stream_idle_timeout: 1h
    Fix haproxy:
        timeout tunnel 1h
    Fix traefik:
        transport: { respondingTimeouts: { readTimeout: 0s, idleTimeout: 1h } }
    Fix:
        Raise the hop's limits for the age and the silence of a connection.
    """
    bad = first_bad(sight, echoes)
    if bad is None or not _is(bad, "cut") or is_restart(bad.saw):
        return None
    if bad.aged_s is not None:
        return (
            f"{probe.hop.name} ended a stream at an age of {bad.aged_s:.1f} s, whatever was sent "
            f"over it ({bad.name}: {bad.saw})"
        )
    return None if is_large(bad) else f"{probe.hop.name} ended the stream: {bad.name}: {bad.saw}"


@rule("FR07")
def media_disturbed(sight: Sight, probe: Probe, soak: Soak) -> str | None:
    """Media does not come through the hop at its beat.

    Why:
        50 frames a second each way, 20 ms apart. A hop that queues, limits the rate or loses
        frames makes gaps that the caller hears.
    Evidence:
        Frames of media were echoed for a while; they came late, changed, or not all.
    Fix nginx:
        limit_rate 0;
    Fix haproxy:
        Remove `filter bwlim-in` and `bwlim-out`.
    Fix:
        Find the queue: a bandwidth limit, a busy CPU, a link that loses packets.
    """
    behind = sight.behind.soak if sight.behind else None
    if not soak.fault or soak.fault == "cut" or (behind is not None and behind.fault):
        return None
    return (
        f"{probe.hop.name} disturbs media: {soak.received} of {soak.sent} frames came back, the "
        f"worst gap was {soak.worst_gap_ms:.0f} ms"
    )


@rule("FR08", level="warning")
def fragments_merged(sight: Sight, probe: Probe, echoes: tuple[Echo, ...]) -> str | None:
    """The hop joins the fragments of a message.

    Why:
        RFC 6455 section 5.4 lets an intermediary do so. It waits for the whole message before
        it passes the first byte on, which costs time where a message is made while it is sent.
    Evidence:
        A message in three frames came back in one.
    Fix:
        Use a proxy that passes bytes on, where this delay matters.
    """
    merged = next((e for e in echoes if e.name.startswith("fragments") and e.saw), None)
    if merged is None or merged.fault:
        return None
    behind = sight.behind.echoes if sight.behind else ()
    if any(echo.name == merged.name and echo.saw for echo in behind):
        return None
    return f"{probe.hop.name} joins fragments: {merged.name} {merged.saw}"
