"""A whole conversation over a socket that the test plays, with speech that takes no time.

A voiced frame is b"v", a silent one is mu-law silence: the voice activity here looks at that. The
caller's clock is the number of frames. The fake Twilio plays at once: marks are echoed as they
come, unless a test holds them back.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from gateway import conversation
from gateway.conversation import Conversation, Manners, Phrases, TurnTaken
from gateway.ears import Ears
from gateway.messages import Started
from gateway.speech import ProviderError, Turn
from gateway.stream import Stream
from gateway.voices import Voices

VOICED, SILENT = b"v" * 160, b"\xff" * 160
SID = "MZ00000000000000000000000000000000"


class FakeSocket:
    """Twilio's end."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.changed = asyncio.Condition()
        self.echoes_marks = True
        self.is_open = True

    async def receive(self) -> str | None:
        return await self.incoming.get()

    def send(self, *texts: str) -> bool:
        for message in map(json.loads, texts):
            self.sent.append(message)
            if message["event"] == "mark" and self.echoes_marks:
                self.echo(message["mark"]["name"])
        return self.is_open

    def echo(self, name: str) -> None:
        self._say({"event": "mark", "streamSid": SID, "mark": {"name": name}})

    def speak(self, voiced: int, silent: int = 0) -> None:
        """Frames of speech, then of silence."""
        for frame in [VOICED] * voiced + [SILENT] * silent:
            payload = base64.b64encode(frame).decode()
            media = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload}
            self._say({"event": "media", "streamSid": SID, "media": media})

    def press(self, *digits: str) -> None:
        for digit in digits:
            dtmf = {"track": "inbound_track", "digit": digit}
            self._say({"event": "dtmf", "streamSid": SID, "dtmf": dtmf})

    def stop(self) -> None:
        self._say({"event": "stop", "streamSid": SID, "stop": {"accountSid": "", "callSid": ""}})

    def _say(self, message: dict[str, Any]) -> None:
        self.incoming.put_nowait(json.dumps(message))

    @property
    def events(self) -> list[str]:
        """What was sent, runs of media as one."""
        names = [str(message["event"]) for message in self.sent]
        return [
            name for i, name in enumerate(names) if name != "media" or names[i - 1 : i] != [name]
        ]

    @property
    def audio(self) -> bytes:
        media = (message["media"] for message in self.sent if message["event"] == "media")
        return b"".join(base64.b64decode(each["payload"]) for each in media)


class LettersVoice:
    """Says a text as its letters, one frame each: what was said can be read in the audio."""

    name = "letters"

    def __init__(self) -> None:
        self.fails: ProviderError | None = None

    async def warm(self) -> None: ...
    async def close(self) -> None: ...

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        if self.fails is not None:
            raise self.fails
        for letter in text.encode():
            yield bytes([letter]) * 160


class FakeEars:
    """Understands what the test says it does; counts the frames of each transcription."""

    name = "fake"

    def __init__(self, *texts: str | ProviderError) -> None:
        self.texts = list(texts)
        self.heard: list[int] = []
        self.frames = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_closed = False

    async def warm(self) -> None: ...

    async def listen(self) -> "FakeEars":
        return self

    def begin(self) -> None:
        self.frames = 0

    def hear(self, audio: bytes) -> None:
        self.frames += len(audio) // 160

    async def transcribe(self) -> str:
        self.heard.append(self.frames)
        await self.may_answer.wait()
        text = self.texts.pop(0) if self.texts else ""
        if isinstance(text, ProviderError):
            raise text
        return text

    async def close(self) -> None:
        self.is_closed = True


class ByteActivity:
    is_closed = False

    def receive_audio(self, audio: bytes) -> list[tuple[float, float]]:
        return [(0.95 if audio[:1] == b"v" else 0.0, 0.02)]

    def close(self) -> None:
        self.is_closed = True


