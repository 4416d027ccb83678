"""The ears of one call while its conversation goes on: opened beside it, and asked early.

Most pauses end an utterance, so its transcription begins with the pause; if the caller goes on, it
is made again from all of it. What is said before the ears are open is kept for them.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.ears import UTTERANCE_LIMIT
from gateway.speech import Listener, ProviderError


class Hearing:
    """`on_deaf` is called when no ears can be opened."""

    def __init__(self, ears: Awaitable[Listener], on_deaf: Callable[[], None]) -> None:
        self._on_deaf = on_deaf
        self._listener: Listener | None = None
        self._unheard = bytearray()  # of the utterance, while the ears are not open
        self._opening = asyncio.create_task(self._open(ears))
        self._failure: ProviderError | None = None
        self._transcript: asyncio.Task[str] | None = None
        self._is_whole = False

    @property
    def is_deaf(self) -> bool:
        return self._failure is not None

    def begin(self, before: bytes, *, goes_on: bool) -> None:
        """An utterance begins, or the last one goes on. `before` led to its first voice."""
        self._is_whole = False
        if not goes_on:
            self._unheard.clear()
            if self._listener is not None:
                self._listener.begin()
        self.hear(before)

    def hear(self, audio: bytes) -> None:
        if self._listener is not None:
            self._listener.hear(audio)
        elif len(self._unheard) < UTTERANCE_LIMIT:
            self._unheard += audio

    def pause(self) -> None:
        """Transcribe what was heard so far, behind a transcription that still runs."""
        before = self._transcript

        async def transcribe() -> str:
            await asyncio.wait([self._opening, *([before] if before is not None else [])])
            if self._listener is None:
                raise self._failure or ProviderError("ears", "closed", "the call is over")
            return await self._listener.transcribe()

        self._is_whole = True
        self._transcript = asyncio.create_task(transcribe())
        # Nobody asks for one that another has followed.
        self._transcript.add_done_callback(lambda task: task.cancelled() or task.exception())

    def resume(self) -> None:
        """The pause was none: what is transcribed is not all of it."""
        self._is_whole = False

    async def text(self) -> str:
        """The whole utterance. Raises ProviderError."""
        if not self._is_whole or self._transcript is None:
            self.pause()
        assert self._transcript is not None  # noqa: S101 - made by pause()
        return await asyncio.shield(self._transcript)

    async def close(self) -> None:
        tasks = [task for task in (self._opening, self._transcript) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()

    async def _open(self, ears: Awaitable[Listener]) -> None:
        try:
            self._listener = await ears
        except ProviderError as error:
            self._failure = error
            self._on_deaf()
            return
        if self._unheard:
            self._listener.begin()
            self._listener.hear(bytes(self._unheard))
            self._unheard.clear()
