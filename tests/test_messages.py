"""Media Streams messages are read however they are spelled, and written as Twilio documents."""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamdouble import protocol as streamdouble  # type: ignore[import-untyped]

from gateway import messages
from gateway.messages import (
    SHOWN_LIMIT,
    Connected,
    Digit,
    Malformed,
    MarkPlayed,
    Media,
    Started,
    Stopped,
    parse_message,
)

quickly = settings(derandomize=True, deadline=None, max_examples=100)

STREAM, CALL, ACCOUNT = (prefix + "0123456789abcdef" * 2 for prefix in ("MZ", "CA", "AC"))
AUDIO = bytes(range(160))
Json = dict[str, Any]

# As Twilio's documentation spells them.
CONNECTED: Json = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START: Json = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": ACCOUNT,
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "made-up", "plan": "7"},
    },
    "streamSid": STREAM,
}
MEDIA: Json = {
    "event": "media",
    "sequenceNumber": "3",
    "media": {
        "track": "inbound",
        "chunk": "1",
        "timestamp": "57",
        "payload": base64.b64encode(AUDIO).decode(),
    },
    "streamSid": STREAM,
}
DTMF: Json = {
    "event": "dtmf",
    "streamSid": STREAM,
    "sequenceNumber": "5",
    "dtmf": {"track": "inbound_track", "digit": "1"},
}
MARK: Json = {
    "event": "mark",
    "sequenceNumber": "4",
    "streamSid": STREAM,
    "mark": {"name": "sentence 1"},
}
STOP: Json = {
    "event": "stop",
    "sequenceNumber": "5",
    "stop": {"accountSid": ACCOUNT, "callSid": CALL},
    "streamSid": STREAM,
}
READ = [
    (CONNECTED, Connected("Call", "1.0.0")),
    (
        START,
        Started(
            sequence=1,
            stream_sid=STREAM,
            account_sid=ACCOUNT,
            call_sid=CALL,
            tracks=("inbound",),
            encoding="audio/x-mulaw",
            sample_rate=8000,
            channels=1,
            custom_parameters={"token": "made-up", "plan": "7"},
        ),
    ),
    (MEDIA, Media(3, STREAM, "inbound", 1, 57, AUDIO)),
    (DTMF, Digit(5, STREAM, "inbound_track", "1")),
    (MARK, MarkPlayed(4, STREAM, "sentence 1")),
    (STOP, Stopped(5, STREAM, ACCOUNT, CALL)),
]


def backwards(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: backwards(item) for name, item in reversed(value.items())}


def with_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_numbers(item) for name, item in value.items()}
    return int(value) if isinstance(value, str) and value.isdigit() else value


SPELLINGS: dict[str, Callable[[Json], str]] = {
    "compact": lambda message: json.dumps(message, separators=(",", ":")),
    "spaced": json.dumps,
    "indented": lambda message: json.dumps(message, indent="\t"),
    "backwards": lambda message: json.dumps(backwards(message)),
    "numbers as numbers": lambda message: json.dumps(with_numbers(message)),
    "slashes escaped": lambda message: json.dumps(message).replace("/", r"\/"),
    "more fields": lambda message: json.dumps(message | {"new": [1], "streamName": "x"}),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=list(SPELLINGS))
@pytest.mark.parametrize(("message", "read"), READ, ids=[m["event"] for m, _ in READ])
def test_a_message_is_read_in_every_spelling(
    message: Json, read: messages.Message, spell: Callable[[Json], str]
) -> None:
    assert parse_message(spell(message)) == read


def changed(message: Json, path: str, value: Any) -> str:
    """The message with one field set, or without it where `value` is `...`."""
    copy = json.loads(json.dumps(message))
    *parents, name = path.split(".")
    part = copy
    for parent in parents:
        part = part[parent]
    if value is ...:
        del part[name]
    else:
        part[name] = value
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("message", "path", "read"),
    [
        (CONNECTED, "protocol", Connected("", "1.0.0")),
        (MEDIA, "sequenceNumber", Media(None, STREAM, "inbound", 1, 57, AUDIO)),
        (MEDIA, "media.track", Media(3, STREAM, "inbound", 1, 57, AUDIO)),
        (MEDIA, "media.chunk", Media(3, STREAM, "inbound", None, 57, AUDIO)),
        (MEDIA, "media.timestamp", Media(3, STREAM, "inbound", 1, None, AUDIO)),
        (DTMF, "dtmf.track", Digit(5, STREAM, "inbound_track", "1")),
        (STOP, "stop", Stopped(5, STREAM, "", "")),
    ],
)
def test_what_imitators_leave_out_is_not_missed(
    message: Json, path: str, read: messages.Message
) -> None:
    assert parse_message(changed(message, path, ...)) == read


