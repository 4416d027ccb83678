"""A conversation over a socket that the test plays, with speech that takes no time.

A voiced frame is b"v", a silent one is mu-law silence: the voice activity here looks at that. The
caller's clock is the number of frames. The fake Twilio plays at once: marks are echoed as they
come, unless a test holds them back.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

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
