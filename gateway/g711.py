"""Mu-law, the speech coding of ITU-T G.711 (11/88), by table.

Tables 2a and 2b of the recommendation hold 128 magnitudes. Number n stands for all inputs between
the decision values x(n) and x(n+1) and is played as y(n), which lies halfway between them; y(0)
is zero. They form eight segments, each twice as coarse as the one before it. x and y end at 8159
and 8031: 14 bits with the sign. Linear samples have 16 here, so all values are times four.

A code on the wire is inverted: 0xFF and 0x7F are plus and minus zero, 0x80 and 0x00 the loudest.
Where an input goes that is exactly a decision value is not said; here it goes outwards.
"""

import numpy as np
from numpy.typing import NDArray

BYTES_PER_SECOND = 8000
FRAME_S = 0.02
FRAME_BYTES = 160
SILENCE = b"\xff"

_segment, _step = np.divmod(np.arange(1, 129), 16)
_DECIDES = 4 * (((2 * _step + 32) << _segment) - 33)  # x(1) to x(128)
_PLAYS = np.concatenate(([0], (_DECIDES[:-1] + _DECIDES[1:]) // 2))  # y(0) to y(127)

# From a code to its sample; codes 0x00 to 0x7F are the negative half, loudest first.
_SAMPLES = np.concatenate((-_PLAYS[::-1], _PLAYS[::-1])).astype(np.int16)


def _codes() -> NDArray[np.uint8]:
    """From a sample to its code; negative samples stand where their bits, read unsigned, do."""
    samples = np.arange(1 << 16).astype(np.uint16).view(np.int16).astype(np.int32)
    numbers = np.searchsorted(_DECIDES[:-1], np.abs(samples), side="right")
    return np.where(samples < 0, 0x7F - numbers, 0xFF - numbers).astype(np.uint8)


_CODES = _codes()
# From a code to the number of its magnitude, and from there to the magnitude.
_NUMBERS = bytes(0x7F - (code & 0x7F) for code in range(256))
_MAGNITUDES: tuple[int, ...] = tuple(_PLAYS.tolist())


def decode(mulaw: bytes) -> NDArray[np.int16]:
    """Linear samples, 16 bits."""
    return _SAMPLES.take(np.frombuffer(mulaw, np.uint8))


def encode(pcm: NDArray[np.int16]) -> bytes:
    """Mu-law of linear samples. Raises TypeError for samples that are not int16."""
    if pcm.dtype != np.int16:
        raise TypeError(f"samples are {pcm.dtype}, not int16")
    return _CODES.take(pcm.view(np.uint16)).tobytes()


def seconds(audio: bytes | int) -> float:
    """How long mu-law audio, or so many bytes of it, plays."""
    return (audio if isinstance(audio, int) else len(audio)) / BYTES_PER_SECOND


def peak(mulaw: bytes) -> int:
    """The largest magnitude in mu-law audio, as a linear sample: 0 to 32124; 0 for none."""
    return _MAGNITUDES[max(mulaw.translate(_NUMBERS), default=0)]
