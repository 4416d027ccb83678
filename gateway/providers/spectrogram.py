"""What Whisper sees of speech: the logarithm of a mel spectrogram.

80 bands, 25 ms under a Hann window every 10 ms, 16 kHz; the mel scale is that of Slaney's Auditory
Toolbox (1998): linear up to 1 kHz, then logarithmic, each band's filter a triangle of unit area.
The dynamic range is cut to 80 dB below the loudest point. (Radford et al. 2022, section 2.2.)
"""

import numpy as np
from numpy.typing import NDArray

RATE = 16000
BANDS = 80
HOP = 160
FRAMES_PER_SECOND = RATE // HOP
_WINDOW_SIZE = 400
_KNEE_HZ = 1000.0
_KNEE_MEL = 15.0
_HZ_PER_MEL = _KNEE_HZ / _KNEE_MEL
_LOG_STEP = np.log(6.4) / 27


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(
        mel < _KNEE_MEL, mel * _HZ_PER_MEL, _KNEE_HZ * np.exp((mel - _KNEE_MEL) * _LOG_STEP)
    )


def _filters() -> NDArray[np.float32]:
    """One row a band, one column a frequency of the transform."""
    highest = _KNEE_MEL + np.log(RATE / 2 / _KNEE_HZ) / _LOG_STEP
    edges = _to_hz(np.linspace(0, highest, BANDS + 2))
    frequencies = np.linspace(0, RATE / 2, _WINDOW_SIZE // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    area = (high - low) / 2
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) / area
    return filters.astype(np.float32)


_FILTERS = _filters()
_WINDOW = np.hanning(_WINDOW_SIZE + 1)[:-1].astype(np.float32)


def log_mel(pcm: NDArray[np.int16], seconds: int) -> NDArray[np.float32]:
    """(80, 100 * seconds) of speech at 16 kHz; silence fills what the speech leaves."""
    samples = np.zeros(seconds * RATE, np.float32)
    heard = pcm[: len(samples)]
    samples[: len(heard)] = heard / np.float32(32768)
    samples = np.pad(samples, _WINDOW_SIZE // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW_SIZE)[::HOP]
    # One more window would begin where the next second does.
    spectrum = np.fft.rfft(windows[: seconds * FRAMES_PER_SECOND] * _WINDOW, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    levels = np.log10(np.maximum(_FILTERS @ power.T, 1e-10))
    scaled: NDArray[np.float32] = (np.maximum(levels, levels.max() - 8) + 4) / 4
    return scaled.astype(np.float32, copy=False)
