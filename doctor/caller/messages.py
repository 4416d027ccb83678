"""The messages of a Media Stream from Twilio's side: what it sends, what it objects to.

Field order and spelling are those of messages that were captured from Twilio: compact JSON, numbers
as strings, streamSid last in `start` and `media`. sequenceNumber counts everything behind
`connected`; chunk counts the media of one track.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from doctor.errors import Objection

Track = Literal["inbound", "outbound"]
SAW_LIMIT = 120
_FIELDS = {
    "media": {"event", "streamSid", "media"},
    "mark": {"event", "streamSid", "mark"},
    "clear": {"event", "streamSid"},
}
_CONTENT = {"media": {"payload"}, "mark": {"name"}}
_CONTAINERS = (b"RIFF", b"ID3", b"OggS", b"fLaC")


class TwilioMessages:
    """The messages of one stream, numbered as they are made."""

    def __init__(self, account_sid: str, call_sid: str, stream_sid: str) -> None:
        self.account_sid = account_sid
        self.call_sid = call_sid
        self.stream_sid = stream_sid
        self._sequence = 0
        self._chunks = {"inbound": 0, "outbound": 0}

    def connected(self) -> str:
        return _dump({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    def start(self, tracks: Sequence[Track], parameters: Mapping[str, str]) -> str:
        content = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": list(tracks),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        return _dump(self._head("start") | {"start": content} | self._sid())

    def media(self, track: Track, timestamp_ms: int, audio: bytes) -> str:
        self._chunks[track] += 1
        content = {
            "track": track,
            "chunk": str(self._chunks[track]),
            "timestamp": str(timestamp_ms),
            "payload": base64.b64encode(audio).decode(),
        }
        return _dump(self._head("media") | {"media": content} | self._sid())

    def dtmf(self, digit: str) -> str:
        head = self._head("dtmf")
        content = {"track": "inbound_track", "digit": digit}
        return _dump(
            {"event": "dtmf"} | self._sid() | head | {"dtmf": content}  # streamSid comes second
        )

    def mark(self, name: str) -> str:
        return _dump(self._head("mark") | self._sid() | {"mark": {"name": name}})

    def stop(self) -> str:
        content = {"accountSid": self.account_sid, "callSid": self.call_sid}
        return _dump(self._head("stop") | self._sid() | {"stop": content})

    def _head(self, event: str) -> dict[str, Any]:
        self._sequence += 1
        return {"event": event, "sequenceNumber": str(self._sequence)}

    def _sid(self) -> dict[str, Any]:
        return {"streamSid": self.stream_sid}


@dataclass(frozen=True, slots=True)
class Audio:
    """Mu-law to be played."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Throw away what is not yet played."""


Command = Audio | Mark | Clear


class _Invalid(Exception):  # noqa: N818 - a verdict on a message, not an error of ours
    """`kind` is what messages with the same fault share; `saw` quotes this one."""

    def __init__(self, kind: str, saw: str) -> None:
        super().__init__(saw)
        self.kind = kind
        self.saw = saw


class ServerMessages:
    """Reads what the gateway sends. Twilio objects once a stream; here each kind is kept once."""

    def __init__(self, stream_sid: str) -> None:
        self._stream_sid = stream_sid
        self._kinds: set[str] = set()
        self.objections: list[Objection] = []
        self.ignored = 0  # messages that were not obeyed

    def receive_text(self, text: str) -> Command | None:
        """One message; None where Twilio ignores it."""
        try:
            return self._read(text)
        except _Invalid as fault:
            self.ignored += 1
            self._object(31951, fault.kind, fault.saw)
            return None

    def receive_binary(self, payload: bytes) -> None:
        """A binary message, which Twilio can't decode."""
        self.ignored += 1
        self._object(31950, "binary", f"a binary message of {len(payload)} bytes")

    def receive_undecodable(self) -> None:
        """A text message that is not UTF-8."""
        self.ignored += 1
        self._object(31950, "undecodable", "a text message that is not UTF-8")

    def _read(self, text: str) -> Command:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise _Invalid("json", f"a message is no JSON: {_quote(text)}") from None
        if not isinstance(message, dict):
            raise _Invalid("object", f"a message is no JSON object: {_quote(text)}")
        event = message.get("event")
        if not isinstance(event, str) or event not in _FIELDS:
            raise _Invalid("event", f"event is {_quote(event)}, not media, mark or clear")
        if message.get("streamSid") != self._stream_sid:
            saw = _quote(message.get("streamSid"))
            raise _Invalid("sid", f"streamSid of {event} is {saw}, not {self._stream_sid}")
        content = message.get(event) if event in _CONTENT else {}
        if not isinstance(content, dict):
            raise _Invalid("content", f"{event} is without its object {event!r}")
        command = self._command(event, content)
        extra = sorted(message.keys() - _FIELDS[event])
        extra += sorted(f"{event}.{key}" for key in content.keys() - _CONTENT.get(event, set()))
        if extra:
            # Whether Twilio still obeys such a message is not documented. We do, and say so.
            names = ", ".join(extra)[:SAW_LIMIT]
            self._object(31951, f"extra {event}", f"{event} has fields it should not have: {names}")
        return command

    def _command(self, event: str, content: Mapping[str, Any]) -> Command:
        if event == "clear":
            return Clear()
        if event == "mark":
            name = content.get("name")
            if not isinstance(name, str):
                raise _Invalid("name", f"mark.name is {_quote(name)}, not a string")
            return Mark(name)
        payload = content.get("payload")
        if not isinstance(payload, str):
            raise _Invalid("payload", f"media.payload is {_quote(payload)}, not a string")
        try:
            audio = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise _Invalid("base64", f"media.payload is no base64: {_quote(payload)}") from None
        if audio.startswith(_CONTAINERS):
            saw = "media.payload begins like an audio file, and Twilio plays its header as noise"
            self._object(None, "container", saw)
        return Audio(audio)

    def _object(self, code: int | None, kind: str, saw: str) -> None:
        if kind not in self._kinds:
            self._kinds.add(kind)
            self.objections.append(Objection(code, saw))


def _quote(value: object) -> str:
    """A peer's value, short enough for a report."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    cut = text if len(text) <= SAW_LIMIT else text[:SAW_LIMIT] + "..."
    return repr(cut) if isinstance(value, str) else cut


def _dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))
