"""Exports of a capture: what stands in each file, and where."""

import base64
import json
import struct
from typing import Any

import pytest

from proxy.capture import Frame
from proxy.exports.captured import Captured, parse_lines
from proxy.exports.har import har
from proxy.exports.pcapng import pcapng
from proxy.exports.wav import SILENCE, wav
from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from proxy.redact import HIDDEN

ROW: dict[str, Any] = {
    "kind": "handshake",
    "id": "01m847yvbmy55t8f4f",
    "at": "2026-11-23T13:00:00.500Z",
    "client": "203.0.113.9",
    "ingress": "nginx",
    "outcome": "upgraded",
    "method": "GET",
    "target": "/voice/stream",
    "http_version": "1.1",
    "host": "voice.example.com",
    "status": 101,
    "phases_ms": {"head": 1.0, "connect": None, "response": 2.0, "total": 500.0},
    "headers": {"X-Forwarded-Proto": "https"},
    "request_head": [["Host", "voice.example.com"], ["Cookie", None]],
    "response_head": [["Upgrade", "websocket"]],
}
SWITCHED_AT = 1795438801.0


def _frame(at: float, sender: str, payload: bytes | None, opcode: int = TEXT, **more: Any) -> Frame:
    known: dict[str, Any] = {"fin": True, "rsv": 0, "mask": b"", "length": len(payload or b"")}
    known |= {"note": None} | more
    return Frame(at, sender, opcode, payload=payload, **known)


def _media(at: float, sender: str, audio: bytes, **media: Any) -> Frame:
    payload = {"payload": base64.b64encode(audio).decode()} | media
    return _frame(at, sender, json.dumps({"event": "media", "media": payload}).encode())


def _captured(*frames: Frame) -> Captured:
    return Captured(ROW, frames)


def test_lines_read_back_as_the_capture() -> None:
    frames = (_frame(0.5, "client", b"hi"), _frame(1.0, "server", None, note="too long to be kept"))
    head = {"hopscope": "capture", "handshake": ROW, "dropped": 3}
    lines = [json.dumps(each) for each in (head, *(frame.line() for frame in frames))]
    assert parse_lines(lines) == Captured(ROW, frames, 3)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "line 1 is not the head of a capture"),
        (["{}"], "line 1 is not the head of a capture"),
        (["{"], "line 1 is no JSON"),
        (['{"hopscope": "capture"}', "[" * 100_000], "line 2 is no JSON"),
        (['{"hopscope": "capture"}', "{}"], "line 2 is no frame"),
        (['{"hopscope": "capture"}', "7"], "line 2 is no frame"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_line(lines: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_lines(lines)


def test_a_har_holds_the_messages_as_the_client_saw_them() -> None:
    captured = _captured(
        _frame(0.5, "client", b"hi", mask=b"abcd"),
        _frame(1.0, "server", b"\0\xff", BINARY, fin=False),
        _frame(1.1, "server", b"", PING),
        _frame(1.5, "server", b"\1", CONTINUATION),
        _frame(1.6, "client", None, note="too long to be kept"),
        _frame(2.0, "client", b"\x03\xe8", CLOSE),
    )
    [entry] = har(captured)["log"]["entries"]
    assert entry["_webSocketMessages"] == [
        {"type": "send", "time": SWITCHED_AT + 0.5, "opcode": 1, "data": "hi"},
        {"type": "receive", "time": SWITCHED_AT + 1.5, "opcode": 2, "data": "AP8B"},
    ]
    assert entry["request"]["url"] == "wss://voice.example.com/voice/stream"
    assert {"name": "Cookie", "value": HIDDEN} in entry["request"]["headers"]


def _packets(data: bytes) -> list[bytes]:
    """The data of each enhanced packet block."""
    found, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        if kind == 6:
            size = struct.unpack_from("<I", data, at + 20)[0]
            found.append(data[at + 28 : at + 28 + size])
        at += length
    assert at == len(data)
    return found


def test_a_pcapng_has_a_packet_for_each_frame_with_following_numbers() -> None:
    long = b"x" * 70_000
    captured = _captured(
        _frame(0.5, "client", b"hi", mask=b"abcd"), _frame(0.6, "server", long, BINARY)
    )
    packets = _packets(pcapng(captured))
    payloads = [packet[40:] for packet in packets]
    assert payloads[2].startswith(b"GET /voice/stream HTTP/1.1\r\nHost: voice.example.com\r\n")
    assert f"Cookie: {HIDDEN}".encode() in payloads[2]
    assert payloads[4] == b"\x81\x82abcd" + bytes((ord("h") ^ ord("a"), ord("i") ^ ord("b")))
    assert payloads[5] + payloads[6] == b"\x82\x7f" + len(long).to_bytes(8, "big") + long
    sent = {b"\xcb\x00\x71\x09": b"", b"\xc0\x00\x02\x02": b""}
    first: dict[bytes, int] = {}
    for packet in packets:
        source, number, flags = packet[12:16], struct.unpack_from("!I", packet, 24)[0], packet[33]
        begun = first.setdefault(source, number)
        assert number == begun + len(sent[source])
        sent[source] += packet[40:] + b"?" * bool(flags & 3)


def test_the_caller_is_left_by_timestamp_and_the_gateway_right_as_twilio_plays() -> None:
    captured = _captured(
        _media(10.0, "client", b"a" * 160, timestamp="0"),
        _media(
            10.5, "client", b"b" * 160, timestamp="20"
        ),  # late on the wire, in time by its clock
        _media(10.0, "server", b"c" * 160),
        _media(10.001, "server", b"d" * 160),  # before the first has been played
        _media(10.03, "server", b"e" * 800),
        _frame(10.05, "server", b'{"event":"clear"}'),
    )
    data = wav(captured)
    assert data[:4] == b"RIFF"
    assert struct.unpack_from("<HHI", data, 20) == (7, 2, 8000)
    samples = data[data.index(b"data") + 8 :]
    left, right = samples[::2], samples[1::2]
    assert left == b"a" * 160 + b"b" * 160 + bytes([SILENCE]) * (len(right) - 320)
    assert right == b"c" * 160 + b"d" * 160 + b"e" * 80


@pytest.mark.parametrize("timestamp", ["99999999999", "-1", "x", None, {}])
def test_a_timestamp_that_cannot_be_makes_no_file_of_days(timestamp: Any) -> None:
    captured = _captured(
        _media(0.0, "client", b"a" * 160, timestamp="0"),
        _media(0.02, "client", b"b" * 160, timestamp=timestamp),
    )
    assert len(wav(captured)) < 1000


def test_without_media_there_is_no_wav() -> None:
    with pytest.raises(ValueError, match="no Twilio media"):
        wav(_captured(_frame(0.0, "client", b"hi"), _frame(0.0, "client", b"[]")))