@pytest.mark.parametrize(
    ("path", "value", "field", "read"),
    [
        ("streamSid", ..., "stream_sid", STREAM),
        ("start.streamSid", ..., "stream_sid", STREAM),
        ("start.accountSid", ..., "account_sid", ""),
        ("start.tracks", ..., "tracks", ("inbound",)),
        ("start.tracks", ["inbound", "outbound"], "tracks", ("inbound", "outbound")),
        ("start.mediaFormat", ..., "sample_rate", 8000),
        ("start.mediaFormat", {"sampleRate": "16000"}, "sample_rate", 16000),
        ("start.mediaFormat", {"sampleRate": 0}, "sample_rate", 0),
        ("start.mediaFormat", {"channels": 2}, "channels", 2),
        ("start.mediaFormat", {"encoding": "audio/l16"}, "encoding", "audio/l16"),
        ("start.customParameters", ..., "custom_parameters", {}),
        ("start.customParameters", None, "custom_parameters", {}),
        (
            "start.customParameters",
            {"n": 7, "ok": True},
            "custom_parameters",
            {"n": "7", "ok": "true"},
        ),
        ("start.customParameters", {"": ""}, "custom_parameters", {"": ""}),
        ("start.customParameters", {"a": "\ud800é"}, "custom_parameters", {"a": "?é"}),
    ],
)
def test_a_start_says_what_the_stream_is(path: str, value: Any, field: str, read: Any) -> None:
    started = parse_message(changed(START, path, value))
    assert isinstance(started, Started)
    assert getattr(started, field) == read


@pytest.mark.parametrize(
    ("message", "path", "value", "why"),
    [
        (MEDIA, "event", ..., "there is no event"),
        (MEDIA, "event", ["media"], "event is no text"),
        (MEDIA, "event", "Media", "unknown event 'Media'"),
        (MEDIA, "event", "m" * 99, f"unknown event {'m' * 40!r}"),
        (MEDIA, "streamSid", ..., "there is no streamSid"),
        (MEDIA, "streamSid", "", "streamSid is no text"),
        (MEDIA, "sequenceNumber", "-1", "sequenceNumber is no number"),
        (MEDIA, "sequenceNumber", "²", "sequenceNumber is no number"),
        (MEDIA, "sequenceNumber", "9" * 16, "sequenceNumber is no number"),
        (MEDIA, "sequenceNumber", 10**15, "sequenceNumber is no number"),
        (MEDIA, "sequenceNumber", True, "sequenceNumber is no number"),
        (MEDIA, "media", ..., "there is no media"),
        (MEDIA, "media", [], "media is no object"),
        (MEDIA, "media.chunk", "one", "chunk is no number"),
        (MEDIA, "media.timestamp", 5.5, "timestamp is no number"),
        (MEDIA, "media.track", 1, "track is no text"),
        (MEDIA, "media.payload", ..., "payload is no base64"),
        (MEDIA, "media.payload", 7, "payload is no base64"),
        (MEDIA, "media.payload", "AAAA=", "payload is no base64"),
        (START, "start", ..., "there is no start"),
        (START, "start.callSid", ..., "there is no callSid"),
        (START, "start.tracks", "inbound", "tracks is no list of text"),
        (START, "start.tracks", [1], "tracks is no list of text"),
        (START, "start.mediaFormat", "audio/x-mulaw", "mediaFormat is no object"),
        (START, "start.customParameters", ["token"], "customParameters is no object"),
        (START, "start.customParameters", {"a": {}}, "a value of customParameters is no text"),
        (START, "start.customParameters", {"a": None}, "a value of customParameters is no text"),
        (DTMF, "dtmf.digit", "12", "digit is no key of a telephone"),
        (DTMF, "dtmf.digit", "", "digit is no key of a telephone"),
        (DTMF, "dtmf.digit", ..., "digit is no key of a telephone"),
        (MARK, "mark.name", ..., "there is no name"),
        (MARK, "mark.name", 4, "name is no text"),
        (STOP, "stop", "now", "stop is no object"),
    ],
)
def test_what_cannot_be_read_says_why(message: Json, path: str, value: Any, why: str) -> None:
    malformed = parse_message(changed(message, path, value))
    assert isinstance(malformed, Malformed)
    assert malformed.why == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("hello", "no JSON"),
        (json.dumps(MEDIA)[:-1], "no JSON"),
        ("[" * 60_000, "no JSON"),
        ('{"event":' * 7000, "no JSON"),
        ("9" * 5000, "no JSON"),
        ("null", "no JSON object"),
        ('["media"]', "no JSON object"),
        ("NaN", "no JSON object"),
    ],
)
def test_what_is_no_object_is_malformed(text: str, why: str) -> None:
    malformed = parse_message(text)
    assert isinstance(malformed, Malformed)
    assert malformed.why == why
    assert malformed.text == (text if len(text) <= SHOWN_LIMIT else text[:SHOWN_LIMIT] + "…")


