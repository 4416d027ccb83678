"""A conversation that one provider holds by itself: speech in, speech out (OpenAI Realtime).

The provider hears, decides when the caller has finished, and answers faster than it is played.
Ours is what only the telephone's side can know: pacing, marks, and at an interruption `clear` and
how much of the answer was heard.
"""

import asyncio
import time
from collections import deque
from typing import Any

from gateway.conversation import Told, TurnTaken
from gateway.messages import Media
from gateway.providers.interplay import AudioPiece, CallerStarted, TurnEnded
from gateway.providers.realtime import RealtimeSession
from gateway.speaker import Speaker
from gateway.speech import ProviderError
from gateway.stream import Stream, StreamEndedError
from gateway.voices import Voices


class SpeechToSpeech:
    """One call. `voices` say what is left to say when the provider fails."""

    def __init__(
        self,
        stream: Stream,
        session: RealtimeSession,
        *,
        voices: Voices,
        giving_up: str,
        call_s: float,
        told: Told,
    ) -> None:
        self._stream, self._session, self._told = stream, session, told
        self._voices, self._giving_up, self._call_s = voices, giving_up, call_s
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting: deque[AudioPiece] = deque()
        self._has_more = asyncio.Event()
        self._playing = ""  # the item whose audio was sent last
        self._item_at = 0  # where in the playout it begins
        self._asked_at: float | None = None  # the caller's last words were complete
        self._caller = ""
        self._ms: dict[str, float] = {}
        self.taken: list[TurnTaken] = []

    async def run(self) -> str:
        """Hold it: stream_over, time_limit, provider_failed, or what end() was told."""
        limit = asyncio.get_running_loop().call_later(self._call_s, self.end, "time_limit")
        hearing = asyncio.create_task(self._hear())
        tasks: list[asyncio.Task[Any]] = [
            hearing,
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._play()),
        ]
        try:
            await asyncio.wait({*tasks, self._over}, return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in tasks if task.done() and task.exception() is not None]
            if any(isinstance(task.exception(), ProviderError) for task in failed):
                self._told.agent_failed(failed[0].exception())  # type: ignore[arg-type]
                await self._apologise()
                return "provider_failed"
            for task in failed:
                task.result()
            return self._over.result() if self._over.done() else "stream_over"
        finally:
            limit.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._session.close()

    def end(self, ending: str) -> None:
        """Have run() return this."""
        if not self._over.done():
            self._over.set_result(ending)

    async def _hear(self) -> None:
        async for message in self._stream.messages():
            if isinstance(message, Media):
                self._session.hear(message.audio)

    async def _follow(self) -> None:
        async for event in self._session.events():
            if isinstance(event, AudioPiece):
                self._waiting.append(event)
                self._has_more.set()
            elif isinstance(event, CallerStarted):
                self._interrupt()
            elif isinstance(event, TurnEnded):
                self._note(event)

    async def _play(self) -> None:
        try:
            while True:
                while not self._waiting:
                    self._has_more.clear()
                    await self._has_more.wait()
                piece = self._waiting.popleft()
                if piece.item_id != self._playing:
                    self._playing, self._item_at = piece.item_id, self._stream.playout.sent
                    if self._asked_at is not None:
                        self._ms["first_audio"] = _ms_since(self._asked_at)
                        self._asked_at = None
                await self._stream.play(piece.audio)
        except StreamEndedError:
            return

    def _interrupt(self) -> None:
        """The caller speaks: nothing more of the answer is played, and the model is told so."""
        began = time.monotonic()
        if self._waiting or self._stream.ahead_s > 0:
            heard = self._stream.playout.heard(began) - self._item_at
            self._waiting.clear()
            self._stream.clear()
            self._told.barged_in((time.monotonic() - began) * 1000)
            self._session.truncate(self._playing, max(heard, 0) // 8)

    def _note(self, ended: TurnEnded) -> None:
        if ended.speaker == "caller":
            self._caller = f"{self._caller} {ended.text}".strip()
            self._asked_at = time.monotonic()
            return
        turn = TurnTaken(
            len(self.taken) + 1, self._caller, ended.text, ended.was_interrupted, self._ms
        )
        self._caller, self._ms = "", {}
        self.taken.append(turn)
        self._told.turn_taken(turn)

    async def _apologise(self) -> None:
        async def words() -> Any:
            yield self._giving_up

        hearing = asyncio.create_task(self._hear_nothing())  # the mark's echo
        try:
            await Speaker(self._stream, self._voices).say(words())
        except (ProviderError, StreamEndedError):
            return
        finally:
            hearing.cancel()

    async def _hear_nothing(self) -> None:
        async for _ in self._stream.messages():
            pass


def _ms_since(then: float) -> float:
    return round((time.monotonic() - then) * 1000, 1)
