"""The benchmark's callers, and what is made of what they met with. Nothing is started here."""

import io
import json
import socket
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from bench import calls, telephone, turns
from bench.callers import KEY, Caller, Heard, clip, take_messages
from bench.calls import ANSWER_AT_MOST_S, STEP_CALLS, Carried, Load
from bench.gateway import settings_for
from bench.payload import server_frame
from bench.sessions import RefusedError
from doctor.caller.messages import TwilioMessages
from doctor.caller.speech import sentences
from feeds import every_split
from gateway import g711
from gateway.messages import Connected, Digit, MarkPlayed, Media, Started, Stopped, parse_message
from gateway.messages import mark as mark_of
from gateway.messages import media as media_of
from gateway.providers.silero import GATE

SID = "MZ" + "0" * 32
CLOSED = b"\x88\x06" + (1011).to_bytes(2) + b"oops"


class Line:
    """A socket: what the caller sent, unmasked, and what it is to receive."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.arriving: list[bytes] = []
        self.room = 1 << 20

    def send(self, frame: bytes) -> int:
        size = 2 if frame[1] & 0x7F < 126 else 4
        key, masked = frame[size : size + 4], frame[size + 4 :]
        text = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked)).decode()
        self.sent.append(parse_message(text))
        return min(len(frame), self.room)

    def recv(self, _size: int) -> bytes:
        if not self.arriving:
            raise BlockingIOError
        return self.arriving.pop(0)

    def close(self) -> None: ...


def a_caller(heard: Heard, frames: tuple[bytes, ...] = (b"\xff" * 160,)) -> tuple[Caller, Line]:
    line = Line()
    messages = TwilioMessages("AC1", "CA1", SID)
    caller = Caller(cast(socket.socket, line), messages, {"token": "t"}, frames, heard, now=0.0)
    return caller, line


def speech(frames: int) -> bytes:
    return server_frame(media_of(SID, b"\x80" * 160).encode()) * frames


MARK = server_frame(mark_of(SID, "said-1").encode())


def test_messages_are_taken_off_however_they_arrive() -> None:
    texts = ["", "a", "b" * 125, "c" * 126, "d" * 70_000, "é"]
    data = b"".join(server_frame(text.encode()) for text in texts) + b"\x89\x00"  # and a ping
    for pieces in every_split(data):
        buffer = bytearray()
        found = []
        for piece in pieces:
            buffer += piece
            found += take_messages(buffer)
        assert found == texts
        assert not buffer


def test_a_close_refuses_the_measurement_with_its_code() -> None:
    with pytest.raises(RefusedError, match="ended a call: 1011 oops"):
        take_messages(bytearray(CLOSED))


def test_a_caller_begins_as_twilio_does_and_counts_its_frames() -> None:
    caller, line = a_caller(heard := Heard(), (b"a" * 160, b"b" * 160))
    for tick in (1, 2, 3):
        caller.tick(tick * 0.02)
    connected, started, *frames = line.sent
    assert isinstance(connected, Connected)
    assert isinstance(started, Started)
    assert started.custom_parameters == {"token": "t"}
    assert [frame.audio[:1] for frame in frames] == [b"a", b"b", b"a"]
    assert [frame.timestamp_ms for frame in frames] == [20, 40, 60]
    assert heard.sent == 3


def test_a_mark_is_echoed_when_it_was_played_and_then_a_key_is_pressed() -> None:
    caller, line = a_caller(heard := Heard())
    line.arriving = [speech(2) + MARK]
    caller.receive(0.0)
    for tick in (1, 2, 3, 4):
        caller.tick(tick * 0.02)
    events = [type(message) for message in line.sent[2:]]
    assert events == [Media, MarkPlayed, Media, Digit, Media, Media]
    assert line.sent[5].digit == KEY
    assert (heard.marks, heard.echoed, heard.received) == (1, 1, 2)


def test_the_answer_to_a_key_is_timed() -> None:
    caller, line = a_caller(heard := Heard())
    line.arriving = [MARK]
    caller.receive(0.0)
    caller.tick(0.02)
    caller.tick(0.04)
    line.arriving = [speech(1), speech(1)]
    caller.receive(0.05)
    caller.receive(0.06)
    assert heard.answers_s == [pytest.approx(0.01)]
    assert heard.gap_s == pytest.approx(0.01)


def test_a_hole_in_the_speech_is_an_underrun_and_a_pause_behind_a_mark_is_none() -> None:
    caller, line = a_caller(heard := Heard())
    line.arriving = [speech(1), speech(1)]
    caller.receive(0.0)
    caller.receive(0.3)
    assert heard.gap_s == pytest.approx(0.3)
    assert caller.hang_up() == 1
    assert isinstance(line.sent[-1], Stopped)

    caller, line = a_caller(heard := Heard())
    line.arriving = [speech(1) + MARK, speech(1), speech(1)]
    caller.receive(0.0)
    caller.receive(3.0)
    assert (caller.hang_up(), heard.underruns) == (0, 0)
    caller.receive(4.5)  # longer than the buffer takes for a hole
    assert (caller.hang_up(), heard.underruns) == (0, 1)


def test_a_gateway_that_ends_a_call_or_reads_no_more_refuses_the_measurement() -> None:
    caller, line = a_caller(Heard())
    line.arriving = [b""]
    with pytest.raises(RefusedError, match="cut a call off"):
        caller.receive(0.0)
    line.arriving = [server_frame(b'{"event":"media"}')]
    with pytest.raises(RefusedError, match="Twilio would not take"):
        caller.receive(0.0)
    line.room = 100
    with pytest.raises(RefusedError, match="stopped to read"):
        caller.tick(0.02)


def test_a_quiet_line_stays_below_the_gate_and_a_talking_one_does_not() -> None:
    quiet, talking = clip("quiet"), clip("talking")
    assert 0 < max(map(g711.peak, quiet)) < GATE
    assert {len(frame) for frame in (*quiet, *talking)} == {g711.FRAME_BYTES}
    assert len(talking) * g711.FRAME_BYTES > sum(len(each.audio) for each in sentences()) * 0.99
    loud = [g711.peak(frame) > GATE for frame in talking]
    assert sum(loud) > 0.8 * len(loud)


def carried(**changes: Any) -> Carried:
    heard = Heard(sent=500, received=500, marks=9, echoed=8, gap_s=0.1, answers_s=[0.003, 0.01])
    whole = Carried(Load(100, "quiet", 60.0), 0.4, 0.0, 41.0, 48_000.0, heard)
    return replace(whole, **changes)


def test_calls_are_held_without_underruns_and_with_answers_in_time() -> None:
    heard = carried().heard
    assert carried().is_held
    assert not carried(heard=replace(heard, underruns=1)).is_held
    assert not carried(heard=replace(heard, answers_s=[ANSWER_AT_MOST_S + 0.01])).is_held
    assert carried(heard=replace(heard, answers_s=[])).is_held


def test_the_steps_go_on_from_what_was_asked_for() -> None:
    def first(held: int) -> int:
        return next(calls.steps(held)).calls

    assert [first(held) for held in (1, 49, 50, 100, 120)] == [50, 50, 100, 150, 150]
    found = list(calls.steps(100))
    assert all(load.is_step and load.line == "quiet" for load in found)
    assert {b.calls - a.calls for a, b in pairwise(found)} == {STEP_CALLS}


def test_the_limit_is_looked_for_until_a_load_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def carry(load: Load) -> Carried:
        underruns = 3 if load.calls >= 200 or load.line == "talking" else 0
        return carried(load=load, heard=Heard(underruns=underruns))

    monkeypatch.setattr(calls, "carry", carry)
    said: list[str] = []
    found = calls.run(calls.loads_for(100, 60), said.append, wants_limit=True)
    measured = [(each.load.calls, each.load.line) for each in found]
    assert measured == [(100, "quiet"), (100, "talking"), (150, "quiet"), (200, "quiet")]
    assert len(said) == 4
    assert calls.remarks(found) == ["One core held 150 calls on quiet lines; more were not held."]
    assert len(calls.run(calls.loads_for(100, 60), said.append, wants_limit=False)) == 2
    assert len(calls.run(calls.loads_for(200, 60), said.append, wants_limit=True)) == 2


def test_a_refused_load_is_tried_again_and_a_step_beyond_the_callers_is_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def carry(load: Load) -> Carried:
        tried.append(load.calls)
        if load.is_step or tried.count(load.calls) == 1:
            raise RefusedError("late")
        return carried(load=load)

    monkeypatch.setattr(calls, "carry", carry)
    loads = [Load(10, "quiet", 1)]
    found = calls.run(loads, lambda _line: None, wants_limit=True)
    assert tried == [10, 10, 50, 50, 50]
    assert [each.load.calls for each in found] == [10]


def test_only_the_asked_calls_on_quiet_lines_are_an_aim() -> None:
    found = [
        carried(),
        carried(load=Load(100, "talking", 20), heard=Heard(underruns=9)),
        carried(load=Load(150, "quiet", 8, is_step=True), heard=Heard(underruns=9)),
    ]
    [aim] = calls.aims(found)
    assert aim.is_met
    assert aim.sentence() == "100 calls on one core for 60 s: 0 underruns (aim at most 0)"
    [missed] = calls.aims([carried(heard=Heard(underruns=2))])
    assert missed.is_met is False


def event(caller: str, **ms: float) -> dict[str, Any]:
    return {"event": "turn", "caller": caller, "ms": ms}


def test_the_turns_of_a_log_are_matched_with_what_was_said_and_heard() -> None:
    lines = [
        '{"event": "call_started"}',
        "a warning that is no JSON",
        json.dumps(event("in the afternoon please", pause=512, first_audio=540)),
        json.dumps(event("What time do you open Monday?", pause=512)),
    ]
    heard: list[dict[str, Any]] = [{"answer_ms": 660.0}, {"answer_ms": None}]
    said = ["In the afternoon, please.", "What time do you open on Monday?", "Goodbye."]
    found = turns.matched(said, heard, turns.told_turns(lines))
    assert [turn.is_exact for turn in found] == [True, False, False]
    assert [turn.ms for turn in found] == [
        {"pause": 512, "first_audio": 540, "heard": 660.0},
        {"pause": 512},
        {},
    ]
    assert turns.remarks(found) == [
        "Said 'What time do you open on Monday?', understood 'What time do you open Monday?'.",
        "Said 'Goodbye.', understood ''.",
    ]
    [unknown] = turns.aims(found)
    assert unknown.is_met is None
    assert unknown.remark == "2 turns were not answered"


def test_a_soon_and_exact_conversation_meets_both_aims() -> None:
    soon = turns.Turn("Goodbye.", "goodbye", {"heard": 700.0})
    late = turns.Turn("Goodbye.", "Good buy.", {"heard": 900.0})
    assert [aim.is_met for aim in turns.aims([soon, soon, late])] == [True, False]
    assert [aim.is_met for aim in turns.aims([soon, late, late])] == [False, False]
    assert [aim.is_met for aim in turns.aims([soon])] == [True, True]
    sentence = turns.aims([soon])[1].sentence()
    assert sentence == "not understood word for word: 0 of 1 sentences (aim at most 0)"


def test_what_is_not_installed_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "find_spec", lambda name: None if name == "hibari" else name)
    assert turns.missing() == "hibari not installed (pip install 'hopscope[offline]')"
    figures = telephone.run(telephone.Plan(("turns",), 1, 1, 1), lambda _line: None)
    [aim] = figures.aims()
    assert aim.is_met is None
    assert "hibari not installed" in aim.sentence()
    assert list(figures.tables()) == []


def test_every_figure_is_in_the_tables_and_in_the_json() -> None:
    plan = telephone.Plan(("calls", "turns"), 100, 60, 1)
    talked = [turns.Turn("Goodbye.", "goodbye", {"pause": 512.0, "heard": 700.0})]
    figures = telephone.Figures(plan, [carried()], talked)
    text = io.StringIO()
    for table, _ in figures.tables():
        Console(width=200, file=text).print(table)
    for figure in ("quiet", "100", "60", "40%", "41.0", "48", "8 of 9", "512", "700"):
        assert f" {figure} " in text.getvalue()
    told = json.loads(json.dumps(figures.as_json()))
    assert told["calls"][0]["heard"]["answers_s"] == [0.003, 0.01]
    assert told["calls"][0]["is_held"] is True
    assert told["turns"][0]["is_exact"] is True


def test_the_gateway_of_the_benchmark_has_room_for_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "t" * 32)
    monkeypatch.delenv("HOPSCOPE_PUBLIC_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    settings = settings_for("127.0.0.1:8081", barge_in=False)
    most = max(load.calls for load in calls.steps(1000))
    assert min(settings.limits.calls, settings.limits.pending_streams) > most
    assert settings.limits.calls_per_caller_per_minute > most
    assert settings.limits.connections > 2 * most
    assert settings.turns.barge_in is False
    assert settings.metrics is None
