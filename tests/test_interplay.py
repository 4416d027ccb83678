"""What a speech-to-speech session's events mean, and what must come next."""

import base64
from typing import Any

import pytest

from gateway.providers.interplay import (
    AudioPiece,
    CallerStarted,
    CallerStopped,
    Failed,
    Interplay,
    Remark,
    TurnEnded,
)


def _delta(response: str, audio: bytes = b"\x7f") -> dict[str, Any]:
    return {
        "type": "response.output_audio.delta",
        "response_id": response,
        "item_id": "item",
        "delta": base64.b64encode(audio).decode(),
    }


def _created(response: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response}}


STARTED = {"type": "input_audio_buffer.speech_started"}
STOPPED = {"type": "input_audio_buffer.speech_stopped"}
SAID = {"type": "response.output_audio_transcript.done", "item_id": "item", "transcript": "Hi. "}

EXPIRED = {"type": "invalid_request_error", "code": "session_expired"}


def _done(status: str, **details: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": "r", "status": status, **details}}


def test_something_must_come_after_the_caller_spoke_and_until_the_answer_is_done() -> None:
    interplay = Interplay()
    expected = []
    events = [STARTED, STOPPED, _created("r"), _delta("r"), SAID, _done("completed")]
    for event in events:
        interplay.receive(event)
        expected.append(interplay.expects)
    assert Interplay().expects is None
    assert Interplay(expects_answer=True).expects == "answer"
    assert expected == [None, "answer", "answer", "more", "more", None]


def test_the_end_of_what_the_caller_says_is_told() -> None:
    interplay = Interplay()
    assert interplay.receive(STARTED) == [CallerStarted()]
    assert interplay.receive(STOPPED) == [CallerStopped()]


def test_a_caller_who_interrupts_ends_the_wait_for_more() -> None:
    interplay = Interplay()
    for event in (_created("r"), _delta("r"), STARTED):
        interplay.receive(event)
    assert interplay.expects is None


def test_audio_of_an_answer_that_was_cut_is_late_and_that_of_the_next_is_not() -> None:
    interplay = Interplay()
    interplay.receive(_created("r1"))
    assert interplay.receive(_delta("r1", b"1")) == [AudioPiece("item", b"1")]
    assert interplay.receive(STARTED) == [CallerStarted()]
    assert interplay.receive(_delta("r1", b"2")) == []
    interplay.receive(_created("r2"))
    assert interplay.receive(_delta("r2", b"3")) == [AudioPiece("item", b"3")]


@pytest.mark.parametrize(
    ("status", "was_interrupted"),
    [("completed", False), ("incomplete", False), ("cancelled", True)],
)
def test_what_the_agent_said_is_told_when_its_answer_is_done(
    status: str, was_interrupted: bool
) -> None:
    interplay = Interplay()
    assert interplay.receive(SAID) == []
    assert interplay.receive(_done(status)) == [TurnEnded("agent", "item", "Hi.", was_interrupted)]
    assert interplay.receive(_done(status)) == []


def test_what_the_caller_said_is_told_when_it_is_known() -> None:
    event = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item",
        "transcript": " Hello?\n",
    }
    assert Interplay().receive(event) == [TurnEnded("caller", "item", "Hello?")]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"error": {"type": "invalid_request_error", "code": "x"}}, id="one event"),
        pytest.param({"type": "response.output_audio.delta", "delta": "?"}, id="no base64"),
        pytest.param({"type": "response.output_audio.delta"}, id="no audio"),
        pytest.param(
            {"type": "conversation.item.input_audio_transcription.failed"}, id="no transcript"
        ),
    ],
)
def test_what_the_session_survives_is_a_remark(event: dict[str, Any]) -> None:
    [happened] = Interplay().receive({"type": "error", **event})
    assert isinstance(happened, Remark)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"type": "error", "error": {"type": "server_error"}}, id="theirs"),
        pytest.param(
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "code": "session_expired"},
            },
            id="an hour is over",
        ),
        pytest.param({"type": "error", "error": "what?"}, id="no object"),
        pytest.param(_done("failed", status_details={"error": {"code": "x"}}), id="the answer"),
        pytest.param(_done("failed"), id="the answer, no details"),
    ],
)
def test_what_it_does_not_survive_is_a_failure(event: dict[str, Any]) -> None:
    [happened] = Interplay().receive(event)
    assert isinstance(happened, Failed)


@pytest.mark.parametrize(
    "event", [{}, {"type": 7}, {"type": "rate_limits.updated"}, {"type": "response.done"}]
)
def test_what_is_not_understood_is_let_pass(event: dict[str, Any]) -> None:
    assert Interplay().receive(event) == []
