"""An OpenAI realtime model as a voice: it reads a text aloud, in mu-law.

This is what developers.openai.com/api/docs/guides/text-to-speech recommends in place of the models
of /v1/audio/speech, which end on January 6, 2027. Each text is a response outside of any
conversation ("conversation": "none", /api/docs/guides/realtime-conversations). The model speaks
rather than reads: now and then it says "I'm" for "I am".

A connection serves one text at a time and is kept for the next. An hour ends it; then another is
opened.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

from gateway.providers.api import Api
from gateway.providers.channel import Channel
from gateway.providers.failures import complaint
from gateway.providers.interplay import AudioPiece, Failed, Interplay
from gateway.providers.openai import BASE_URL

INSTRUCTIONS = (
    "You are a voice, not an assistant. Read the text that the user gives you aloud, word for "
    "word, in a friendly and natural tone. Add nothing, leave nothing out, and never answer it."
)
# Connections that wait for a text. A call needs one, or two where a sentence is made ahead.
IDLE_LIMIT = 4


class Reader:
    """Text-to-speech. `voice` is one of the realtime models': marin and cedar are the best."""

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str,
        voice: str = "marin",
        model: str = "gpt-realtime-2.1-mini",
        instructions: str = "",
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
        self._session = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": f"{INSTRUCTIONS} {instructions}".strip(),
            "audio": {
                "input": {"turn_detection": None},
                "output": {"format": {"type": "audio/pcmu"}, "voice": voice},
            },
        }
        self._idle: list[Channel] = []

    async def warm(self) -> None:
        if not any(channel.is_open for channel in self._idle):
            self._idle.append(await self._open())

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        channel = await self._take()
        is_done = False
        try:
            await channel.send(_read(text))
            interplay = Interplay(expects_answer=True)
            is_audible = False
            while interplay.expects is not None:
                wait_s = self._api.idle_s if is_audible else self._api.first_byte_s
                for happened in interplay.receive(await self._receive(channel, wait_s)):
                    if isinstance(happened, Failed):
                        raise complaint(self.name, happened.event, secret=self._api.secret)
                    if isinstance(happened, AudioPiece):
                        is_audible = True
                        yield happened.audio
            if not is_audible:
                raise self._api.error("bad_answer", "an answer without audio")
            is_done = True
        finally:
            if is_done and len(self._idle) < IDLE_LIMIT:
                self._idle.append(channel)
            else:
                channel.abort()  # and the response with it

    async def close(self) -> None:
        channels, self._idle = self._idle, []
        await asyncio.gather(*(channel.close() for channel in channels))
        await self._api.close()

    async def _take(self) -> Channel:
        while self._idle:
            if (channel := self._idle.pop()).is_open:
                return channel
        return await self._open()

    async def _open(self) -> Channel:
        """A connection on which our settings were accepted. Raises ProviderError."""
        channel = await Channel.open(self._api, self._path)
        try:
            await channel.send(json.dumps({"type": "session.update", "session": self._session}))
            event: dict[str, Any] = {}
            while event.get("type") != "session.updated":
                event = await self._receive(channel, self._api.first_byte_s)
                if event.get("type") == "error":
                    raise complaint(self.name, event, secret=self._api.secret)
        except BaseException:
            channel.abort()
            raise
        return channel

    async def _receive(self, channel: Channel, wait_s: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(wait_s):
                return await channel.receive()
        except TimeoutError:
            raise self._api.error("timeout", f"silent for {wait_s:g} s") from None


def _read(text: str) -> str:
    content = [{"type": "input_text", "text": text}]
    response = {
        "conversation": "none",
        "input": [{"type": "message", "role": "user", "content": content}],
    }
    return json.dumps({"type": "response.create", "response": response})
