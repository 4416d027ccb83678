"""Rules of the reverse_proxy that takes the stream. What is said was seen with Caddy 2.11."""

import fnmatch
from collections.abc import Iterator

from doctor.linting.caddy_routes import upstream_of
from doctor.linting.caddy_takers import EDITED, Taker, duration_s
from doctor.linting.family import Family, Saw
from doctor.linting.urls import LONGEST_CALL_S

# An agent that listens is silent for so long, easily.
_SILENCE_S = 60
STREAMS = Family[Taker]()


@STREAMS.rule("CA10")
def upgrade_removed(taker: Taker) -> Iterator[Saw]:
    """A header of the upgrade is removed or replaced.

    Why:
        Caddy passes upgrades on by itself. Without Upgrade and Connection the gateway gets a plain
        GET and answers 400, 404 or 426; without the key its 101 fits none.
    Fix:
        Remove these lines: reverse_proxy 127.0.0.1:8080 is all it takes.
    """
    for directive, edits in taker.edits():
        for each in edits["delete"]:
            if any(fnmatch.fnmatchcase(name, each.text.lower()) for name in EDITED):
                yield taker.saw(each, [directive, f"-{each.text}"], f"{directive} -{each.text}")
        for name, values in edits["set"].items():
            value = ", ".join(each.text for each in values)
            kept = {"upgrade": "websocket", "connection": "upgrade"}.get(name.lower())
            is_kept = "{" in value or (kept is not None and kept in value.lower())
            if name.lower() in EDITED and not is_kept:
                yield taker.saw(values, [directive, name], f"{directive} {name} {value!r}")


@STREAMS.rule("CA13")
def response_buffered(taker: Taker) -> Iterator[Saw]:
    """Responses are buffered, the 101 among them.

    Why:
        Caddy waits for the end of a stream that has just begun: Twilio never sees the 101.
    Fix:
        Remove response_buffers.
    """
    buffers = taker.proxy["response_buffers"]
    if buffers.number:
        yield taker.saw(buffers, ["response_buffers"], f"response_buffers {buffers.text}")


@STREAMS.rule("CA14", level="warning")
def silence_cut(taker: Taker) -> Iterator[Saw]:
    """A stream is cut when the gateway is silent for so long.

    Why:
        read_timeout counts from the last byte of the gateway, whatever Twilio sends. An agent that
        listens sends nothing.
    Fix:
        Remove read_timeout; for a gateway that never answers there is response_header_timeout.
    """
    timeout = taker.proxy.at("transport", "read_timeout")
    limit_s = duration_s(timeout)
    if 0 < limit_s < LONGEST_CALL_S:
        saw = taker.saw(timeout, ["read_timeout"], f"read_timeout {limit_s:g}s")
        yield Saw(saw.text, saw.file, saw.line, level="error" if limit_s < _SILENCE_S else None)


@STREAMS.rule("CA15", level="warning")
def stream_cut(taker: Taker) -> Iterator[Saw]:
    """A stream is cut at an age that a call may reach.

    Why:
        stream_timeout counts from the 101, whatever is sent. Twilio lets a call last four hours.
    Fix:
        Remove stream_timeout, or make it 4h.
    """
    timeout = taker.proxy["stream_timeout"]
    limit_s = duration_s(timeout)
    if 0 < limit_s < LONGEST_CALL_S:
        yield taker.saw(timeout, ["stream_timeout"], f"stream_timeout {limit_s:g}s")


@STREAMS.rule("CA16", level="warning")
def reload_cuts(taker: Taker) -> Iterator[Saw]:
    """A call that lasts longer than stream_close_delay is ended by a reload of Caddy.

    Why:
        Caddy closes the streams of the old configuration with 1001, also where only another site
        was changed (caddy #5471, #6420): after this delay, or at once where there is none. The
        latter is how every Caddyfile begins, and matters only to who reloads while calls run: it
        is a remark.
    Fix:
        stream_close_delay 4h
    """
    delay = taker.proxy["stream_close_delay"]
    if 0 < (limit_s := duration_s(delay)) < LONGEST_CALL_S:
        yield taker.saw(delay, ["stream_close_delay"], f"stream_close_delay {limit_s:g}s")


def remark_of(taker: Taker) -> str | None:
    """What a stream loses by a reload where no delay is set."""
    if duration_s(taker.proxy["stream_close_delay"]):
        return None
    upstream = upstream_of(taker.proxy)
    return f"reverse_proxy {upstream} has no stream_close_delay: a reload of Caddy ends all calls."
