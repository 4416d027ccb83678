"""From one sample rate to another: a polyphase low-pass FIR whose state is carried between pieces.

The filter is a sinc under a Kaiser window, cut off at half of the lower rate. To or from 8000 Hz it
is flat up to 3.4 kHz, and its stop band, 80 dB down, begins at 4.65 kHz (in general at 0.42 and
0.58 of the lower rate). What lies between the two comes back between 3.35 and 4 kHz, where a
telephone has no speech.

Output sample m is the input at the moment m / rate_out: nothing is shifted. It is given out once
`delay_s` more of the input is there, about 2 ms where one of the rates is 8000 Hz.

Coefficients are multiples of 2**-24, so products and sums are exact in 64-bit floats in whatever
order they are added, and the output cannot depend on how the input was cut. The phases have the
same sum, so a constant comes out as it went in.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

RATES = range(4000, 192_001)
_HALF_WIDTH = 17  # zero crossings of the sinc on each side: how steep
_BETA = 7.86  # of the Kaiser window: how deep, about 80 dB
_ONE = 1 << 24
# The tables of rates with a smaller common divisor would take megabytes.
_PHASES_LIMIT = 1000
_PIECE = 4096  # samples at once: a minute at once would need hundreds of megabytes
_NOTHING = np.zeros(0, np.int16)


class Resampler:
    """One stream of samples. Raises ValueError for rates that it cannot have a table for."""

    __slots__ = ("_half", "_phases", "_position", "_samples", "_step", "_table", "delay_s")

    def __init__(self, rate_in: int, rate_out: int) -> None:
        if rate_in not in RATES or rate_out not in RATES:
            raise ValueError(f"{rate_in} to {rate_out} Hz: rates are {RATES[0]} to {RATES[-1]} Hz")
        divisor = gcd(rate_in, rate_out)
        self._phases, self._step = rate_out // divisor, rate_in // divisor
        if self._phases > _PHASES_LIMIT:
            raise ValueError(f"{rate_in} to {rate_out} Hz: the ratio has too large terms")
        self._table = _table(self._phases, self._step)
        self._half = self._table.shape[1] // 2
        self.delay_s = self._half / rate_in
        self._begin()

    def _begin(self) -> None:
        self._samples = np.zeros(self._half - 1)  # the silence before the first
        # Where the next output begins to read `_samples`, in phases: `_phases` to a sample.
        self._position = 0

    def receive_pcm(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take input of any length; return the output that it completes.

        Raises TypeError for samples that are not int16.
        """
        if pcm.dtype != np.int16:
            raise TypeError(f"samples are {pcm.dtype}, not int16")
        pieces = [pcm[at : at + _PIECE] for at in range(0, len(pcm), _PIECE)]
        outputs = [self._receive(piece) for piece in pieces]
        return outputs[0] if len(outputs) == 1 else np.concatenate([_NOTHING, *outputs])

    def _receive(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        taps = 2 * self._half
        samples = self._samples = np.concatenate((self._samples, pcm))
        # What each place of `samples` reads, without a copy: rows that overlap.
        shape = max(0, len(samples) - taps + 1), taps
        windows = np.ndarray(shape, samples.dtype, samples, strides=2 * samples.strides)
        count = max(0, -((self._position - shape[0] * self._phases) // self._step))
        if self._phases == 1:
            output = np.einsum("ij,j->i", windows[self._position :: self._step], self._table[0])
        else:
            places = self._position + self._step * np.arange(count)
            starts, phases = np.divmod(places, self._phases)
            output = np.einsum("ij,ij->i", windows[starts], self._table[phases])
        self._position += count * self._step
        read = self._position // self._phases
        self._samples = samples[read:]
        self._position -= read * self._phases
        rounded: NDArray[np.float64] = np.rint(output / _ONE).clip(-32768, 32767)
        return rounded.astype(np.int16)

    def flush(self) -> NDArray[np.int16]:
        """Return the rest as if silence followed, and begin anew.

        In all, n samples of input give ceil(n * rate_out / rate_in).
        """
        rest = self.receive_pcm(np.zeros(self._half, np.int16))
        self._begin()
        return rest


@lru_cache(maxsize=32)
def _table(phases: int, step: int) -> NDArray[np.float64]:
    """One row a phase: what each of the samples around it adds to an output, times 2**24."""
    ratio = min(1.0, phases / step)
    half = ceil(_HALF_WIDTH / ratio)
    offsets = np.arange(phases)[:, None] / phases + np.arange(half - 1, -half - 1, -1)
    window = np.i0(_BETA * np.sqrt(1 - (offsets / half) ** 2))
    taps = np.sinc(ratio * offsets) * window
    table: NDArray[np.float64] = np.rint(taps / taps.sum(axis=1, keepdims=True) * _ONE)
    table.flags.writeable = False
    return table
