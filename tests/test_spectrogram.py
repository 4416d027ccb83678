"""Whisper's log-mel spectrogram: where a tone shows, how deep silence is, what the edges do."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.providers import spectrogram
from gateway.providers.spectrogram import BANDS, RATE, log_mel


def tone(hertz: float, seconds: float = 1.0, level: float = 0.5) -> NDArray[np.int16]:
    moments = np.arange(int(seconds * RATE)) / RATE
    return np.rint(32767 * level * np.sin(2 * np.pi * hertz * moments)).astype(np.int16)


def test_a_second_is_a_hundred_frames_of_eighty_bands() -> None:
    for seconds in (1, 10):
        shape = log_mel(tone(440), seconds).shape
        assert shape == (BANDS, 100 * seconds)


# The middle of band n on Slaney's scale is at (n + 1) / 81 of the 45.2456 mels of 8 kHz: 66.67 Hz
# each up to 1 kHz, and from there on each a factor of 6.4 ** (1 / 27).
@pytest.mark.parametrize(
    ("hertz", "band"),
    [(37.2, 0), (372.4, 9), (968.2, 25), (2007.5, 44), (4007.5, 62), (7698.6, 79)],
)
def test_a_tone_shows_in_its_band(hertz: float, band: int) -> None:
    middle = log_mel(tone(hertz), 1)[:, 50]
    assert int(middle.argmax()) == band


def test_a_filter_has_the_area_of_one() -> None:
    """So noise with a flat spectrum is as loud in wide bands as in narrow ones."""
    step_hz = RATE / 2 / (spectrogram._FILTERS.shape[1] - 1)
    wide = spectrogram._FILTERS[45:].sum(axis=1) * step_hz
    assert np.abs(wide - 1).max() < 0.05


def test_the_range_is_eighty_decibels_below_the_loudest() -> None:
    shown = log_mel(tone(1000, 0.5), 1)
    assert shown.max() - shown.min() == pytest.approx(8 / 4)
    assert (shown[:, 80:] == shown.min()).all()  # what no speech fills


def test_ten_decibels_are_a_quarter() -> None:
    loud, soft = log_mel(tone(1000, level=0.5), 1), log_mel(tone(1000, level=0.05), 1)
    assert loud.max() - soft.max() == pytest.approx(2 / 4, abs=0.01)


def test_silence_is_the_same_everywhere() -> None:
    shown = log_mel(np.zeros(0, np.int16), 1)
    assert (shown == shown[0, 0]).all()
    assert shown[0, 0] == pytest.approx((-10 + 4) / 4)


def test_what_does_not_fit_is_left_out() -> None:
    long = np.concatenate([tone(500, 1.0), tone(3000, 2.0)])
    assert (log_mel(long, 1)[:, :98] == log_mel(long[:RATE], 1)[:, :98]).all()


@pytest.mark.parametrize("frame", [0, 1, 50])
def test_a_frame_is_the_transform_of_the_25_ms_around_it(frame: int) -> None:
    """By the definition, term by term. Before the first sample is what follows it, mirrored."""
    noise = np.random.default_rng(0).integers(-8000, 8000, RATE).astype(np.int16)
    places = np.abs(np.arange(frame * 160 - 200, frame * 160 + 200))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    turns = np.outer(np.arange(201), np.arange(400)) / 400
    power = np.abs((noise[places] / 32768 * hann * np.exp(-2j * np.pi * turns)).sum(axis=1)) ** 2
    expected = (np.log10(spectrogram._FILTERS @ power) + 4) / 4
    assert log_mel(noise, 1)[:, frame] == pytest.approx(expected, abs=1e-4)
