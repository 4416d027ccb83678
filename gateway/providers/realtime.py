"""OpenAI Realtime: a model that hears the caller and answers aloud, mu-law both ways.

    session = await realtime.open("Hello, this is Ada.")
    session.hear(frame)                      # each frame of the caller's, speech or not
    async for event in session.events():
        AudioPiece    -> play; note which item it belongs to
        CallerStarted -> stop playing at once, then session.truncate(item, ms that were heard)
        CallerStopped -> an answer is on its way
        TurnEnded     -> what one party said; the caller's may come after the answer to it
        Remark        -> for the log

The provider detects the turns, so neither our endpointing nor a chat agent is needed. A failure is
raised by events(), which ends without one only after close().

Sources: developers.openai.com/api/docs/guides/realtime-conversations and /api/reference/resources/
realtime. gpt-realtime ends on January 20, 2027 (/api/docs/deprecations); gpt-realtime-2.1 is what
is recommended instead.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

from gateway.g711 import BYTES_PER_SECOND
from gateway.providers.api import Api
from gateway.providers.channel import Channel
from gateway.providers.failures import complaint, shown
from gateway.providers.interplay import Failed, Interplay, Remark, SessionEvent
from gateway.providers.openai import BASE_URL, append, transcription
from gateway.speech import ProviderError

INSTRUCTIONS = "You are on the telephone. Answer briefly and kindly, one thing at a time."
# Audio that the provider has not taken. Later than this it is of no use.
QUEUE_LIMIT = 10 * BYTES_PER_SECOND


class Realtime:
    """The provider. Times are seconds; `first_byte_s` is how long an answer may take to begin."""

    name = "openai-realtime"

    def __init__(
        self,
        *,
        api_key: str,
        model: str = "gpt-realtime-2.1",
        voice: str = "marin",
        instructions: str = INSTRUCTIONS,
        transcriber: str = "gpt-4o-mini-transcribe",
        language: str = "en",
        silence_ms: int = 500,
        base_url: str = BASE_URL,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        idle_s: float = 5.0,
    ) -> None:
        self._api = Api(
            self.name,
            base_url,
            api_key,
            connect_s=connect_s,
            first_byte_s=first_byte_s,
            idle_s=idle_s,
        )
        self._path = f"/v1/realtime?{urlencode({'model': model})}"
        self._input = {
            "format": {"type": "audio/pcmu"},
            "turn_detection": {
                "type": "server_vad",
                "silence_duration_ms": silence_ms,
                "create_response": True,
                "interrupt_response": True,
            },
        }
        self._transcription = transcription(transcriber, language) if transcriber else None
        self._instructions = instructions
        self._output = {"format": {"type": "audio/pcmu"}, "voice": voice}

    async def warm(self) -> None:
        await self._api.warm("/v1/models")

    async def open(self, greeting: str | None = None) -> "RealtimeSession":
        """A session that took our settings and says the greeting. Raises ProviderError."""
        channel = await Channel.open(self._api, self._path)
        try:
            async with asyncio.timeout(self._api.first_byte_s):
                await self._introduce(channel)
                if greeting:
                    await channel.send(_say(greeting))
        except TimeoutError:
            channel.abort()
            raise self._api.error("timeout", "the session did not begin") from None
        except BaseException:
            channel.abort()
            raise
        return RealtimeSession(self._api, channel, expects_answer=bool(greeting))

    async def close(self) -> None:
        await self._api.close()

    async def _introduce(self, channel: Channel) -> None:
        """Send our settings; if they are refused, again without the transcriber."""
        attempts = [self._transcription, None] if self._transcription else [None]
        for transcriber in attempts:
            await channel.send(self._update(transcriber))
            event: dict[str, Any] = {}
            while event.get("type") not in ("session.updated", "error"):
                event = await channel.receive()
            if event["type"] == "session.updated":
                return
        raise complaint(self.name, event, secret=self._api.secret)

    def _update(self, transcriber: dict[str, Any] | None) -> str:
        session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": self._instructions,
            "audio": {
                "input": {**self._input, "transcription": transcriber},
                "output": self._output,
            },
        }
        return json.dumps({"type": "session.update", "session": session})


def _say(text: str) -> str:
    wish = f"Say exactly this to the caller, and nothing before or after it: {text}"
    return json.dumps({"type": "response.create", "response": {"instructions": wish}})


class RealtimeSession:
    """One call's conversation."""

    def __init__(self, api: Api, channel: Channel, *, expects_answer: bool) -> None:
        self._api, self._channel = api, channel
        self._interplay = Interplay(expects_answer=expects_answer)
        self._queue: deque[bytes | str] = deque()
        self._waiting = 0  # bytes of audio in the queue
        self._wake = asyncio.Event()
        self._failure: ProviderError | None = None
        self._is_closed = False
        self._sender = asyncio.create_task(self._send())

    def hear(self, audio: bytes) -> None:
        """Take mu-law audio of the caller. Never waits; a failure shows in events()."""
        if self._waiting + len(audio) > QUEUE_LIMIT:
            if self._failure is None:
                self._failure = self._api.error("timeout", "the caller's audio was not taken")
                self._channel.abort()
            return
        self._waiting += len(audio)
        self._put(audio)

    def truncate(self, item_id: str, heard_ms: int) -> None:
        """Make the model forget what the caller did not hear of an item."""
        event = {
            "type": "conversation.item.truncate",
            "event_id": f"truncate-{item_id}",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": heard_ms,
        }
        self._put(json.dumps(event))

    async def events(self) -> AsyncGenerator[SessionEvent, None]:
        """What happens, until close(). Raises ProviderError."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._wait_s()):
                        event = await self._channel.receive()
                except TimeoutError:
                    raise self._api.error("timeout", "the answer does not come") from None
                for happened in self._interplay.receive(event):
                    if isinstance(happened, Failed):
                        raise complaint(self._api.provider, happened.event, secret=self._api.secret)
                    if isinstance(happened, Remark):
                        yield Remark(shown(happened.text, self._api.secret))
                    else:
                        yield happened
        except ProviderError as error:
            if not self._is_closed:
                raise self._failure or error from None

    async def close(self) -> None:
        self._is_closed = True
        self._sender.cancel()
        await asyncio.wait([self._sender])
        await self._channel.close()

    def _wait_s(self) -> float | None:
        """How long the provider may be silent now."""
        match self._interplay.expects:
            case "answer":
                return self._api.first_byte_s
            case "more":
                return self._api.idle_s
        return None

    def _put(self, message: bytes | str) -> None:
        self._queue.append(message)
        self._wake.set()

    async def _send(self) -> None:
        """Send what waits, audio that is next to audio as one event."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    message = self._queue.popleft()
                    if isinstance(message, bytes):
                        while self._queue and isinstance(more := self._queue[0], bytes):
                            message += more
                            self._queue.popleft()
                        self._waiting -= len(message)
                        message = append(message)
                    await self._channel.send(message)
        except ProviderError:
            return  # noticed by who reads
