"""The vendors' protocols of streaming recognition, without a socket."""

import base64
import json
from typing import Any

import pytest

from gateway import g711
from gateway.providers.deepgram import QUIET_S, Live
from gateway.providers.dialects import Event, Message, Ready, Rejected, Understood
from gateway.providers.elevenlabs import Scribe
from gateway.providers.openai import Transcription, transcription

SECOND = b"\x10" * g711.BYTES_PER_SECOND


def _events(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(message) for message in messages]


def _audio(messages: list[Message], field: str) -> bytes:
    return b"".join(base64.b64decode(event.get(field, "")) for event in _events(messages))


# OpenAI


def _session() -> Transcription:
    return Transcription("gpt-live-transcribe", "en")


def _committed(item: str) -> dict[str, Any]:
    return {"type": "input_audio_buffer.committed", "item_id": item}


def _completed(item: str, text: str) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item, "transcript": text}


def test_openai_tells_pieces_apart_by_their_items_in_whatever_order_they_come() -> None:
    session = _session()
    for _ in range(2):
        session.send_audio(SECOND)
        session.commit()
    assert session.receive(_committed("a")) == session.receive(_committed("b")) == []
    assert session.receive(_completed("b", "world")) == [Understood(1, "world")]
    assert session.receive(_completed("a", "hello")) == [Understood(0, "hello")]
    assert session.receive(_completed("a", "again")) == []


def test_openai_is_understood_without_a_word_of_the_items() -> None:
    session = _session()
    session.send_audio(SECOND)
    session.commit()
    assert session.receive(_completed("?", "hello")) == [Understood(0, "hello")]


def test_openai_wants_a_tenth_of_a_second_and_gets_silence_for_what_is_missing() -> None:
    session = _session()
    session.send_audio(b"\x10" * 100)
    _, messages = session.commit()
    padding = _audio(messages, "audio")
    assert padding == g711.SILENCE * len(padding)
    assert 100 + len(padding) >= 800
    session.send_audio(SECOND)
    assert _audio(session.commit()[1], "audio") == b""


def test_openai_forgets_audio_when_asked_and_only_then() -> None:
    session = _session()
    assert session.drop() == []
    session.send_audio(SECOND)
    [clear] = _events(session.drop())
    assert clear["type"] == "input_audio_buffer.clear"
    assert session.drop() == []


@pytest.mark.parametrize(
    ("error", "events"),
    [
        ({"event_id": "clear"}, []),
        ({"event_id": "commit-0"}, [0]),
        ({"event_id": "commit-7"}, [None]),
        ({"event_id": None}, [None]),
        ({"event_id": "commit-x"}, [None]),
        ("what?", [None]),
    ],
)
def test_openai_names_what_an_error_is_about(error: Any, events: list[int | None]) -> None:
    session = _session()
    session.send_audio(SECOND)
    session.commit()
    happened = session.receive({"type": "error", "error": error})
    assert [event.number for event in happened if isinstance(event, Rejected)] == events


def test_openai_fails_one_piece_and_not_the_session() -> None:
    session = _session()
    session.send_audio(SECOND)
    session.commit()
    session.receive(_committed("a"))
    failed = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "a"}
    assert session.receive(failed) == [Rejected(failed, 0)]


@pytest.mark.parametrize(
    ("model", "language", "settings"),
    [
        ("gpt-live-transcribe", "en", {"languages": ["en"]}),
        ("gpt-transcribe", "de", {"languages": ["de"]}),
        ("whisper-1", "en", {"language": "en"}),
        ("gpt-live-transcribe", "", {}),
    ],
)
def test_openai_takes_the_language_under_two_names(
    model: str, language: str, settings: dict[str, Any]
) -> None:
    assert transcription(model, language) == {"model": model, **settings}


# ElevenLabs


def _scribe() -> Scribe:
    return Scribe("scribe_v2_realtime", "en")


def _text(text: str) -> dict[str, Any]:
    return {"message_type": "committed_transcript", "text": text}


def test_elevenlabs_answers_in_the_order_of_the_commits() -> None:
    scribe = _scribe()
    for _ in range(2):
        scribe.send_audio(SECOND)
        scribe.commit()
    assert scribe.receive(_text("hello")) == [Understood(0, "hello")]
    assert scribe.receive({"message_type": "partial_transcript", "text": "wor"}) == []
    assert scribe.receive(_text("world")) == [Understood(1, "world")]


def test_elevenlabs_may_commit_by_itself_and_that_is_part_of_the_piece() -> None:
    scribe = _scribe()
    scribe.send_audio(SECOND)
    assert scribe.receive(_text("a long")) == []
    scribe.commit()
    assert scribe.receive(_text("story")) == [Understood(0, "a long story")]


def test_elevenlabs_cannot_forget_so_a_dropped_piece_is_answered_to_nobody() -> None:
    scribe = _scribe()
    scribe.send_audio(SECOND)
    scribe.commit()
    scribe.send_audio(SECOND)
    assert [event["commit"] for event in _events(scribe.drop())] == [True]
    assert scribe.drop() == []
    scribe.send_audio(SECOND)
    number, _ = scribe.commit()
    texts = [scribe.receive(_text(text)) for text in ("one", "two", "three")]
    assert texts == [[], [], [Understood(number, "three")]]


