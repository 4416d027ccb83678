"""Notify: say one text into a stream, and be done when its last word was heard."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from gateway.speaker import Speaker
from gateway.speech import ProviderError
from gateway.stream import Stream, StreamEndedError
from gateway.voices import Voices


class Notice:
    """One text. `ending` is what it is for all to have been said."""

    def __init__(self, stream: Stream, voices: Voices, text: str, ending: str = "done") -> None:
        self._stream, self._text, self._ending = stream, text, ending
        self._speaker = Speaker(stream, voices)
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> str:
        """Say it: its ending, stream_over (before the last word), provider_failed (an apology was
        heard instead), or what end() was told."""
        listening = asyncio.create_task(self._listen())
        speaking = asyncio.create_task(self._speak())
        either: set[asyncio.Future[Any]] = {listening, speaking, self._over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                return speaking.result()
            return self._over.result() if self._over.done() else "stream_over"
        finally:
            listening.cancel()
            speaking.cancel()
            await asyncio.gather(listening, speaking, return_exceptions=True)

    def end(self, ending: str) -> None:
        """Have run() return this."""
        if not self._over.done():
            self._over.set_result(ending)

    async def _listen(self) -> None:
        """Marks are echoed among what the caller says, which nobody hears."""
        async for _ in self._stream.messages():
            pass

    async def _speak(self) -> str:
        try:
            await self._speaker.say(_whole(self._text))
        except StreamEndedError:
            return "stream_over"
        except ProviderError:
            return "provider_failed"
        return self._ending


async def _whole(text: str) -> AsyncIterator[str]:
    yield text
