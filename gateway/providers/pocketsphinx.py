"""Embedded ears for where Whisper does not run: PocketSphinx, small, old, and often wrong.

It understands four in ten telephone sentences word for word (Whisper three in four) and needs 0.4 s
for each second of speech. It holds Python's lock while it works, so it works in its own process.
"""

import signal
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

from gateway import g711
from gateway.providers.local import LocalListener, Worker
from gateway.resample import Resampler
from gateway.speech import Listener

RATE = 16000  # of the model in the package; there is none for telephones
WAITING_LIMIT = 4
INSTALL = "pip install pocketsphinx"


class PocketSphinx:
    """A SpeechToText."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        # A fork would copy the locks of threads that are not copied with it.
        process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_leave_ctrl_c_to_parent)
        self._is_warm = False
        self._worker = Worker(self.name, process, limit=WAITING_LIMIT, install=INSTALL)

    async def warm(self) -> None:
        if not self._is_warm:
            await self._recognise(g711.SILENCE * g711.BYTES_PER_SECOND)
            self._is_warm = True

    async def listen(self) -> Listener:
        return LocalListener(self._recognise)

    async def close(self) -> None:
        await self._worker.close()

    async def _recognise(self, utterance: bytes) -> str:
        return await self._worker.run(partial(_transcribe, utterance))


def _leave_ctrl_c_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _transcribe(utterance: bytes) -> str:
    decoder = _decoder()
    resampler = Resampler(g711.BYTES_PER_SECOND, RATE)
    pcm = resampler.receive_pcm(g711.decode(utterance)).tobytes() + resampler.flush().tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis is not None else ""


@cache
def _decoder() -> Any:
    from pocketsphinx import Decoder  # an optional package

    return Decoder(samprate=float(RATE), loglevel="FATAL")