def test_elevenlabs_wants_a_third_of_a_second_and_gets_silence_for_what_is_missing() -> None:
    scribe = _scribe()
    silence = scribe.keep_alive()
    scribe.send_audio(b"\x10" * 100)
    _, messages = scribe.commit()
    padding = _audio(messages, "audio_base_64")
    assert set(padding) == {0xFF}
    assert len(_audio(silence, "audio_base_64")) + 100 + len(padding) >= 0.3 * 8000


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ({"message_type": "commit_throttled", "error": "too short"}, 0),
        ({"message_type": "quota_exceeded", "error": "none left"}, None),
        ({"message_type": "some new error", "error": "?"}, None),
    ],
)
def test_elevenlabs_names_what_an_error_is_about(event: dict[str, Any], number: int | None) -> None:
    scribe = _scribe()
    scribe.send_audio(SECOND)
    scribe.commit()
    assert scribe.receive(event) == [Rejected(event, number)]


def test_elevenlabs_warnings_and_news_are_let_pass() -> None:
    scribe = _scribe()
    assert scribe.receive({"message_type": "session_started", "config": {}}) == [Ready()]
    assert scribe.receive({"message_type": "warning", "warning": "hm"}) == []
    assert scribe.receive({}) == []


# Deepgram


def _results(start: float, end: float, text: str, **fields: bool) -> dict[str, Any]:
    return {
        "type": "Results",
        "start": start,
        "duration": end - start,
        "is_final": True,
        "channel": {"alternatives": [{"transcript": text}]},
        **fields,
    }


def _interim(start: float, end: float, text: str) -> dict[str, Any]:
    return _results(start, end, text, is_final=False)


def _live(seconds: int) -> Live:
    """A connection on which so many seconds were sent and finalized."""
    live = Live({})
    for _ in range(seconds):
        live.send_audio(SECOND)
    live.commit()
    return live


@pytest.mark.parametrize(
    ("results", "text"),
    [
        pytest.param([_results(0, 3, "hello", from_finalize=True)], "hello", id="an answer"),
        pytest.param(
            [_results(0, 2, "hello"), _results(2, 3, "world", from_finalize=True)],
            "hello world",
            id="some of it was final before",
        ),
        pytest.param(
            [_results(0, 2.98, "hello world")], "hello world", id="all of it was final before"
        ),
        pytest.param(
            [_results(0, 2, "hello"), _results(2, 2.5, "", from_finalize=True)],
            "hello",
            id="an answer that does not reach the end",
        ),
        pytest.param(
            [_interim(0, 2, "hell"), _results(0, 3, "hello", from_finalize=True)],
            "hello",
            id="interim results are replaced",
        ),
        pytest.param([_results(0, 3, "", from_finalize=True)], "", id="nothing understood"),
    ],
)
def test_deepgram_has_understood_when_it_says_so_or_when_it_has_reached_the_end(
    results: list[dict[str, Any]], text: str
) -> None:
    live = _live(3)
    events = [event for result in results for event in live.receive(result)]
    assert events == [Understood(0, text)]


def test_deepgram_late_answer_to_one_finalize_is_none_to_the_next() -> None:
    live = _live(3)
    assert live.receive(_results(0, 2.99, "hello")) == [Understood(0, "hello")]
    live.send_audio(SECOND)
    live.commit()
    assert live.receive(_results(2.99, 3.0, "", from_finalize=True)) == []
    assert live.receive(_results(3.0, 4.0, "world", from_finalize=True)) == [Understood(1, "world")]


def test_deepgram_may_answer_two_pieces_at_once() -> None:
    live = _live(3)
    live.send_audio(SECOND)
    live.commit()
    assert live.receive(_results(0, 4, "hello world")) == [
        Understood(0, "hello world"),
        Understood(1, ""),
    ]


@pytest.mark.parametrize(
    ("seconds", "results", "events"),
    [
        pytest.param(3, [_interim(0, 3, "hello")], [Understood(0, "hello")], id="interim"),
        pytest.param(
            3,
            [_results(0, 2, "hello"), _interim(2, 2.5, "wor")],
            [Understood(0, "hello wor")],
            id="final and interim",
        ),
        pytest.param(3, [_interim(0, 3, "")], [Understood(0, "")], id="it heard nothing"),
        pytest.param(int(QUIET_S), [], [Understood(0, "")], id="too short to be told of"),
        pytest.param(3, [], [], id="it is dead"),
    ],
)
def test_deepgram_that_does_not_answer_is_taken_at_its_last_word(
    seconds: int, results: list[dict[str, Any]], events: list[Event]
) -> None:
    live = _live(seconds)
    for result in results:
        assert live.receive(result) == []
    assert live.settle() == events


def test_deepgram_results_of_what_was_dropped_are_dropped() -> None:
    live = Live({})
    live.send_audio(SECOND)
    assert live.drop() == ['{"type":"Finalize"}']
    assert live.drop() == []
    live.send_audio(SECOND)
    live.commit()
    assert live.receive(_results(0, 1, "false start", from_finalize=True)) == []
    assert live.receive(_results(1, 2, "hello", from_finalize=True)) == [Understood(0, "hello")]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "Metadata"},
        {"type": "Results"},
        {"type": "Results", "channel": {"alternatives": []}, "start": "0"},
        {},
    ],
)
def test_deepgram_other_messages_are_let_pass(event: dict[str, Any]) -> None:
    assert _live(3).receive(event) == []
