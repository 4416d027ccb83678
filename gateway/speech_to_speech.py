"""A conversation that one provider holds by itself: speech in, speech out (OpenAI Realtime).

The provider hears, decides when the caller has finished, and answers faster than it is played.
Ours is what only the telephone's side can know: pacing, marks, and at an interruption `clear` and
how much of the answer was heard.
"""

import asyncio
import time
from collections import Counter, deque
from typing import Any

from gateway.conversation import Told, TurnTaken
from gateway.messages import Media
from gateway.providers.interplay import AudioPiece, CallerStarted, CallerStopped, TurnEnded
from gateway.providers.realtime import RealtimeSession
from gateway.speaker import Speaker
from gateway.speech import ProviderError
from gateway.stream import Stream, StreamEndedError
from gateway.voices import Voices


class SpeechToSpeech:
    """One call. `voices` say what is left to say when the provider fails; `silence_s` is what ends
    a turn of the caller's."""

    def __init__(
        self,
        stream: Stream,
        session: RealtimeSession,
        *,
        voices: Voices,
        giving_up: str,
        silence_s: float,
        call_s: float,
        told: Told,
    ) -> None:
        self._stream, self._session, self._told = stream, session, told
        self._voices, self._giving_up = voices, giving_up
        self._silence_s, self._call_s = silence_s, call_s
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting: deque[AudioPiece | TurnEnded] = deque()
        self._has_more = asyncio.Event()
        self._playing = ""  # the item whose audio was sent last
        self._item_at = 0  # where in the playout it begins
        self._sizes: Counter[str] = Counter()  # bytes that came of each item
        self._said: TurnEnded | None = None  # all of it was sent, and is being heard
        self._cut: dict[str, float] = {}  # how much was heard of items that were interrupted
        self._turn: TurnTaken | None = None
        self._asked_at = 0.0  # the caller's last word
        self._taken = 0

    async def run(self) -> str:
        """Hold it: stream_over, time_limit, provider_failed, or what end() was told."""
        limit = asyncio.get_running_loop().call_later(self._call_s, self.end, "time_limit")
        hearing = asyncio.create_task(self._hear())
        following = asyncio.create_task(self._follow())
        playing = asyncio.create_task(self._play())
        tasks: set[asyncio.Future[Any]] = {hearing, following, playing}
        try:
            await asyncio.wait({*tasks, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if following.done() and isinstance(error := following.exception(), ProviderError):
                self._told.agent_failed(error)
                await self._apologise(playing)
                return "provider_failed"
            for task in tasks:
                if task.done():
                    task.result()
            return self._over.result() if self._over.done() else "stream_over"
        finally:
            limit.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._settle(self._heard_words(), was_interrupted=True)
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
            match event:
                case AudioPiece():
                    self._sizes[event.item_id] += len(event.audio)
                    self._put(event)
                case CallerStarted():
                    self._interrupt()
                case CallerStopped():
                    self._asked_at = time.monotonic() - self._silence_s
                    if self._turn is None:
                        self._turn = TurnTaken(self._taken + 1, "")
                case TurnEnded(speaker="caller"):
                    if self._turn is not None:
                        self._turn.caller = f"{self._turn.caller} {event.text}".strip()
                case TurnEnded() if event.item_id in self._cut:
                    words = _share(event.text, self._cut[event.item_id])
                    self._settle(words, was_interrupted=True)
                case TurnEnded():
                    self._put(event)

    def _put(self, event: AudioPiece | TurnEnded) -> None:
        self._waiting.append(event)
        self._has_more.set()

    async def _play(self) -> None:
        try:
            while True:
                while not self._waiting:
                    self._has_more.clear()
                    await self._has_more.wait()
                event = self._waiting.popleft()
                if isinstance(event, TurnEnded):
                    self._said = event
                    if await self._stream.heard(self._stream.mark(event.item_id)):
                        self._settle(event.text)
                    continue
                if event.item_id != self._playing:
                    self._playing, self._item_at = event.item_id, self._stream.playout.sent
                    self._said = None
                    if self._turn is not None:
                        ms = 1000 * (time.monotonic() - self._asked_at)
                        self._turn.ms["first_audio"] = round(ms, 1)
                await self._stream.play(event.audio)
        except StreamEndedError:
            return

    def _interrupt(self) -> None:
        """The caller speaks: nothing more of the answer is played, and the model is told so."""
        began = time.monotonic()
        if not self._waiting and self._stream.ahead_s <= 0:
            return
        heard = max(self._stream.playout.heard(began) - self._item_at, 0)
        words = self._heard_words()
        self._waiting.clear()
        self._stream.clear()
        self._told.barged_in((time.monotonic() - began) * 1000)
        if self._playing:
            self._cut[self._playing] = heard / max(self._sizes[self._playing], 1)
            self._session.truncate(self._playing, heard // 8)
        if words:
            self._settle(words, was_interrupted=True)

    def _heard_words(self) -> str:
        """What was heard by now of the answer, where its words are known."""
        waiting = (event for event in self._waiting if isinstance(event, TurnEnded))
        said = next(waiting, self._said)
        if said is None or said.item_id != self._playing:
            return ""
        heard = max(self._stream.playout.heard(time.monotonic()) - self._item_at, 0)
        return _share(said.text, heard / max(self._sizes[self._playing], 1))

    def _settle(self, said: str, *, was_interrupted: bool = False) -> None:
        """Tell the turn, unless it is none, as with the greeting, or nothing of it was heard."""
        turn = self._turn
        if turn is None or not (said or turn.caller):
            return
        turn.agent, turn.was_interrupted = said, was_interrupted
        self._turn, self._taken = None, self._taken + 1
        self._told.turn_taken(turn)

    async def _apologise(self, playing: "asyncio.Task[None]") -> None:
        """Behind what is still to be played of the provider's."""

        async def words() -> Any:
            yield self._giving_up

        playing.cancel()
        await asyncio.wait([playing])
        try:
            await Speaker(self._stream, self._voices).say(words())
        except (ProviderError, StreamEndedError):
            return


def _share(text: str, share: float) -> str:
    words = text.split()
    return " ".join(words[: round(len(words) * min(share, 1.0))])
