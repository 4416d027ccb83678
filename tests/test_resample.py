"""Speech keeps its sound and its length from one sample rate to another, however it arrives."""

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.resample import Resampler, _table

quickly = settings(derandomize=True, deadline=None, max_examples=60)

Samples = NDArray[np.int16]
LOUD = 20_000
TO_8000 = [(16000, 8000), (22050, 8000), (24000, 8000), (44100, 8000), (48000, 8000)]
PAIRS = [*TO_8000, (8000, 16000), (8000, 24000), (8000, 22050), (8000, 8000), (11025, 8000)]


def in_one_piece(samples: Samples, rate_in: int, rate_out: int) -> Samples:
    resampler = Resampler(rate_in, rate_out)
    return np.concatenate([resampler.receive_pcm(samples), resampler.flush()])


def tone(hertz: float, rate: int, seconds: float = 0.5) -> Samples:
    at = np.arange(round(rate * seconds)) / rate
    samples: NDArray[np.float64] = np.rint(LOUD * np.sin(2 * np.pi * hertz * at))
    return samples.astype(np.int16)


def gain_db(hertz: float, rate_in: int, rate_out: int) -> float:
    """What all that comes out has in power against the tone, its first and last 50 ms left out."""
    output = in_one_piece(tone(hertz, rate_in), rate_in, rate_out).astype(float)
    middle = output[rate_out // 20 : -rate_out // 20]
    return float(10 * np.log10(max((middle**2).mean(), 1e-9) / (LOUD**2 / 2)))


def noise(count: int, seed: int = 3) -> Samples:
    return np.random.default_rng(seed).integers(-32768, 32768, count).astype(np.int16)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_speech_passes_unchanged_up_to_3400_hertz(rate_in: int, rate_out: int) -> None:
    gains = [gain_db(hertz, rate_in, rate_out) for hertz in (50, 300, 1000, 2000, 3000, 3300, 3400)]
    assert max(map(abs, gains)) < 0.01


@pytest.mark.parametrize(("rate_in", "rate_out"), TO_8000)
def test_what_8000_hertz_cannot_hold_is_gone_and_not_folded_back(
    rate_in: int, rate_out: int
) -> None:
    # 5.5 and 10.5 kHz would come back as 2.5 kHz, 11.9 as 3.9.
    above = [4650, 4700, 5000, 5500, 6000, 7000, 7900, 8100, 9000, 10_500, 11_900, 15_000, 20_000]
    rejected = [-gain_db(hertz, rate_in, rate_out) for hertz in above if hertz < rate_in / 2]
    assert min(rejected) > 75


@pytest.mark.parametrize("rate_out", [16000, 24000])
@pytest.mark.parametrize("hertz", [400, 1000, 3000, 3350])
def test_no_mirror_image_comes_above_4000_hertz(hertz: int, rate_out: int) -> None:
    output = in_one_piece(tone(hertz, 8000, 1.0), 8000, rate_out)
    spectrum = np.abs(np.fft.rfft(output * np.hanning(len(output))))
    images = spectrum[4100:]  # one second: bins are hertz
    assert 20 * np.log10(spectrum[hertz] / images.max()) > 75


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_nothing_is_shifted_and_the_length_is_kept(rate_in: int, rate_out: int) -> None:
    output = in_one_piece(tone(440, rate_in, 0.25), rate_in, rate_out)
    ideal = tone(440, rate_out, 0.26)
    assert len(output) == -(-round(rate_in * 0.25) * rate_out // rate_in)
    inner = slice(rate_out // 40, -rate_out // 40)
    assert np.abs(output.astype(int) - ideal[: len(output)])[inner].max() <= 2


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_output_waits_for_the_delay_that_is_told_and_no_longer(rate_in: int, rate_out: int) -> None:
    resampler = Resampler(rate_in, rate_out)
    delay = round(resampler.delay_s * rate_in)
    assert resampler.delay_s < 0.0025
    assert len(resampler.receive_pcm(noise(delay))) == 0
    for received in range(1, 500):
        before = -(-(received - 1) * rate_out // rate_in)
        due = -(-received * rate_out // rate_in)
        assert len(resampler.receive_pcm(noise(1))) == due - before


@quickly
@given(
    pair=st.sampled_from(PAIRS),
    length=st.integers(0, 1500),
    cuts=st.lists(st.integers(0, 1500), max_size=12),
)
def test_the_output_does_not_depend_on_how_the_input_is_cut(
    pair: tuple[int, int], length: int, cuts: list[int]
) -> None:
    samples = noise(length)
    resampler = Resampler(*pair)
    pieces = [resampler.receive_pcm(piece) for piece in np.split(samples, sorted(cuts))]
    output = np.concatenate([*pieces, resampler.flush()])
    assert output.dtype == np.int16
    assert output.tobytes() == in_one_piece(samples, *pair).tobytes()


@pytest.mark.parametrize(("rate_in", "rate_out"), [(24000, 8000), (22050, 8000)])
def test_sample_by_sample_and_a_minute_at_once_are_the_same(rate_in: int, rate_out: int) -> None:
    samples = noise(9000)
    resampler = Resampler(rate_in, rate_out)
    singly = [resampler.receive_pcm(samples[at : at + 1]) for at in range(len(samples))]
    expected = in_one_piece(samples, rate_in, rate_out)
    assert np.concatenate([*singly, resampler.flush()]).tobytes() == expected.tobytes()
    minute = np.tile(samples, 60 * rate_in // len(samples))
    assert in_one_piece(minute, rate_in, rate_out)[: len(expected) - 60].tolist() == (
        expected[:-60].tolist()
    )


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_sums_are_exact_in_whatever_order(rate_in: int, rate_out: int) -> None:
    divisor = np.gcd(rate_in, rate_out)
    table = _table(rate_out // divisor, rate_in // divisor)
    assert (table == np.rint(table)).all()
    assert np.abs(table).sum(axis=1).max() * 32768 < 2**53


def test_a_minute_at_once_needs_little_memory() -> None:
    minute = np.zeros(60 * 44100, np.int16)
    tracemalloc.start()
    Resampler(44100, 8000).receive_pcm(minute)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
@pytest.mark.parametrize("value", [0, 1, -1, 12_345, 32767, -32768])
def test_a_constant_stays_what_it_is(value: int, rate_in: int, rate_out: int) -> None:
    output = in_one_piece(np.full(3000, value, np.int16), rate_in, rate_out)
    edge = round(0.005 * rate_out)
    assert set(output[edge:-edge].tolist()) == {value}


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_what_is_too_loud_is_cut_off_and_does_not_wrap(rate_in: int, rate_out: int) -> None:
    square = np.where(tone(500, rate_in) >= 0, 32767, -32768).astype(np.int16)
    output = in_one_piece(square, rate_in, rate_out).astype(int)
    ideal = in_one_piece(square // 2, rate_in, rate_out).astype(int) * 2
    assert np.abs(output - ideal.clip(-32768, 32767)).max() <= 4
    if rate_in != rate_out:
        assert np.abs(ideal).max() > 33_000


def test_equal_rates_change_nothing() -> None:
    assert in_one_piece(noise(777), 8000, 8000).tobytes() == noise(777).tobytes()


def test_after_a_flush_another_stream_begins() -> None:
    resampler = Resampler(22050, 8000)
    first = np.concatenate([resampler.receive_pcm(noise(1001)), resampler.flush()])
    second = np.concatenate([resampler.receive_pcm(noise(1001)), resampler.flush()])
    assert first.tobytes() == second.tobytes()
    assert len(resampler.flush()) == 0


def test_two_streams_have_nothing_in_common() -> None:
    one, other = Resampler(24000, 8000), Resampler(24000, 8000)
    one.receive_pcm(noise(500))
    other.receive_pcm(np.zeros(500, np.int16))
    assert not other.flush().any()


@pytest.mark.parametrize(
    ("rate_in", "rate_out"),
    [(0, 8000), (-8000, 8000), (8000, 3999), (192_001, 8000), (24_001, 8000)],
)
def test_rates_that_are_none_are_refused(rate_in: int, rate_out: int) -> None:
    with pytest.raises(ValueError, match=f"{rate_in} to {rate_out} Hz"):
        Resampler(rate_in, rate_out)


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint8])
def test_samples_of_another_kind_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="not int16"):
        Resampler(24000, 8000).receive_pcm(np.zeros(4, dtype))


def test_a_frame_costs_little() -> None:
    resampler = Resampler(24000, 8000)
    frame = noise(480)
    fastest = float("inf")
    for _ in range(50):
        before = time.perf_counter()
        resampler.receive_pcm(frame)
        fastest = min(fastest, time.perf_counter() - before)
    assert fastest < 300e-6  # it is about 15 microseconds; the rest is for a slow machine
