"""Twilio's playout buffer: what is heard when, marks, clear, underruns."""

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.caller.playout import LIMIT_S, MARKS_LIMIT, PAUSE_S, Playout
from gateway.g711 import BYTES_PER_SECOND, FRAME_S
from proxy import media
from proxy.media import MediaReader

FRAME = bytes(160)
SECOND = bytes(8000)
quickly = settings(derandomize=True, deadline=None, max_examples=100)


def test_audio_is_heard_as_time_goes_by() -> None:
    playout = Playout(10.0)
    playout.receive_audio(b"a" * 160 + b"b" * 160, 10.0)
    assert playout.take_heard() == b""
    playout.advance(10.01)
    assert playout.take_heard() == b"a" * 80
    assert playout.ahead_s() == 0.03
    playout.advance(10.05)
    assert playout.take_heard() == b"a" * 80 + b"b" * 160 + b"\xff" * 80
    assert playout.is_empty


def test_gaps_are_heard_as_silence_of_their_length() -> None:
    playout = Playout(0.0)
    playout.receive_audio(FRAME, 0.5)
    playout.receive_audio(FRAME, 1.0)
    playout.advance(2.0)
    heard = playout.take_heard()
    assert len(heard) == 2 * BYTES_PER_SECOND
    assert heard[4000:4160] == heard[8000:8160] == FRAME
    assert set(heard[:4000] + heard[4160:8000] + heard[8160:]) == {0xFF}


def test_a_mark_is_echoed_when_what_came_before_it_was_played() -> None:
    playout = Playout(0.0)
    playout.receive_audio(SECOND, 0.0)
    playout.receive_mark("first", 0.0)
    playout.receive_audio(SECOND, 0.0)
    playout.receive_mark("second", 0.0)
    assert playout.advance(0.99) == []
    assert playout.advance(1.0) == ["first"]
    assert playout.advance(1.99) == []
    assert playout.advance(2.5) == ["second"]


def test_a_mark_with_nothing_before_it_is_echoed_at_once() -> None:
    playout = Playout(0.0)
    playout.receive_mark("now", 3.0)
    assert playout.advance(3.0) == ["now"]


def test_marks_are_echoed_in_the_order_in_which_they_came() -> None:
    playout = Playout(0.0)
    playout.receive_audio(FRAME, 0.0)
    for name in ("b", "a", "b"):
        playout.receive_mark(name, 0.0)
    assert playout.advance(0.02) == ["b", "a", "b"]


def test_clear_empties_the_buffer_and_echoes_every_mark_at_once() -> None:
    playout = Playout(0.0)
    playout.receive_audio(SECOND, 0.0)
    playout.receive_mark("one", 0.0)
    playout.receive_audio(SECOND, 0.0)
    playout.receive_mark("two", 0.0)
    playout.clear(0.25)
    assert playout.advance(0.25) == ["one", "two"]
    assert playout.ahead_s() == 0
    assert (playout.played, playout.cleared) == (2000, 14000)
    playout.receive_audio(b"c" * 160, 0.5)
    playout.advance(1.0)
    heard = playout.take_heard()
    assert heard == bytes(2000) + b"\xff" * 2000 + b"c" * 160 + b"\xff" * 3840


def test_audio_that_comes_too_late_within_an_utterance_is_an_underrun() -> None:
    playout = Playout(0.0)
    for at in (0.0, 0.1, 0.2):
        playout.receive_audio(FRAME, at)
    assert playout.underruns == 2


def test_neither_a_mark_nor_a_clear_nor_a_pause_is_followed_by_an_underrun() -> None:
    playout = Playout(0.0)
    playout.receive_audio(FRAME, 0.0)
    playout.receive_mark("end", 0.0)
    playout.receive_audio(FRAME, 0.5)
    playout.clear(0.6)
    playout.receive_audio(FRAME, 0.7)
    playout.receive_audio(FRAME, 0.72 + PAUSE_S + 0.01)
    assert playout.underruns == 0


