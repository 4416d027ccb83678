"""Notify: say one text into a stream, and be done when its last word was heard."""

import asyncio
from collections.abc import AsyncIterator

from gateway.speaker import Speaker
from gateway.speech import ProviderError
from gateway.stream import Stream, StreamEndedError
from gateway.voices import Voices


async def notify(stream: Stream, voices: Voices, text: str) -> str:
    """Returns done, stream_over (before the last word) or provider_failed (after an apology)."""
    listening = asyncio.create_task(_listen(stream))
    speaking = asyncio.create_task(_speak(stream, voices, text))
    try:
        await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
        return speaking.result() if speaking.done() else "stream_over"
    finally:
        listening.cancel()
        speaking.cancel()
        await asyncio.gather(listening, speaking, return_exceptions=True)


async def _listen(stream: Stream) -> None:
    """Marks are echoed among what the caller says, which nobody hears."""
    async for _ in stream.messages():
        pass


async def _speak(stream: Stream, voices: Voices, text: str) -> str:
    try:
        await Speaker(stream, voices).say(_whole(text))
    except StreamEndedError:
        return "stream_over"
    except ProviderError:
        return "provider_failed"
    return "done"


async def _whole(text: str) -> AsyncIterator[str]:
    yield text
