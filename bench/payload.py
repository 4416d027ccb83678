"""The frames of the load: Twilio Media Streams messages, or opaque text, of one exact size.

Nothing here opens a socket. A sender's frames are an endless iterator, so that what a frame holds
is decided once and the load generator only calls `next`.
"""

import base64
import json
import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import count, repeat
from typing import Literal

Payload = Literal["media", "opaque"]

# One key for every client frame (RFC 6455 asks for a fresh one): the work of a relay does not
# depend on the key, and pieces that were masked apart can be joined only under one key.
MASKING_KEY = b"\x37\xfa\x21\x3d"

TEXT, CLOSE = 0x1, 0x8
CLIENT_CLOSE = b"\x88\x82" + MASKING_KEY + bytes((0x03 ^ 0x37, 0xE8 ^ 0xFA))
SERVER_CLOSE = b"\x88\x02\x03\xe8"

_HEAD = b'{"event":"media","sequenceNumber":"'
_COUNTERS = '%06d","media":{"track":"inbound","chunk":"%06d","timestamp":"%0*d","payload":"'
_TIMESTAMP_DIGITS = 8


class TooSmallError(ValueError):
    """The asked size cannot hold a Twilio media message."""


def header(length: int, *, masked: bool) -> bytes:
    """The header of one final text frame (RFC 6455 section 5.2), with the key when masked."""
    mask_bit = 0x80 if masked else 0
    if length < 126:
        size = bytes((mask_bit | length,))
    elif length < 65536:
        size = bytes((mask_bit | 126,)) + length.to_bytes(2, "big")
    else:
        size = bytes((mask_bit | 127,)) + length.to_bytes(8, "big")
    return bytes((0x80 | TEXT,)) + size + (MASKING_KEY if masked else b"")


def mask(data: bytes, offset: int = 0) -> bytes:
    """The data as it is masked when it stands at this offset of a payload (section 5.3)."""
    key = bytes(MASKING_KEY[(offset + i) % 4] for i in range(4)) * (len(data) // 4 + 1)
    size = len(data)
    return (int.from_bytes(data) ^ int.from_bytes(key[:size])).to_bytes(size)


def client_frame(message: bytes) -> bytes:
    """One masked text frame."""
    return header(len(message), masked=True) + mask(message)


def server_frame(message: bytes) -> bytes:
    """One unmasked text frame."""
    return header(len(message), masked=False) + message


def stream_sid(session: int) -> str:
    """The streamSid of a session, in Twilio's form."""
    return f"MZ{session:032x}"


def opening(session: int, payload: Payload) -> bytes:
    """The frames that a client sends before the load: Twilio's `connected` and `start`."""
    if payload == "opaque":
        return client_frame(b"hello")
    sid = stream_sid(session)
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    start = {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": f"AC{0:032x}",
            "streamSid": sid,
            "callSid": f"CA{session:032x}",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        },
        "streamSid": sid,
    }
    messages = (json.dumps(m, separators=(",", ":")).encode() for m in (connected, start))
    return b"".join(map(client_frame, messages))


def client_frames(session: int, payload: Payload, size: int, rate: float) -> Iterator[bytes]:
    """What the client of a session sends, frame after frame; sequenceNumber, chunk and timestamp
    count up at a fixed width, so every frame has the same size."""
    if payload == "opaque":
        return repeat(client_frame(_opaque(size)))
    return _counting(session, size, rate)


def server_frames(session: int, payload: Payload, size: int) -> Iterator[bytes]:
    """What the server of a session sends: one frame for ever (its media has no numbers)."""
    if payload == "opaque":
        return repeat(server_frame(_opaque(size)))
    before = f'{{"event":"media","streamSid":"{stream_sid(session)}","media":'.encode()
    audio, spare = _audio(session, size - len(before) - len(b'{"payload":""}}'))
    return repeat(server_frame(before + b" " * spare + b'{"payload":"' + audio + b'"}}'))


def _counting(session: int, size: int, rate: float) -> Iterator[bytes]:
    after = f'"}},"streamSid":"{stream_sid(session)}"}}'.encode()
    counters_size = len(_COUNTERS % (0, 0, _TIMESTAMP_DIGITS, 0))
    audio, spare = _audio(session, size - len(_HEAD) - counters_size - len(after))
    digits = _TIMESTAMP_DIGITS + spare
    head = header(size, masked=True) + mask(_HEAD)
    tail = mask(audio + after, len(_HEAD) + counters_size + spare)
    for chunk in count(1):
        yield head + _masked_counters(chunk, digits, int(chunk * 1000 / rate)) + tail


@lru_cache(maxsize=4096)
def _masked_counters(chunk: int, digits: int, timestamp: int) -> bytes:
    """The counters of a frame, shared by all sessions that have come to the same frame. The start
    message was number 1, so the first chunk is number 2."""
    text = _COUNTERS % (chunk + 1, chunk, digits, timestamp)
    return mask(text.encode(), len(_HEAD))


def _audio(session: int, room: int) -> tuple[bytes, int]:
    """Base64 of noise that fills the room but for the 0 to 3 bytes that base64 cannot fill."""
    if room < 4:
        raise TooSmallError(f"a media message needs {4 - room} bytes more")
    noise = random.Random(session).randbytes(room // 4 * 3)
    return base64.b64encode(noise), room % 4


def _opaque(size: int) -> bytes:
    return (b"the quick brown fox jumps over the lazy dog; " * (size // 45 + 1))[:size]