class FakeAgent:
    name = "fake"

    def __init__(self, *replies: str | ProviderError) -> None:
        self.replies = list(replies)
        self.seen: list[Sequence[Turn]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def warm(self) -> None: ...
    async def close(self) -> None: ...

    async def reply(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        self.seen.append(turns)
        await self.may_answer.wait()
        reply = self.replies.pop(0)
        if isinstance(reply, ProviderError):
            raise reply
        for piece in reply.split(" "):
            yield piece + " "


class Told:
    """What the conversation told, and a way to wait for it."""

    def __init__(self) -> None:
        self.turns: list[TurnTaken] = []
        self.barge_ins: list[float] = []
        self.failures: list[ProviderError] = []

    def turn_taken(self, turn: TurnTaken) -> None:
        self.turns.append(turn)

    def barged_in(self, clear_ms: float) -> None:
        self.barge_ins.append(clear_ms)

    def agent_failed(self, error: ProviderError) -> None:
        self.failures.append(error)


class Call:
    """A running conversation and all that it is made of."""

    def __init__(
        self,
        ears: FakeEars,
        agent: FakeAgent,
        voice: LettersVoice,
        phrases: Phrases,
        manners: Manners,
    ) -> None:
        self.socket, self.told = FakeSocket(), Told()
        self.ears, self.agent, self.voice = ears, agent, voice
        self.lost: list[tuple[ProviderError, str | None]] = []
        started = Started(1, SID, "AC", "CA", ("inbound",), "audio/x-mulaw", 8000, 1, {})
        self.stream = Stream(self.socket, started)  # type: ignore[arg-type]
        failed: Callable[[ProviderError, str | None], None] = lambda *what: self.lost.append(what)  # noqa: E731
        self.activity = ByteActivity()
        self.conversation = Conversation(
            self.stream,
            voices=Voices([voice], failed),
            ears=Ears([ears], failed).listen(),
            activity=self.activity,
            agent=agent,
            phrases=phrases,
            manners=manners,
            told=self.told,
        )
        self.running = asyncio.create_task(self.conversation.run())

    async def until(self, is_so: Callable[[], Any]) -> None:
        while not is_so():
            assert not self.running.done() or is_so(), self.socket.events
            await asyncio.sleep(0.001)

    @property
    def heard(self) -> str:
        """All that was said so far, as letters."""
        return self.socket.audio[::160].decode()


def hold(
    test: Callable[[Call], Coroutine[Any, Any, None]],
    *,
    ears: Sequence[str | ProviderError] = (),
    agent: Sequence[str | ProviderError] = (),
    phrases: Phrases | None = None,
    manners: Manners | None = None,
    voice_fails: ProviderError | None = None,
) -> str:
    """Run a conversation beside a test that plays the caller; how it ended."""

    async def main() -> str:
        voice = LettersVoice()
        voice.fails = voice_fails
        call = Call(
            FakeEars(*ears), FakeAgent(*agent), voice, phrases or Phrases(), manners or Manners()
        )
        async with asyncio.timeout(10):
            try:
                await test(call)
                return await call.running
            finally:
                call.running.cancel()

    return asyncio.run(main())


def test_a_caller_whose_audio_stops_is_answered_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test tools stop; Twilio goes on with silence."""
    monkeypatch.setattr(conversation, "STALL_S", 0.2)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Hi.At three."
        call.socket.stop()

    ended = hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))
    assert ended == "stream_over"


def test_a_gateway_that_was_busy_does_not_take_that_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "STALL_S", 0.2)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20)
        await call.until(lambda: call.ears.frames == 20)
        time.sleep(0.3)  # noqa: ASYNC251 - nothing runs, and frames wait to be read
        asyncio.get_running_loop().call_soon(call.socket.speak, 20, 30)  # as a socket is read
        await call.until(lambda: call.told.turns)
        [frames] = call.ears.heard
        assert 40 <= frames <= 70  # begun once: nothing is heard twice
        call.socket.stop()

    hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))


def test_voice_activity_that_comes_late_loses_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is still being loaded tells all of its windows at once."""
    kept: list[bytes] = []

    def receive_audio(_: ByteActivity, audio: bytes) -> list[tuple[float, float]]:
        kept.append(audio)
        if len(kept) < 50:
            return []
        found = [(0.95 if frame[:1] == b"v" else 0.0, 0.02) for frame in kept]
        kept[:] = [b""] * 50  # from now on at once
        return found if len(found) == 50 else found[-1:]

    monkeypatch.setattr(ByteActivity, "receive_audio", receive_audio)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(60, 30)
        await call.until(lambda: call.told.turns)
        assert call.ears.heard[-1] >= 60
        call.socket.stop()
        await call.running
        assert call.activity.is_closed  # its model is for the next call

    hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))


def test_a_turn_is_heard_understood_and_answered() -> None:
    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Hi.At three."
        [turn] = call.told.turns
        assert (turn.number, turn.caller, turn.agent) == (1, "When?", "At three.")
        assert not turn.was_interrupted
        assert list(turn.ms) == ["pause", "transcript", "reply", "first_audio"]
        assert sorted(turn.ms.values()) == list(turn.ms.values())
        assert turn.ms["pause"] >= 500
        [turns] = call.agent.seen
        assert turns == (Turn("agent", "Hi."), Turn("caller", "When?"))
        assert call.socket.events == ["media", "mark", "media", "mark"]
        call.socket.stop()

    ending = hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))
    assert ending == "stream_over"


