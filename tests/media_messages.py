"""Messages of a Twilio Media Stream for tests, and the ways that JSON writers spell them."""

import base64
import json
from collections.abc import Callable
from typing import Any

from proxy.media import MediaReader

STREAM_SID, CALL_SID, ACCOUNT_SID = (prefix + "0" * 32 for prefix in ("MZ", "CA", "AC"))
FRAME = base64.b64encode(b"\xff" * 160).decode()  # 20 ms, and 213 slashes
Message = dict[str, Any]


def backwards(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: backwards(item) for name, item in reversed(value.items())}


def with_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_numbers(item) for name, item in value.items()}
    return int(value) if isinstance(value, str) and value.isdigit() else value


SPELLINGS: dict[str, Callable[[Message], str]] = {
    "compact": lambda message: json.dumps(message, separators=(",", ":")),
    "spaced": json.dumps,
    "indented": lambda message: json.dumps(message, indent=2),
    "backwards": lambda message: json.dumps(backwards(message), separators=(",", ":")),
    "spaced backwards": lambda message: json.dumps(backwards(message)),
    "numbers as numbers": lambda message: json.dumps(with_numbers(message)),
    "slashes escaped": lambda message: json.dumps(message).replace("/", r"\/"),
}


def connected() -> Message:
    return {"event": "connected", "protocol": "Call", "version": "1.0.0"}


def start(sequence: int = 1) -> Message:
    return {
        "event": "start",
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        "start": {
            "accountSid": ACCOUNT_SID,
            "streamSid": STREAM_SID,
            "callSid": CALL_SID,
            "tracks": ["inbound"],
            "customParameters": {"token": "made-up"},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        },
    }


def media(sequence: int, timestamp: int, track: str = "inbound") -> Message:
    return {
        "event": "media",
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        "media": {
            "track": track,
            "chunk": str(sequence - 1),
            "timestamp": str(timestamp),
            "payload": FRAME,
        },
    }


def client(event: str, sequence: int, **content: Any) -> Message:
    """dtmf, mark and stop: an envelope and one object."""
    return {
        "event": event,
        "sequenceNumber": str(sequence),
        "streamSid": STREAM_SID,
        event: content,
    }


def audio(payload: str = FRAME) -> Message:
    return {"event": "media", "streamSid": STREAM_SID, "media": {"payload": payload}}


def mark(name: str) -> Message:
    return {"event": "mark", "streamSid": STREAM_SID, "mark": {"name": name}}


CLEAR: Message = {"event": "clear", "streamSid": STREAM_SID}


def dump(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def begun(first: bytes = b'{"event":"connected"}') -> MediaReader:
    reader = MediaReader()
    assert reader.is_twilio is None
    assert reader.decide(first) is True
    return reader


def server(reader: MediaReader, *script: tuple[float, Message]) -> MediaReader:
    for now, message in script:
        reader.receive_from_server(dump(message), now)
    return reader
