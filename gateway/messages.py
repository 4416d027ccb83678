"""The messages of a Twilio Media Stream, JSON text both ways.

Twilio sends connected, start, media, dtmf, mark and stop; it takes media, mark and clear
(www.twilio.com/docs/voice/media-streams/websocket-messages). It writes numbers as strings; others
who speak its protocol do not, leave out numbers, or order and space their JSON otherwise, and all
of that is read. What cannot be read becomes Malformed; nothing raises. A number that is absent is
None. Fields that are not documented are passed over.

The socket bounds a message to 64 KiB, so nothing here does.
"""

import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

SHOWN_LIMIT = 120  # characters of a malformed message that are kept
_NUMBER_LIMIT = 10**15  # what a double holds exactly, and no int() is slow at
_DIGITS = frozenset("0123456789*#ABCD")
_SECRETS = re.compile("custom.?param", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a stream; it has no sequence number and names no stream."""

    protocol: str  # "Call"
    version: str  # "1.0.0"


@dataclass(frozen=True, slots=True)
class Started:
    sequence: int | None
    stream_sid: str
    account_sid: str
    call_sid: str
    tracks: tuple[str, ...]  # of "inbound" and "outbound"
    encoding: str  # "audio/x-mulaw"
    sample_rate: int  # 8000
    channels: int  # 1
    # From <Parameter>; hidden, because one of them is the token of the call.
    custom_parameters: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Media:
    sequence: int | None
    stream_sid: str
    track: str  # "inbound", the caller's, or "outbound"
    chunk: int | None  # from 1 on
    timestamp_ms: int | None  # since the stream began; the first need not be 0
    audio: bytes  # mu-law


@dataclass(frozen=True, slots=True)
class Digit:
    """A key that the caller pressed (Twilio's event dtmf)."""

    sequence: int | None
    stream_sid: str
    track: str  # "inbound_track"
    digit: str  # 0 to 9, *, #, A to D


@dataclass(frozen=True, slots=True)
class MarkPlayed:
    """All audio before the mark was played, or was thrown away by a clear."""

    sequence: int | None
    stream_sid: str
    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stream ends: the call did, or its TwiML went on."""

    sequence: int | None
    stream_sid: str
    account_sid: str
    call_sid: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is none of Twilio's. `text` is its beginning, without custom parameters."""

    why: str
    text: str


Message: TypeAlias = Connected | Started | Media | Digit | MarkPlayed | Stopped | Malformed


def parse_message(text: str) -> Message:
    """One message of Twilio's."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return Malformed("no JSON", _shown(text))
    if not isinstance(message, dict):
        return Malformed("no JSON object", _shown(text))
    event = message.get("event")
    try:
        return _reader(event)(message)
    except _UnfitError as unfit:
        return Malformed(str(unfit), _shown(text))


def media(stream_sid: str, audio: bytes) -> str:
    """Audio to play, mu-law, of any length but none. Raises ValueError, as the next two do."""
    if not audio:
        raise ValueError("there is no audio")
    payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
    return f'{{"event":"media",{_stream(stream_sid)},"media":{{"payload":"{payload}"}}}}'


def mark(stream_sid: str, name: str) -> str:
    """A bookmark behind the audio sent so far."""
    if not name:
        raise ValueError("the mark has no name")
    return f'{{"event":"mark",{_stream(stream_sid)},"mark":{{"name":{json.dumps(name)}}}}}'


def clear(stream_sid: str) -> str:
    """Throw away the audio that was not played yet; its marks are echoed at once."""
    return f'{{"event":"clear",{_stream(stream_sid)}}}'


def _stream(sid: str) -> str:
    if not sid:
        raise ValueError("the stream has no sid")
    return f'"streamSid":{json.dumps(sid)}'


class _UnfitError(ValueError):
    """Says what a message lacks, in the words of Malformed.why."""


def _read_connected(message: dict[str, Any]) -> Connected:
    return Connected(_text(message, "protocol", ""), _text(message, "version", ""))


def _read_start(message: dict[str, Any]) -> Started:
    start = _part(message, "start")
    tracks = start.get("tracks", ["inbound"])
    if not isinstance(tracks, list) or not all(isinstance(track, str) for track in tracks):
        raise _UnfitError("tracks is no list of text")
    form = _part(start, "mediaFormat") if "mediaFormat" in start else {}
    return Started(
        sequence=_number(message, "sequenceNumber"),
        stream_sid=_text(message if "streamSid" in message else start, "streamSid"),
        account_sid=_text(start, "accountSid", ""),
        call_sid=_text(start, "callSid"),
        tracks=tuple(map(_clean, tracks)),
        encoding=_text(form, "encoding", "audio/x-mulaw"),
        sample_rate=8000 if (rate := _number(form, "sampleRate")) is None else rate,
        channels=1 if (channels := _number(form, "channels")) is None else channels,
        custom_parameters=_parameters(start),
    )


def _parameters(start: dict[str, Any]) -> dict[str, str]:
    parameters = {}
    given = start.get("customParameters")
    for name, value in (_part(start, "customParameters") if given is not None else {}).items():
        if isinstance(value, dict | list) or value is None:
            raise _UnfitError("a value of customParameters is no text")
        parameters[_clean(name)] = _clean(value if isinstance(value, str) else json.dumps(value))
    return parameters


def _read_media(message: dict[str, Any]) -> Media:
    part = _part(message, "media")
    payload = part.get("payload")
    try:
        if not isinstance(payload, str) or len(payload) % 4:
            raise ValueError
        audio = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:
        raise _UnfitError("payload is no base64") from None
    return Media(
        _number(message, "sequenceNumber"),
        _text(message, "streamSid"),
        _text(part, "track", "inbound"),
        _number(part, "chunk"),
        _number(part, "timestamp"),
        audio,
    )


def _read_dtmf(message: dict[str, Any]) -> Digit:
    part = _part(message, "dtmf")
    digit = str(part.get("digit"))
    if digit not in _DIGITS:
        raise _UnfitError("digit is no key of a telephone")
    return Digit(
        _number(message, "sequenceNumber"),
        _text(message, "streamSid"),
        _text(part, "track", "inbound_track"),
        digit,
    )


def _read_mark(message: dict[str, Any]) -> MarkPlayed:
    return MarkPlayed(
        _number(message, "sequenceNumber"),
        _text(message, "streamSid"),
        _text(_part(message, "mark"), "name"),
    )


def _read_stop(message: dict[str, Any]) -> Stopped:
    stop = _part(message, "stop") if "stop" in message else {}
    return Stopped(
        _number(message, "sequenceNumber"),
        _text(message, "streamSid"),
        _text(stop, "accountSid", ""),
        _text(stop, "callSid", ""),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "connected": _read_connected,
    "start": _read_start,
    "media": _read_media,
    "dtmf": _read_dtmf,
    "mark": _read_mark,
    "stop": _read_stop,
}


def _reader(event: object) -> Callable[[dict[str, Any]], Message]:
    if not isinstance(event, str):
        raise _UnfitError("event is no text" if event is not None else "there is no event")
    if event not in _READERS:
        raise _UnfitError(f"unknown event {_clean(event[:40])!r}")
    return _READERS[event]


def _part(message: dict[str, Any], name: str) -> dict[str, Any]:
    part = message.get(name)
    if not isinstance(part, dict):
        raise _UnfitError(f"{name} is no object" if name in message else f"there is no {name}")
    return part


def _text(message: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text that is not empty, unless that is the default for one which is absent."""
    text = message.get(name, default)
    if not isinstance(text, str) or (not text and default is None):
        raise _UnfitError(f"{name} is no text" if name in message else f"there is no {name}")
    return _clean(text)


def _number(message: dict[str, Any], name: str) -> int | None:
    number = message.get(name)
    if number is None:
        return None
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 16:
        return int(number)
    if type(number) is int and 0 <= number < _NUMBER_LIMIT:
        return number
    raise _UnfitError(f"{name} is no number")


def _clean(text: str) -> str:
    """The text as it can be written down: JSON can hold half a surrogate pair, files cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _shown(text: str) -> str:
    if secret := _SECRETS.search(text):
        text = text[: secret.end()] + "…"
    return _clean(text if len(text) <= SHOWN_LIMIT else text[:SHOWN_LIMIT] + "…")