def test_the_second_turn_goes_as_the_first() -> None:
    async def test(call: Call) -> None:
        for count in (1, 2, 3):
            call.socket.speak(20, 30)
            await call.until(lambda count=count: len(call.told.turns) == count)  # type: ignore[misc]
        assert [turn.agent for turn in call.told.turns] == ["One.", "Two.", "Three."]
        assert len(call.agent.seen[2]) == 5
        call.socket.incoming.put_nowait(None)

    assert hold(test, ears=["1", "2", "3"], agent=["One.", "Two.", "Three."]) == "stream_over"


def test_the_ears_get_what_was_said_just_before_the_first_voiced_frame() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(0, 40)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        # The first voiced frames stand in the preroll; silence ends the hearing.
        preroll = conversation.PREROLL // 160
        assert 20 + preroll - 5 <= call.ears.heard[0] <= 20 + preroll + 25
        call.socket.stop()

    hold(test, ears=["a"], agent=["b."])


def test_a_pause_is_transcribed_early_and_that_is_the_transcript() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 12)  # 240 ms of silence
        await call.until(lambda: call.ears.heard)
        assert not call.agent.seen
        call.socket.speak(0, 20)
        await call.until(lambda: call.told.turns)
        assert len(call.ears.heard) == 1
        call.socket.stop()

    hold(test, ears=["a"], agent=["b."])


def test_speech_after_a_pause_is_transcribed_again_as_a_whole() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 15)
        await call.until(lambda: call.ears.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        first, *_, last = call.ears.heard
        assert last >= first + 20
        assert call.told.turns[0].caller == "I would like an appointment"
        call.socket.stop()

    hold(test, ears=["I would like", "I would like an appointment"] * 2, agent=["b."])


def test_the_caller_interrupts_and_is_listened_to_at_once() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.heard) >= 50)  # a second is ahead
        sent = len(call.socket.sent)
        call.socket.speak(4)
        await call.until(lambda: call.told.barge_ins)
        assert "clear" in [message["event"] for message in call.socket.sent[sent:]]
        after = call.socket.sent.index(
            next(message for message in call.socket.sent if message["event"] == "clear")
        )
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        first, second = call.told.turns
        assert first.was_interrupted
        assert first.agent in ("", "x" * 300 + ".")  # one word, heard or not
        assert (second.caller, second.agent) == ("No!", "Fine.")
        of_second = [m for m in call.socket.sent[after + 1 :] if m["event"] == "media"]
        assert len(of_second) == len("Fine.")  # nothing of the first came behind the clear
        assert call.agent.seen[1][1].was_interrupted
        call.socket.stop()

    hold(test, ears=["Tell me a story", "No!"], agent=["x" * 300 + ".", "Fine."])


def test_what_was_heard_of_an_interrupted_answer_is_what_the_agent_knows() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.stream.playout.heard(time.monotonic()) >= 12 * 160)
        call.socket.speak(4)
        await call.until(lambda: call.told.barge_ins)
        [turn] = call.told.turns
        words = turn.agent.split()
        assert 1 <= len(words) < 30
        assert words == ["word"] * len(words)
        call.socket.stop()

    hold(test, ears=["Go on"], agent=["word " * 30 + "."])


def test_speaking_on_before_the_answer_is_one_utterance() -> None:
    async def test(call: Call) -> None:
        call.agent.may_answer.clear()
        call.socket.speak(20, 30)
        await call.until(lambda: call.agent.seen)
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.agent.seen) == 2)
        call.agent.may_answer.set()
        await call.until(lambda: call.told.turns)
        [turn] = call.told.turns
        assert turn.caller == "A table for two"
        assert [turn.text for turn in call.agent.seen[1]] == ["A table for two"]
        assert call.ears.heard[-1] >= 40 + 25  # both halves, and the silence between
        assert not call.told.barge_ins
        call.socket.stop()

    hold(test, ears=["A table", "A table for two"], agent=["Fine."])


def test_a_protected_greeting_is_spoken_to_its_end_and_then_answered() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.ears.heard)
        await call.until(lambda: "mark" in call.socket.events)
        assert not call.agent.seen
        call.socket.echoes_marks = True
        call.socket.echo(call.socket.sent[-1]["mark"]["name"])
        await call.until(lambda: call.told.turns)
        assert "clear" not in call.socket.events
        assert call.heard == "Welcome!Yes."
        call.socket.stop()

    hold(
        test,
        ears=["Hello"],
        agent=["Yes."],
        phrases=Phrases(greeting="Welcome!"),
        manners=Manners(barge_in_greeting=False),
    )


