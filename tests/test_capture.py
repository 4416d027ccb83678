"""Captures: which frames are kept, what of them, and for how long."""

import json
import os
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame as Sent
from websockets.frames import Opcode

from feeds import every_split
from proxy.capture import PAYLOAD_LIMIT, Capture, Captures, parse_frame
from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, apply_mask
from proxy.redact import HIDDEN

MIB = 1 << 20


def _wire(*frames: Sent, mask: bool = False) -> bytes:
    return b"".join(frame.serialize(mask=mask) for frame in frames)


def _captured(data: bytes, sender: str = "server") -> Capture:
    capture = Capture(10.0, 16 * MIB)
    capture.receive_data(sender, data, 12.5)
    return capture


def _text(value: Any) -> Sent:
    return Sent(Opcode.TEXT, json.dumps(value).encode())


def test_every_frame_is_kept_however_its_bytes_come() -> None:
    data = _wire(
        Sent(Opcode.TEXT, b"hello"),
        Sent(Opcode.PING, b""),
        Sent(Opcode.BINARY, b"x" * 70_000),
        Sent(Opcode.BINARY, b"y" * 300, fin=False),
        Sent(Opcode.CONT, b"z"),
        Sent(Opcode.CLOSE, b"\x03\xe8bye"),
    )
    for parts in every_split(data):
        capture = Capture(0.0, 16 * MIB)
        for part in parts:
            capture.receive_data("server", part, 1.0)
        kept = [(frame.opcode, frame.fin, frame.payload) for frame in capture.frames]
        assert kept == [
            (TEXT, True, b"hello"),
            (PING, True, b""),
            (BINARY, True, b"x" * 70_000),
            (BINARY, False, b"y" * 300),
            (CONTINUATION, True, b"z"),
            (CLOSE, True, b"\x03\xe8bye"),
        ]


_SENT = st.builds(
    Sent,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.CLOSE]),
    st.binary(max_size=20) | st.sampled_from([b"x" * 125, b"y" * 126, b"z" * 300, b"w" * 65_536]),
    fin=st.booleans(),
    rsv1=st.booleans(),
)


@given(st.lists(_SENT, max_size=5), st.booleans(), st.integers(1, 400))
def test_whole_frames_are_kept_as_those_that_come_in_pieces(
    frames: list[Sent], is_masked: bool, size: int
) -> None:
    data = b"".join(_serialized(frame, is_masked) for frame in frames)
    in_pieces = Capture(10.0, 16 * MIB)
    for start in range(0, len(data), size):
        in_pieces.receive_data("client", data[start : start + size], 12.5)
    whole = _captured(data, "client").frames
    assert whole == in_pieces.frames
    assert [frame.length for frame in whole] == [len(frame.data) for frame in frames]


def _serialized(frame: Sent, is_masked: bool) -> bytes:
    """Bytes of the frame, sound or not: `serialize` refuses a fragmented ping."""
    size = len(frame.data)
    first = frame.fin << 7 | frame.rsv1 << 6 | frame.opcode
    short = size if size < 126 else 126 if size < 65_536 else 127
    extra = b"" if size < 126 else size.to_bytes(2 if size < 65_536 else 8)
    key = b"\x37\xfa\x21\x3d" if is_masked else b""
    payload = apply_mask(frame.data, key) if key else frame.data
    return bytes((first, is_masked << 7 | short)) + extra + key + payload


def test_a_masked_frame_is_kept_in_clear_with_its_mask() -> None:
    capture = _captured(_wire(Sent(Opcode.TEXT, b"hello"), mask=True), "client")
    [frame] = capture.frames
    assert (frame.payload, len(frame.mask), frame.length, frame.at) == (b"hello", 4, 5, 2.5)


def test_custom_parameters_and_what_is_called_a_secret_are_hidden() -> None:
    start = {"event": "start", "start": {"callSid": "CA1", "customParameters": {"token": "s3c"}}}
    told = {"api_key": "s3c", "deep": [{"Authorization": "s3c"}], "payload": "x" * 300 + "1"}
    listed = {"tokens": ["s3c"], "a": {"cookie": {"name": "s3c"}}}
    for message in (start, told, listed):
        [frame] = _captured(_wire(_text(message))).frames
        assert frame.payload is not None
        assert b"s3c" not in frame.payload
        assert HIDDEN.encode() in frame.payload
        assert frame.note == "secrets were hidden"
        assert frame.length == len(json.dumps(message))


_KEYS = ("token", "API_KEY", "customParameters", "event", "payload", "\u017fecret", "a")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["s3c", "", HIDDEN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner),
    max_leaves=12,
)


@given(_JSON, st.integers(0, 45), st.sampled_from(["", " "]))
@example("plain", 40, "")
@example("plain", 41, "")  # too deep to be looked at
def test_of_any_json_every_secret_is_hidden_and_nothing_else_is_touched(
    value: Any, depth: int, space: str
) -> None:
    message = value
    for _ in range(depth):
        message = {"a": message}
    sent = json.dumps(message, ensure_ascii=False).encode() + space.encode()
    [frame] = _captured(_wire(Sent(Opcode.TEXT, sent))).frames
    assert frame.payload is not None
    hidden = _hidden(message)
    assert json.loads(frame.payload) == hidden
    assert (frame.payload == sent, frame.note is None) == (hidden == message,) * 2


