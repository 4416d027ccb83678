"""A Twilio stream as a stereo WAV: the caller on the left, the gateway on the right (pure).

The caller's audio stands where its timestamps put it; the gateway's where Twilio plays it: behind
what is still being played, and `clear` cuts what was not played yet. The file begins with the first
frame that was kept. The samples are the mu-law bytes of the messages, undecoded
(WAVE_FORMAT_MULAW): nothing is lost, and nothing is made better.
"""

import base64
import binascii
import json
import struct
from typing import Any

from proxy.capture import Frame
from proxy.exports.captured import Captured
from proxy.frames import TEXT
from proxy.media import BYTES_PER_SECOND

SILENCE = 0xFF  # G.711 mu-law's zero
# A timestamp that is further off from when its message came is no timestamp of this call.
_DRIFT_S = 60.0
_MULAW = 7


def wav(captured: Captured) -> bytes:
    """The whole file. Raises ValueError where the capture holds no audio."""
    tracks = _Tracks(captured.frames[0].at if captured.frames else 0.0)
    for frame in captured.frames:
        message = _message(frame)
        if message is not None:
            tracks.receive(frame, message)
    if not tracks.caller and not tracks.gateway:
        raise ValueError("the capture holds no Twilio media")
    return _riff(tracks.caller, tracks.gateway)


class _Tracks:
    def __init__(self, begins_at: float) -> None:
        self._begins_at = begins_at
        self.caller, self.gateway = bytearray(), bytearray()
        self._began: float | None = None  # when the caller's timestamp 0 was

    def receive(self, frame: Frame, message: dict[str, Any]) -> None:
        event, media = message.get("event"), message.get("media")
        if event == "clear" and frame.sender == "server":
            del self.gateway[self._sample(frame.at) :]
        if event != "media" or not isinstance(media, dict):
            return
        try:
            audio = base64.b64decode(str(media.get("payload", "")), validate=True)
        except (binascii.Error, ValueError):
            return
        if frame.sender == "client":
            at = self._spoken_at(frame.at, media.get("timestamp"))
            _put(self.caller, self._sample(at), audio)
        else:
            _put(self.gateway, max(self._sample(frame.at), len(self.gateway)), audio)

    def _sample(self, at: float) -> int:
        return max(round((at - self._begins_at) * BYTES_PER_SECOND), 0)

    def _spoken_at(self, at: float, timestamp: object) -> float:
        text = str(timestamp)
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            return at
        spoken = int(text) / 1000
        if self._began is None:
            self._began = at - spoken
        placed = self._began + spoken
        return placed if abs(placed - at) <= _DRIFT_S else at


def _message(frame: Frame) -> dict[str, Any] | None:
    if frame.opcode != TEXT or frame.payload is None:
        return None
    try:
        message = json.loads(frame.payload)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _put(track: bytearray, start: int, audio: bytes) -> None:
    if len(track) < start:
        track += bytes([SILENCE]) * (start - len(track))
    track[start : start + len(audio)] = audio


def _riff(left: bytearray, right: bytearray) -> bytes:
    length = max(len(left), len(right))
    data = bytearray([SILENCE]) * (2 * length)
    data[0 : 2 * len(left) : 2] = left
    data[1 : 2 * len(right) : 2] = right
    form = struct.pack("<HHIIHHH", _MULAW, 2, BYTES_PER_SECOND, 2 * BYTES_PER_SECOND, 2, 8, 0)
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body
        for name, body in ((b"fmt ", form), (b"fact", struct.pack("<I", length)), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