def test_without_barge_in_nothing_is_cleared() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        assert "clear" not in call.socket.events
        assert call.heard == "First." + "Second."
        call.socket.stop()

    hold(test, ears=["a", "b"], agent=["First.", "Second."], manners=Manners(barge_in=False))


def test_digits_are_one_entry_until_the_hash() -> None:
    async def test(call: Call) -> None:
        call.socket.press("1", "2", "*", "#")
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "[pressed 1 2 *]"
        call.socket.stop()

    hold(test, agent=["Thanks."])


def test_digits_without_a_hash_are_entered_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "DIGITS_S", 0.05)

    async def test(call: Call) -> None:
        call.socket.press("7")
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "[pressed 7]"
        call.socket.stop()

    hold(test, agent=["Thanks."])


def test_an_agent_that_fails_is_heard_to_fail_and_the_next_turn_works() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].agent == Phrases().no_answer
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        assert call.told.turns[1].agent == "Yes."
        assert [failure.reason for failure in call.told.failures] == ["rate_limited"]
        call.socket.stop()

    failed = ProviderError("chat", "rate_limited", status=429)
    assert hold(test, ears=["a", "b"], agent=[failed, "Yes."]) == "stream_over"


def test_an_agent_that_fails_twice_ends_the_call_after_saying_so() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        call.socket.speak(20, 30)
        await call.running
        assert call.heard.endswith(Phrases().giving_up.replace(". ", "."))

    failed = ProviderError("chat", "unauthorized", status=401)
    assert hold(test, ears=["a", "b"], agent=[failed, failed]) == "provider_failed"


def test_ears_that_fail_are_heard_to_fail() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.heard.endswith("again?"))
        assert [error.reason for error, _ in call.lost] == ["closed"]
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "hello"
        call.socket.stop()

    closed = ProviderError("deepgram", "closed")
    assert hold(test, ears=[closed, "hello"], agent=["Hello."]) == "stream_over"


def test_a_voice_that_fails_ends_the_call_with_the_recorded_apology() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert len(call.socket.audio) > 8000  # the clip
        assert call.lost[0][0].reason == "no_credit"

    broke = ProviderError("elevenlabs", "no_credit", status=402)
    ending = hold(test, voice_fails=broke, phrases=Phrases(greeting="Hi."))
    assert ending == "provider_failed"


def test_noise_that_is_no_word_is_not_answered() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(5, 30)
        await call.until(lambda: call.ears.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Yes."
        call.socket.stop()

    hold(test, ears=["", "hello"], agent=["Yes."])


def test_speech_that_was_not_understood_is_asked_for_again() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(50, 30)
        await call.until(lambda: call.heard.endswith("again?"))
        assert not call.agent.seen
        call.socket.stop()

    hold(test, ears=[""])


def test_a_stream_that_stops_in_mid_sentence_is_silence_all_the_same() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "hello"
        call.socket.stop()

    hold(test, ears=["hello"], agent=["Yes."], manners=Manners(silence_s=0.3))


def test_a_silent_caller_is_asked_once_and_then_told_goodbye() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert call.heard == "Hi.Are you still there?Goodbye."

    manners, phrases = Manners(no_input_s=0.05), Phrases(greeting="Hi.")
    assert hold(test, manners=manners, phrases=phrases) == "no_input"


def test_a_call_ends_at_its_time_limit_with_a_word() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert call.heard.endswith("Goodbye.")

    assert hold(test, manners=Manners(call_s=0.05), phrases=Phrases(greeting="Hi.")) == "time_limit"


def test_a_hang_up_during_playback_ends_everything() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.heard) >= 50)
        call.socket.stop()
        await call.running
        assert call.ears.is_closed
        [turn] = call.told.turns
        assert turn.was_interrupted
        assert len(call.heard) < 100  # of 3000
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    assert hold(test, ears=["a"], agent=["y" * 3000]) == "stream_over"


def test_a_socket_that_is_gone_ends_the_speaking_quietly() -> None:
    async def test(call: Call) -> None:
        call.socket.is_open = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.agent.seen)
        call.socket.incoming.put_nowait(None)

    assert hold(test, ears=["a"], agent=["b."]) == "stream_over"


def test_the_gateway_can_end_it() -> None:
    async def test(call: Call) -> None:
        call.conversation.end("drained")
        call.conversation.end("done")

    assert hold(test) == "drained"