def test_audio_in_time_or_a_frame_late_is_no_underrun() -> None:
    playout = Playout(0.0)
    for at in (0.0, 0.02, 0.045, 0.084):
        playout.receive_audio(FRAME, at)
    assert playout.underruns == 0


def test_more_than_ten_minutes_are_discarded() -> None:
    playout = Playout(0.0)
    minute = bytes(60 * BYTES_PER_SECOND)
    taken = [playout.receive_audio(minute, 0.0) for _ in range(11)]
    assert taken == [True] * 10 + [False]
    assert playout.ahead_s() == LIMIT_S
    assert playout.discarded == len(minute)
    assert playout.receive_audio(SECOND, 1.0)  # there is room again


def test_marks_without_end_are_not_kept_without_end() -> None:
    playout = Playout(0.0)
    playout.receive_audio(FRAME, 0.0)
    taken = [playout.receive_mark("again", 0.0) for _ in range(MARKS_LIMIT + 1)]
    assert taken == [True] * MARKS_LIMIT + [False]
    assert len(playout.advance(1.0)) == MARKS_LIMIT
    assert playout.receive_mark("after", 1.0)


def test_ten_minutes_in_one_message_play_as_fast_as_any() -> None:
    """Each step takes its bytes off the front; copying the rest each time would take minutes."""
    playout = Playout(0.0)
    playout.receive_audio(bytes(int(LIMIT_S) * BYTES_PER_SECOND), 0.0)
    for tick in range(1, 30_001):
        playout.advance(tick * FRAME_S)
        assert len(playout.take_heard()) in (159, 160, 161)
    assert playout.is_empty


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["audio", "mark", "clear", "wait"]), st.integers(1, 40)), max_size=60
)


@quickly
@given(STEPS)
def test_every_byte_is_heard_once_or_thrown_away(steps: list[Step]) -> None:
    playout = Playout(0.0)
    now, sent, marks, echoed, heard = 0.0, 0, 0, 0, 0
    for kind, size in steps:
        now += 0.003
        match kind:
            case "audio":
                sent += size * 37
                playout.receive_audio(bytes(size * 37), now)
            case "mark":
                marks += playout.receive_mark("m", now)
            case "clear":
                playout.clear(now)
            case _:
                now += size / 64
        echoed += len(playout.advance(now))
        heard += len(playout.take_heard())
    echoed += len(playout.advance(now + LIMIT_S))
    assert playout.played + playout.cleared == sent
    assert echoed == marks
    assert abs(heard - now * BYTES_PER_SECOND) <= 1


@quickly
@given(STEPS)
def test_the_sidecar_estimates_the_same_buffer(steps: list[Step]) -> None:
    """proxy/media.py sees the same messages pass and comes to the same underruns."""
    playout, reader = Playout(0.0), MediaReader()
    assert (LIMIT_S, PAUSE_S, FRAME_S) == (600.0, media.PAUSE_S, media.FRAME_S)
    reader.decide(b'{"event":"connected"}')
    now = 0.0

    def send(event: str, **content: Any) -> None:
        message = {"event": event, "streamSid": "MZ", **content}
        reader.receive_from_server(json.dumps(message).encode(), now)

    for kind, size in steps:
        now += 1 / 512  # sums are exact, and no gap falls on a limit
        match kind:
            case "audio":
                payload = base64.b64encode(bytes(size * 100)).decode()
                send("media", media={"payload": payload})
                playout.receive_audio(bytes(size * 100), now)
            case "mark":
                send("mark", mark={"name": "m"})
                playout.receive_mark("m", now)
            case "clear":
                send("clear")
                playout.clear(now)
            case _:
                now += size / 64
        playout.advance(now)
        assert abs(playout.ahead_s() - reader.buffered_s(now)) < 0.001
    assert playout.underruns == reader.underruns