@quickly
@given(st.text(alphabet="AZaz09+/-_= \n\\é", max_size=12))
def test_a_payload_is_strict_base64_or_malformed(payload: str) -> None:
    message = parse_message(changed(MEDIA, "media.payload", payload))
    try:
        audio = base64.b64decode(payload, validate=True) if len(payload) % 4 == 0 else None
    except ValueError:
        audio = None
    assert (message.audio if isinstance(message, Media) else None) == audio


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=4,
)
MESSAGES = (CONNECTED, START, MEDIA, DTMF, MARK, STOP)
PATHS = [(message, name) for message in MESSAGES for name in message] + [
    (message, f"{name}.{inner}")
    for message in MESSAGES
    for name, part in message.items()
    if isinstance(part, dict)
    for inner in part
]


@quickly
@given(st.sampled_from(PATHS), json_like)
def test_no_value_anywhere_makes_it_raise(place: tuple[Json, str], value: Any) -> None:
    message = parse_message(changed(*place, value))
    repr(message).encode()  # and all that is kept can be written down


@quickly
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    message = parse_message(text)
    assert isinstance(message, Malformed)
    message.text.encode()


@pytest.mark.parametrize("tail", ["", ","], ids=["a wrong field", "no JSON"])
@pytest.mark.parametrize("name", ["customParameters", "custom_parameters", "CustomParams"])
def test_a_token_is_not_told(name: str, tail: str) -> None:
    text = json.dumps({"event": "start", "start": {name: {"token": "s3cret"}}}) + tail
    malformed = parse_message(text)
    assert isinstance(malformed, Malformed)
    assert "s3cret" not in malformed.text
    assert malformed.text.startswith('{"event": "start"')
    assert "made-up" not in repr(parse_message(json.dumps(START)))


def test_a_message_does_not_change() -> None:
    message = parse_message(json.dumps(MARK))
    with pytest.raises(FrozenInstanceError):
        message.name = "other"  # type: ignore[union-attr, misc]


def test_streamdoubles_messages_are_read() -> None:
    """streamdouble imitates Twilio; we did not write it."""
    identity = streamdouble.StreamIdentity()
    start = parse_message(
        json.dumps(streamdouble.build_start(identity, 1, custom_parameters={"token": "t"}))
    )
    assert isinstance(start, Started)
    assert (start.stream_sid, start.call_sid) == (identity.stream_sid, identity.call_sid)
    assert start.custom_parameters == {"token": "t"}
    sid = identity.stream_sid
    stop = streamdouble.build_stop(identity, 5)
    built = [
        (streamdouble.build_connected(), Connected("Call", "1.0.0")),
        (streamdouble.build_media(identity, 2, 1, 0, AUDIO), Media(2, sid, "inbound", 1, 0, AUDIO)),
        (streamdouble.build_dtmf(identity, 3, "#"), Digit(3, sid, "inbound_track", "#")),
        (streamdouble.build_mark(identity, 4, "a"), MarkPlayed(4, sid, "a")),
        (stop, Stopped(5, sid, identity.account_sid, identity.call_sid)),
    ]
    for message, read in built:
        assert parse_message(json.dumps(message)) == read


def test_what_we_send_is_spelled_as_twilio_documents() -> None:
    assert messages.media("MZ1", b"\xff\x7f") == (
        '{"event":"media","streamSid":"MZ1","media":{"payload":"/38="}}'
    )
    assert messages.mark("MZ1", "a") == '{"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}'
    assert messages.clear("MZ1") == '{"event":"clear","streamSid":"MZ1"}'
    assert len(messages.media(STREAM, AUDIO)) == 305


@quickly
@given(st.text(min_size=1), st.text(min_size=1), st.binary(min_size=1))
def test_what_we_send_is_json_whatever_is_in_it(sid: str, name: str, audio: bytes) -> None:
    assert json.loads(messages.media(sid, audio)) == {
        "event": "media",
        "streamSid": sid,
        "media": {"payload": base64.b64encode(audio).decode()},
    }
    assert json.loads(messages.mark(sid, name))["mark"] == {"name": name}
    assert json.loads(messages.clear(sid))["streamSid"] == sid


@pytest.mark.parametrize(
    "send",
    [
        lambda: messages.media("", AUDIO),
        lambda: messages.media(STREAM, b""),
        lambda: messages.mark("", "a"),
        lambda: messages.mark(STREAM, ""),
        lambda: messages.clear(""),
    ],
)
def test_what_twilio_would_object_to_is_refused(send: Callable[[], str]) -> None:
    with pytest.raises(ValueError, match="no"):
        send()


def test_media_costs_little() -> None:
    text = json.dumps(MEDIA)
    fastest = float("inf")
    for _ in range(50):
        before = time.perf_counter()
        parse_message(text)
        fastest = min(fastest, time.perf_counter() - before)
    assert fastest < 100e-6  # it is about 5 microseconds; the rest is for a slow machine
