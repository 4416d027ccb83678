"""Says things into a stream: sentence by sentence, the next one made while the last is heard."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gateway.sentences import SentenceSplitter
from gateway.speech import closing
from gateway.stream import Stream
from gateway.voices import Voices

# Pieces of audio that wait to be paced out. A slow stream holds the voice back.
PIECES_LIMIT = 64


@dataclass(slots=True)
class Spoken:
    """One sentence of the utterance, and where its audio lies in the playout (bytes)."""

    text: str
    begins: int = 0
    ends: int = 0


class _Pieces:
    """Audio between the voice that makes it and the stream that paces it out."""

    def __init__(self) -> None:
        self._made: asyncio.Queue[tuple[Spoken, bytes] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(PIECES_LIMIT)

    async def put(self, sentence: Spoken, audio: bytes) -> None:
        await self._room.acquire()
        self._made.put_nowait((sentence, audio))

    def end(self) -> None:
        self._made.put_nowait(None)

    async def get(self) -> tuple[Spoken, bytes] | None:
        self._room.release()
        return await self._made.get()


class Speaker:
    """The agent's mouth in one call. Says one thing at a time."""

    def __init__(self, stream: Stream, voices: Voices) -> None:
        self._stream = stream
        self._voices = voices
        self._numbers = itertools.count(1)
        self._spoken: list[Spoken] = []
        self._is_saying = False
        self.text_at: float | None = None  # monotonic: the first sentence was complete
        self.audio_at: float | None = None  # monotonic: its first frame was sent

    @property
    def has_begun(self) -> bool:
        """Whether something is being said and its first audio was sent."""
        return self._is_saying and self.audio_at is not None

    async def say(self, pieces: AsyncIterator[str]) -> str:
        """Say a text that comes in pieces; returns it once the last word was heard.

        Raises ProviderError if the text or every voice fails, after the caller was told, and
        StreamEndedError. When cancelled, `heard()` has what reached the caller's ear.
        """
        self._spoken = []
        self.text_at = self.audio_at = None
        self._is_saying = True
        made = _Pieces()
        making = asyncio.create_task(self._make(pieces, made))
        try:
            while (piece := await made.get()) is not None:
                await self._play(*piece)
            if self._spoken:  # where the voices failed, the apology
                echoed = self._stream.mark(f"said-{next(self._numbers)}")
                await self._stream.heard(echoed)
            await making
        finally:
            self._is_saying = False
            # Nothing is awaited where all was said: an interruption here would unsay it.
            if not making.done():
                making.cancel()
                await asyncio.wait([making])
            if not making.cancelled():
                making.exception()  # was raised above, or somebody interrupted
        return " ".join(spoken.text for spoken in self._spoken)

    def heard(self) -> str:
        """What the caller has heard by now of what is being said, to the nearest word."""
        position = self._stream.playout.heard(time.monotonic())
        words: list[str] = []
        for spoken in self._spoken:
            if position <= spoken.begins:
                break
            share = (position - spoken.begins) / max(spoken.ends - spoken.begins, 1)
            all_words = spoken.text.split()
            words += all_words[: round(len(all_words) * min(share, 1.0))]
        return " ".join(words)

    async def _make(self, pieces: AsyncIterator[str], made: _Pieces) -> None:
        try:
            async with closing(_sentences(pieces)) as sentences:
                async for text in sentences:
                    self.text_at = self.text_at or time.monotonic()
                    sentence = Spoken(text)
                    async with closing(self._voices.speak(text)) as audio:
                        async for piece in audio:
                            await made.put(sentence, piece)
        finally:
            made.end()

    async def _play(self, sentence: Spoken, audio: bytes) -> None:
        self.audio_at = self.audio_at or time.monotonic()
        if not self._spoken or self._spoken[-1] is not sentence:
            sentence.begins = sentence.ends = self._stream.playout.sent
            self._spoken.append(sentence)
        sentence.ends += len(audio)
        await self._stream.play(audio)


async def _sentences(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    splitter = SentenceSplitter()
    async with closing(pieces):
        async for piece in pieces:
            for sentence in splitter.receive_text(piece):
                yield sentence
    for sentence in splitter.flush():
        yield sentence