def _hidden(value: Any, depth: int = 0) -> Any:
    """What should be left of a message, said another way than the capture does."""
    if depth > 40:
        return HIDDEN
    if isinstance(value, list):
        return [_hidden(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    left = {key: _hidden(item, depth + 1) for key, item in value.items()}
    for key, item in value.items():
        if key == "customParameters" and isinstance(item, dict):
            left[key] = dict.fromkeys(item, HIDDEN)
        elif key in ("token", "API_KEY", "\u017fecret") and item is not None:
            left[key] = HIDDEN
    return left


def test_what_has_no_secret_is_kept_to_the_byte() -> None:
    odd = b'{ "event" : "media",  "media":{"payload":"//8="} }'
    [frame] = _captured(_wire(Sent(Opcode.TEXT, odd))).frames
    assert (frame.payload, frame.note) == (odd, None)


@pytest.mark.parametrize(
    "data",
    [
        _wire(Sent(Opcode.TEXT, b'{"token":', fin=False), Sent(Opcode.CONT, b'"s3c"}')),
        b"\xc1\x04\x00s3c",
        _wire(Sent(Opcode.TEXT, b"plain text with abcdefghij0123456789s3c in it")),
        _wire(Sent(Opcode.TEXT, b'{"token":"s3c","token":null}')),
        _wire(Sent(Opcode.TEXT, b'[{"a":{"token":"s3c","token":null}}]')),
        _wire(Sent(Opcode.TEXT, b"[" * 5000 + b'{"token":"abcdefghij0123456789s3c"}')),
        _wire(Sent(Opcode.CLOSE, b"\x03\xe8token abcdefghij0123456789s3c")),
    ],
    ids=[
        "fragments",
        "compressed",
        "no JSON",
        "key twice",
        "key twice within",
        "too deep",
        "close reason",
    ],
)
def test_what_cannot_be_searched_is_not_kept(data: bytes) -> None:
    frames = _captured(data).frames
    assert frames
    for frame in frames:
        assert b"s3c" not in (frame.payload or b"")
        assert frame.note


def test_who_comes_in_the_middle_of_a_frame_begins_with_the_next() -> None:
    data = _wire(Sent(Opcode.TEXT, b'{"token":"s3c', fin=False), Sent(Opcode.CONT, b'"}'))
    data += _wire(Sent(Opcode.TEXT, b"whole"))
    capture = Capture(0.0, MIB, {"client": 0, "server": 5})
    capture.receive_data("server", data[len(_wire(Sent(Opcode.TEXT, b'{"token":"s3c'))) - 5 :], 1.0)
    assert [frame.payload for frame in capture.frames] == [None, b"whole"]


def test_a_frame_that_is_too_long_is_told_without_its_payload() -> None:
    data = _wire(Sent(Opcode.BINARY, b"x" * (PAYLOAD_LIMIT + 1)), Sent(Opcode.TEXT, b"next"))
    capture = Capture(0.0, 16 * MIB)
    for start in range(0, len(data), 65536):
        capture.receive_data("server", data[start : start + 65536], 1.0)
    long, following = capture.frames
    assert (long.payload, long.length, long.note) == (
        None,
        PAYLOAD_LIMIT + 1,
        "too long to be kept",
    )
    assert following.payload == b"next"


@given(st.binary(max_size=300))
def test_no_bytes_fail_it(data: bytes) -> None:
    _captured(data)


def test_the_oldest_frames_make_room() -> None:
    capture = Capture(0.0, 10_000)
    for number in range(100):
        capture.receive_data("server", _wire(Sent(Opcode.BINARY, bytes([number]) * 1000)), number)
    assert capture.bytes <= 10_000
    assert capture.dropped == 100 - len(capture.frames)
    assert capture.frames[-1].payload == bytes([99]) * 1000


def test_captures_are_forgotten_when_they_are_too_old_or_too_many() -> None:
    captures = Captures(MIB, 2 * MIB, 60.0)
    for name in ("a", "b", "c"):
        captures.begin(name, 0.0).receive_data(
            "server", _wire(Sent(Opcode.BINARY, os.urandom(900_000))), 1.0
        )
    first = captures.get("a")
    captures.tick(2.0)
    assert captures.get("a") is None
    assert first is not None
    assert not first.frames
    first.receive_data("server", _wire(Sent(Opcode.TEXT, b"more")), 3.0)
    assert not first.frames, "its session goes on, and nothing of it is kept"
    captures.end("b", 10.0)
    captures.tick(69.0)
    assert [line["id"] for line in captures.lines()] == ["b", "c"]
    captures.tick(71.0)
    assert [line["id"] for line in captures.lines()] == ["c"]


@given(
    st.sampled_from([TEXT, BINARY, CLOSE, PING]),
    st.binary(max_size=100) | st.text(max_size=30).map(str.encode),
    st.booleans(),
)
def test_a_line_reads_back_as_its_frame(opcode: int, payload: bytes, is_masked: bool) -> None:
    sent = Sent(Opcode(opcode), payload)
    [frame] = _captured(_wire(sent, mask=is_masked)).frames
    assert parse_frame(json.loads(json.dumps(frame.line()))) == frame
