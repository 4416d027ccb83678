"""Audio files into mu-law at 8 kHz: what --say speaks and what <Play> plays.

RIFF WAVE with PCM of 8 or 16 bits, or mu-law, in any number of channels and at any rate that the
resampler takes; and headerless mu-law where the content type says so.
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gateway.g711 import BYTES_PER_SECOND, decode, encode
from gateway.resample import Resampler

_PCM, _MULAW, _EXTENSIBLE = 1, 7, 0xFFFE
_RAW_TYPES = ("audio/basic", "audio/x-mulaw", "audio/mulaw", "audio/pcmu")


class UnreadableClip(ValueError):  # noqa: N818 - a fact about a file, not an error of ours
    """Audio that cannot be read here; the sentence says what it is."""


def read_clip(data: bytes, content_type: str = "") -> bytes:
    """Mu-law of an audio file. Raises UnreadableClip."""
    if content_type.partition(";")[0].strip().lower() in _RAW_TYPES:
        return data
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise UnreadableClip("it is no WAV file; others are not decoded here")
    chunks = dict(_chunks(data))
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise UnreadableClip("it is a WAV file without format or data")
    form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
    if form == _EXTENSIBLE and len(chunks[b"fmt "]) >= 26:
        (form,) = struct.unpack("<H", chunks[b"fmt "][24:26])
    if not channels:
        raise UnreadableClip("it has no channels")
    if (form, bits, channels, rate) == (_MULAW, 8, 1, BYTES_PER_SECOND):
        return chunks[b"data"]  # not a bit of it needs to change
    return encode(_at_8_khz(_mono(_samples(form, bits, chunks[b"data"]), channels), rate))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks of a RIFF file. The last may be cut short, as recorders that were killed leave it."""
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack("<4sI", data[place : place + 8])
        yield name, data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _samples(form: int, bits: int, data: bytes) -> NDArray[np.int16]:
    if (form, bits) == (_PCM, 16):
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)
    if (form, bits) == (_PCM, 8):  # unsigned, by the format's definition
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) * 256
    if (form, bits) == (_MULAW, 8):
        return decode(data)
    raise UnreadableClip(f"WAV format {form} with {bits} bits; PCM of 8 or 16 bits is, and mu-law")


def _mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    if channels == 1:
        return samples
    whole = samples[: len(samples) // channels * channels].reshape(-1, channels)
    mono: NDArray[np.int16] = whole.mean(axis=1).astype(np.int16)
    return mono


def _at_8_khz(samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    if rate == BYTES_PER_SECOND:
        return samples
    try:
        resampler = Resampler(rate, BYTES_PER_SECOND)
    except ValueError as error:
        raise UnreadableClip(str(error)) from None
    return np.concatenate((resampler.receive_pcm(samples), resampler.flush()))
