"""A conversation: hear, understand, reply, speak, and be silent at once when the caller speaks.

    caller's audio ─▶ voice activity ─▶ turns ─▶ ears ─▶ agent ─▶ sentences ─▶ voice ─▶ stream
                                          └── the caller speaks while we do: `clear`, reply dropped

One task takes what the stream brings and never waits for speech. One task at a time, `_speaking`,
thinks and talks; the caller's voice cancels it. A caller who speaks on before a word of the answer
was heard goes on with the same utterance: both halves are understood together.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.g711 import BYTES_PER_SECOND
from gateway.hearing import Hearing
from gateway.messages import Media
from gateway.speaker import Speaker
from gateway.speech import Agent, Listener, ProviderError, Turn, VoiceActivity, closing
from gateway.stream import Stream, StreamEndedError
from gateway.turns import SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted, TurnDetector
from gateway.voices import Voices

# What is heard of an utterance from before its first voiced window: soft consonants, and some of
# the silence before them. With 0.3 s Whisper repeats itself, or begins in the middle of a sentence.
PREROLL = int(0.5 * BYTES_PER_SECOND)
RECENT = 4 * BYTES_PER_SECOND  # is kept for it: voice activity may be late by three seconds
# Digits pressed within so long of each other are one entry.
DIGITS_S = 2.0
DIGITS_LIMIT = 32
# A sound shorter than this that nobody understood was a cough, and is not answered.
WORD_S = 0.5
# Twilio sends silence, too: a stream that stops within an utterance has a network in trouble, and
# goes on where it stopped. A peer that stops for longer has nothing more to say.
STALL_S = 1.5
# Frames that wait for us to read them are none that do not come.
LAG_S = 0.1
# Failures, and prompts that nobody answered, in a row until the call is ended.
PATIENCE = 2


class Told(Protocol):
    """Who is told what happens in the call."""

    def turn_taken(self, turn: "TurnTaken") -> None: ...
    def barged_in(self, clear_ms: float) -> None: ...
    def agent_failed(self, error: ProviderError) -> None: ...


@dataclass(frozen=True, slots=True)
class Phrases:
    """What is said when the agent is not asked."""

    greeting: str = ""
    not_understood: str = "Sorry, I did not understand that. Could you say it again?"
    no_answer: str = "Sorry, something went wrong on my side. Could you say that again?"
    giving_up: str = "I am sorry, I cannot answer right now. Please call again later."
    still_there: str = "Are you still there?"
    goodbye: str = "Goodbye."


@dataclass(frozen=True, slots=True)
class Manners:
    """How the conversation is held. Times are seconds."""

    pause_s: float = 0.2
    silence_s: float = 0.5
    barge_in: bool = True
    barge_in_greeting: bool = True
    no_input_s: float = 15.0
    call_s: float = 1800.0


@dataclass(slots=True)
class TurnTaken:
    """What the caller said, what the caller then heard, and when: `ms` since the speech ended.

    pause (the end was certain), transcript, reply (its first sentence), first_audio (sent).
    """

    number: int
    caller: str
    agent: str = ""
    was_interrupted: bool = False
    ms: dict[str, float] = field(default_factory=dict)


class Conversation:
    """One call. `run()` holds it to its end and tells how it ended.

    `ears` are on their way: they were asked for when the TwiML was, not when the stream opened.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        voices: Voices,
        ears: Awaitable[Listener],
        activity: VoiceActivity,
        agent: Agent,
        phrases: Phrases,
        manners: Manners,
        told: Told,
    ) -> None:
        self._stream = stream
        self._speaker = Speaker(stream, voices)
        self._activity, self._agent = activity, agent
        self._hearing = Hearing(ears, self._notice_deafness)
        self._phrases, self._manners, self._told = phrases, manners, told
        self._detector = TurnDetector(pause_s=manners.pause_s, silence_s=manners.silence_s)
        self._recent = bytearray()
        self._received = 0  # bytes of the caller's audio
        self._is_hearing = False
        self._heard_at = 0.0  # the last frame came
        self._was_answered = True  # a word of ours followed the last utterance
        self._speaking: asyncio.Task[None] | None = None
        self._protected: asyncio.Task[None] | None = None  # speech that is not interrupted
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._digits = ""
        self._failures = self._prompts = 0
        self._turn: TurnTaken | None = None
        self._turn_began = 0.0
        self.taken: list[TurnTaken] = []
        self.turns: list[Turn] = []

    async def run(self) -> str:
        """Hold it: stream_over, no_input, time_limit, provider_failed, or what end() was told."""
        self._set_timer("call", self._manners.call_s, self._reach_time_limit)
        self._start(
            lambda: self._say(self._phrases.greeting),
            is_protected=not self._manners.barge_in_greeting,
        )
        hearing = asyncio.create_task(self._receive())
        try:
            either: set[asyncio.Future[Any]] = {hearing, self._over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return self._over.result()
            hearing.result()
            return "stream_over"
        finally:
            for timer in self._timers.values():
                timer.cancel()
            running = (hearing, self._protected, self._speaking)
            tasks = [task for task in running if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._activity.close()
            if self._turn is not None:
                self._close_turn(self._speaker.heard(), was_interrupted=True)
            await self._hearing.close()

    def end(self, ending: str) -> None:
        """Have run() return this."""
        if not self._over.done():
            self._over.set_result(ending)

    async def _receive(self) -> None:
        async for message in self._stream.messages():
            if isinstance(message, Media):
                self._hear(message.audio)
            else:
                self._press(message.digit)

    # What the caller does.

    def _hear(self, audio: bytes) -> None:
        """Take one frame; within it the caller may begin, pause or end."""
        self._heard_at = time.monotonic()
        self._received += len(audio)
        self._recent += audio
        if len(self._recent) > 2 * RECENT:
            del self._recent[:-RECENT]
        if self._is_hearing:
            self._hearing.hear(audio)
        for probability, seconds in self._activity.receive_audio(audio):
            self._detect(probability, seconds)

    def _detect(self, probability: float, seconds: float) -> None:
        for event in self._detector.receive(probability, seconds):
            match event:
                case SpeechStarted():
                    self._begin_utterance(event)
                case SpeechPaused():
                    self._hearing.pause()
                case SpeechResumed():
                    self._hearing.resume()
                case SpeechEnded():
                    self._end_utterance(event)

    def _begin_utterance(self, event: SpeechStarted) -> None:
        self._watch_for_stall()
        self._interrupt()
        self._cancel_timer("no_input")
        self._is_hearing = True
        late = max(self._received - round(event.known_at_s * BYTES_PER_SECOND), 0)
        before = bytes(self._recent[-PREROLL - late :])
        self._hearing.begin(before, goes_on=not self._was_answered)
        self._was_answered = False

    def _end_utterance(self, event: SpeechEnded) -> None:
        self._is_hearing = False
        speech_ended = time.monotonic() - event.silence_s
        self._start(lambda: self._answer(speech_ended, event.speech_s))

    def _notice_deafness(self) -> None:
        self._start(lambda: self._give_up("provider_failed"))

    def _press(self, digit: str) -> None:
        self._interrupt()
        self._cancel_timer("no_input")
        if digit != "#":
            self._digits += digit
        if digit == "#" or len(self._digits) >= DIGITS_LIMIT:
            self._enter_digits()
        else:
            self._set_timer("digits", DIGITS_S, self._enter_digits)

    def _enter_digits(self) -> None:
        self._cancel_timer("digits")
        pressed, self._digits = self._digits or "#", ""
        pressed_at = time.monotonic()
        self._start(lambda: self._reply(f"[pressed {' '.join(pressed)}]", pressed_at, {}))

    def _interrupt(self, *, by_caller: bool = True) -> None:
        """Drop what we think and say, and be silent within this frame."""
        speaking = self._speaking
        if speaking is None or speaking.done() or speaking is self._protected:
            return
        if self._speaker.has_begun and (self._protected is None or self._protected.done()):
            began = time.monotonic()
            heard = self._speaker.heard()
            self._stream.clear()
            if by_caller:
                self._told.barged_in((time.monotonic() - began) * 1000)
            self.turns.append(Turn("agent", heard, was_interrupted=True))
            if self._turn is not None:
                self._close_turn(heard, was_interrupted=True)
        elif self._turn is not None:  # nothing of the answer was heard: the utterance goes on
            self.turns.pop()
            self._turn = None
        speaking.cancel()

    # What we say.

    def _start(
        self, speech: Callable[[], Coroutine[Any, Any, None]], *, is_protected: bool = False
    ) -> None:
        """Think and talk, behind what may not be interrupted. Only the last start counts."""
        self._interrupt(by_caller=False)
        before = self._protected

        async def speak() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await speech()
            except StreamEndedError:
                return
            except ProviderError:
                self.end("provider_failed")  # every voice failed; the apology was played
                return
            self._set_timer("no_input", self._manners.no_input_s, self._ask_for_input)

        self._speaking = asyncio.create_task(speak())
        self._speaking.add_done_callback(self._look_at_end)
        if is_protected or not self._manners.barge_in:
            self._protected = self._speaking

    def _look_at_end(self, speaking: "asyncio.Task[None]") -> None:
        """A fault of ours must not become silence."""
        fault = None if speaking.cancelled() else speaking.exception()
        if fault is not None and not self._over.done():
            self._over.set_exception(fault)

    async def _say(self, text: str) -> None:
        if text:
            self.turns.append(Turn("agent", await self._speaker.say(_pieces(text))))
            self._was_answered = True

    async def _answer(self, speech_ended: float, speech_s: float) -> None:
        ms = {"pause": _ms_since(speech_ended)}
        try:
            text = await self._hearing.text()
        except ProviderError:
            await self._fail(self._phrases.not_understood)
            return
        ms["transcript"] = _ms_since(speech_ended)
        if text:
            await self._reply(text, speech_ended, ms)
        elif speech_s >= WORD_S:
            await self._say(self._phrases.not_understood)
        self._was_answered = True

    async def _reply(self, text: str, speech_ended: float, ms: dict[str, float]) -> None:
        self._prompts = 0
        self.turns.append(Turn("caller", text))
        self._turn = TurnTaken(len(self.taken) + 1, text, ms=ms)
        self._turn_began = speech_ended
        said = await self._speaker.say(self._agent_words())
        self._was_answered = True
        self.turns.append(Turn("agent", said))
        self._close_turn(said)
        if self._failures >= PATIENCE:
            self.end("provider_failed")

    async def _agent_words(self) -> AsyncIterator[str]:
        """The agent's reply; where it fails, words that say so."""
        said = ""
        try:
            async with closing(self._agent.reply(tuple(self.turns))) as pieces:
                async for piece in pieces:
                    said = piece.rstrip() or said
                    yield piece
        except ProviderError as error:
            self._told.agent_failed(error)
            self._failures += 1
            is_last = self._failures >= PATIENCE
            if said and not said.endswith((".", "?", "!")):
                yield "."  # what was begun is no part of the next sentence
            yield f" {self._phrases.giving_up if is_last else self._phrases.no_answer}"
        else:
            self._failures = 0

    def _close_turn(self, said: str, *, was_interrupted: bool = False) -> None:
        turn, self._turn = self._turn, None
        assert turn is not None  # noqa: S101 - callers look
        turn.agent, turn.was_interrupted = said, was_interrupted
        for name, at in (("reply", self._speaker.text_at), ("first_audio", self._speaker.audio_at)):
            if at is not None:
                turn.ms[name] = round((at - self._turn_began) * 1000, 1)
        self.taken.append(turn)
        self._told.turn_taken(turn)

    async def _fail(self, words: str) -> None:
        """Say what went wrong; after the second time in a row, end the call."""
        self._failures += 1
        if self._failures >= PATIENCE or self._hearing.is_deaf:
            await self._give_up("provider_failed")
        else:
            await self._say(words)

    async def _give_up(self, ending: str) -> None:
        await self._say(self._phrases.giving_up)
        self.end(ending)

    async def _leave(self, ending: str) -> None:
        await self._say(self._phrases.goodbye)
        self.end(ending)

    # Timers.

    def _watch_for_stall(self) -> None:
        self._set_timer("stall", STALL_S, self._look_for_stall)

    def _look_for_stall(self, stalled_at: float | None = None) -> None:
        """Ends an utterance whose audio has stopped; looks twice, as it may be us who did."""
        if not self._is_hearing:
            return
        heard_at = self._heard_at
        if time.monotonic() - heard_at < STALL_S:
            self._watch_for_stall()
        elif heard_at != stalled_at:
            self._set_timer("stall", LAG_S, lambda: self._look_for_stall(heard_at))
        else:
            self._detect(0.0, self._manners.silence_s)

    def _ask_for_input(self) -> None:
        if self._is_hearing or self._speaking is None or not self._speaking.done():
            return
        self._prompts += 1
        if self._prompts >= PATIENCE:
            self._start(lambda: self._leave("no_input"))
        else:
            self._start(lambda: self._say(self._phrases.still_there))

    def _reach_time_limit(self) -> None:
        self._start(lambda: self._leave("time_limit"), is_protected=True)

    def _set_timer(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        self._cancel_timer(name)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, act)

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


async def _pieces(text: str) -> AsyncIterator[str]:
    yield text


def _ms_since(then: float) -> float:
    return round((time.monotonic() - then) * 1000, 1)
