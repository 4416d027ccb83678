"""The embedded voice: hibari-tts, which carries its model (one American woman's voice, 24 kHz).

It makes a sentence at once, some eighty times faster than it is spoken, so a sentence is one piece.
Its noise comes from a fixed seed: the same text sounds the same, byte by byte, in tests and calls.
"""

import os
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway import g711
from gateway.providers.local import INSTALL_OFFLINE, Worker
from gateway.resample import Resampler

# Two sentences at once: more would only make all of them late.
THREADS = 2
WAITING_LIMIT = 64
# A sentence is computed whole. One without an end is cut, or it would hold up all the others.
TEXT_LIMIT = 500
# Silence that is left before a sentence, for its soft consonants, and behind it.
LEAD_S = 0.03
PAUSE_S = 0.25
_QUIET = 0.005  # -46 dBFS
_loading = threading.Lock()


class Hibari:
    """A TextToSpeech. The model is loaded once in a process."""

    name = "hibari"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._is_warm = False
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix=self.name)
        self._worker = Worker(self.name, threads, limit=WAITING_LIMIT, install=INSTALL_OFFLINE)

    async def warm(self) -> None:
        """Load the model, once; its lexicon is loaded with the first sentence."""
        if not self._is_warm:
            await self._worker.run(lambda: list(_mulaw("Hello.", self._seed)))
            self._is_warm = True

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        pieces = _mulaw(text, self._seed)
        while (audio := await self._worker.run(lambda: next(pieces, None))) is not None:
            if audio:
                yield audio

    async def close(self) -> None:
        await self._worker.close()


def _mulaw(text: str, seed: int) -> Iterator[bytes]:
    model = _model()
    resampler = Resampler(model.sample_rate, g711.BYTES_PER_SECOND)
    for part in textwrap.wrap(text, TEXT_LIMIT):
        for wave in model.stream(part, seed=seed):
            pcm = np.rint(np.clip(_trimmed(wave, model.sample_rate), -1, 1) * 32767).astype(
                np.int16
            )
            yield g711.encode(resampler.receive_pcm(pcm))
    yield g711.encode(resampler.flush())


def _trimmed(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Speech without the quarter of a second before it, which would be waited for, and the half
    behind it."""
    loud = np.flatnonzero(np.abs(wave) > _QUIET)
    if not len(loud):
        return wave[:0]
    return wave[max(0, loud[0] - int(LEAD_S * rate)) : loud[-1] + int(PAUSE_S * rate)]


def _model() -> Any:
    with _loading:
        return _load()


@cache
def _load() -> Any:
    # onnxruntime 1.32 keeps a device's id under HOME and reports to its maker, unless it is told.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from hibari import Hibari as Model  # an optional package, and half a second to import

    return Model(threads=1)
