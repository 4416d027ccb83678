"""Mu-law agrees with the tables of ITU-T G.711, and with audioop where that agrees with them."""

import importlib
import sys
import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import g711

quickly = settings(derandomize=True, deadline=None, max_examples=50)

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
# G.711 table 2a: number n, decision values x(n) and x(n+1), quantized value y(n); 14 bits.
ITU = [
    (0, 0, 1, 0),
    (1, 1, 3, 2),
    (2, 3, 5, 4),
    (15, 29, 31, 30),
    (16, 31, 35, 33),
    (17, 35, 39, 37),
    (31, 91, 95, 93),
    (32, 95, 103, 99),
    (47, 215, 223, 219),
    (48, 223, 239, 231),
    (63, 463, 479, 471),
    (64, 479, 511, 495),
    (79, 959, 991, 975),
    (80, 991, 1055, 1023),
    (95, 1951, 2015, 1983),
    (96, 2015, 2143, 2079),
    (111, 3935, 4063, 3999),
    (112, 4063, 4319, 4191),
    (126, 7647, 7903, 7775),
    (127, 7903, 8159, 8031),
]


def code_of(sample: int) -> int:
    return g711.encode(np.array([sample], np.int16))[0]


def sample_of(code: int) -> int:
    return int(g711.decode(bytes([code]))[0])


@pytest.mark.parametrize(("number", "above", "below", "plays"), ITU)
def test_magnitudes_are_those_of_the_recommendation(
    number: int, above: int, below: int, plays: int
) -> None:
    loud, soft = 0xFF - number, 0x7F - number
    assert (sample_of(loud), sample_of(soft)) == (4 * plays, -4 * plays)
    for magnitude in (4 * above + 1, 4 * plays, 4 * below - 1):
        assert (code_of(magnitude), code_of(-magnitude or -1)) == (loud, soft)
    if number < 127:
        assert (code_of(4 * below), code_of(-4 * below)) == (loud - 1, soft - 1)


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x7E, -8)],
)
def test_ends_and_zeros(code: int, sample: int) -> None:
    assert sample_of(code) == sample


def test_zero_is_positive_and_what_is_too_loud_is_the_loudest() -> None:
    assert (code_of(0), code_of(-1), code_of(3), code_of(-3)) == (0xFF, 0x7F, 0xFF, 0x7F)
    assert {code_of(sample) for sample in (32636, 32767)} == {0x80}
    assert {code_of(sample) for sample in (-32636, -32767, -32768)} == {0x00}


def test_every_code_survives_a_round_trip_but_for_the_sign_of_zero() -> None:
    returned = g711.encode(g711.decode(EVERY_CODE))
    assert returned == EVERY_CODE.replace(b"\x7f", b"\xff")


def test_a_louder_sample_never_gets_a_softer_code() -> None:
    played = g711.decode(g711.encode(EVERY_SAMPLE)).astype(np.int32)
    assert (np.diff(played) >= 0).all()
    assert len(np.unique(played)) == 255
    assert (np.diff(np.sort(g711.decode(EVERY_CODE))) >= 0).all()


def test_a_sample_is_off_by_half_a_step_of_its_segment_at_most() -> None:
    samples = EVERY_SAMPLE[np.abs(EVERY_SAMPLE.astype(np.int32)) <= 4 * 8159].astype(np.int32)
    played = g711.decode(g711.encode(samples.astype(np.int16))).astype(np.int32)
    half_step = 4 * np.exp2(np.floor(np.log2(np.abs(samples) / 4 + 33)) - 5)
    assert (np.abs(samples - played) <= half_step).all()


def audioop() -> Any:
    if sys.version_info >= (3, 13):
        pytest.skip("Python has no audioop since 3.13")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("audioop")


def test_decoding_is_audioops() -> None:
    assert g711.decode(EVERY_CODE).tobytes() == audioop().ulaw2lin(EVERY_CODE, 2)


def test_encoding_is_audioops_but_where_that_rounds_negative_samples_away_from_zero() -> None:
    """audioop drops two bits of a negative sample by a shift, which makes it louder by up to 3/4.

    The 16384 inputs of the recommendation, multiples of four here, are not changed by that.
    Between them it moves 381 samples, the three before each of 127 decision values, over it.
    """
    ours = np.frombuffer(g711.encode(EVERY_SAMPLE), np.uint8).astype(int)
    theirs = np.frombuffer(audioop().lin2ulaw(EVERY_SAMPLE.tobytes(), 2), np.uint8).astype(int)
    differ = EVERY_SAMPLE[ours != theirs].astype(int)
    decision_values = np.array([4 * x for x in all_decision_values()])
    expected = -(decision_values[:, None] - [1, 2, 3]).ravel()
    assert sorted(differ) == sorted(expected)
    assert len(differ) == 381
    assert set(ours[ours != theirs] - theirs[ours != theirs]) == {1}


def all_decision_values() -> list[int]:
    """x(1) to x(127) by their rule: from 1 on, 15 steps of 2, then 16 each of 4, 8 .. 256."""
    values = [1]
    for count, step in [(15, 2), *((16, 4 << k) for k in range(7))]:
        values += [values[-1] + step * (i + 1) for i in range(count)]
    return values[:127]


@quickly
@given(st.binary(max_size=400))
def test_peak_is_the_largest_magnitude(audio: bytes) -> None:
    loudest = np.abs(g711.decode(audio).astype(np.int32)).max(initial=0)
    assert g711.peak(audio) == loudest


def test_samples_may_lie_apart_in_memory() -> None:
    samples = np.arange(-3000, 3000, 7, dtype=np.int16)
    assert g711.encode(samples[::3]) == g711.encode(samples[::3].copy())
    assert g711.encode(samples[:0]) == b""


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.uint16, np.dtype(">i2")])
def test_samples_of_another_kind_are_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="not int16"):
        g711.encode(np.zeros(4, dtype))


def test_lengths() -> None:
    assert g711.seconds(b"\xff" * 160) == g711.seconds(160) == g711.FRAME_S == 0.02
    assert g711.seconds(g711.FRAME_BYTES * 50) == g711.seconds(g711.BYTES_PER_SECOND) == 1.0
    assert g711.decode(g711.SILENCE * 160).any() == g711.peak(b"") == 0


def test_a_frame_costs_little() -> None:
    frame = bytes(range(160))
    samples = g711.decode(frame)
    for work in (
        lambda: g711.decode(frame),
        lambda: g711.encode(samples),
        lambda: g711.peak(frame),
    ):
        fastest = float("inf")
        for _ in range(50):
            before = time.perf_counter()
            work()
            fastest = min(fastest, time.perf_counter() - before)
        assert fastest < 100e-6  # it is a few microseconds; the rest is for a slow machine
