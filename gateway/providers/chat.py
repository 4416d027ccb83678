"""An agent behind any OpenAI-compatible chat endpoint, its answer streamed.

POST {base_url}/chat/completions with "stream": true (developers.openai.com/api/reference/resources/
chat). OpenAI, OpenClaw's gateway, ollama and vLLM all have it, with differences that are tolerated
here: fields that are missing or null, reasoning beside or within the answer, no [DONE] at the end,
one whole answer where a stream was asked for.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import aiohttp

from gateway.providers.api import Api
from gateway.providers.event_stream import EventStream
from gateway.providers.failures import complaint
from gateway.speech import Turn

SYSTEM = (
    "You are on the telephone. Answer in one to three short spoken sentences: "
    "no lists, no markup, no emoji, numbers and abbreviations as they are said. "
    "What the caller says was transcribed and may contain mistakes."
)
CUT_SHORT = "[the caller interrupted here]"
_MEDIA = ("text/event-stream", "application/json", "application/x-ndjson", "text/plain")
_T = TypeVar("_T")


class Chat:
    """The agent. `base_url` ends in /v1; `options` are further fields of the request.

    `first_token_s` runs until the first word of the answer, reasoning included.
    """

    def __init__(
        self,
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key: str = "",
        model: str = "gpt-6-luna",
        system: str = SYSTEM,
        options: Mapping[str, Any] | None = None,
        turns_limit: int = 40,
        characters_limit: int = 2000,
        name: str = "chat",
        connect_s: float = 5.0,
        first_token_s: float = 15.0,
        idle_s: float = 8.0,
    ) -> None:
        self.name = name
        self._api = Api(
            name, base_url, api_key, connect_s=connect_s, first_byte_s=first_token_s, idle_s=idle_s
        )
        self._content = {**(options or {}), "model": model, "stream": True}
        self._system, self._turns_limit = system, turns_limit
        self._characters_limit = characters_limit

    async def warm(self) -> None:
        await self._api.warm("/models")

    async def reply(self, turns: Sequence[Turn]) -> AsyncGenerator[str, None]:
        """As in gateway/speech.py: Agent. Closing the iterator aborts the request."""
        deadline = asyncio.get_running_loop().time() + self._api.first_byte_s
        content = {**self._content, "messages": messages(self._system, turns, self._turns_limit)}
        answer = await self._until(deadline, self._api.post("/chat/completions", content))
        said = 0
        async with aclosing(self._pieces(answer)) as pieces:
            while True:
                piece = await self._until(None if said else deadline, anext(pieces, None))
                if piece is None:
                    break
                piece = piece[: self._characters_limit - said]
                said += len(piece)
                yield piece
                if said >= self._characters_limit:
                    return
        if not said:
            raise self._api.error("bad_answer", "an answer without words")

    async def close(self) -> None:
        await self._api.close()

    async def _until(self, deadline: float | None, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError:
            silent_s = self._api.first_byte_s
            raise self._api.error("timeout", f"no word within {silent_s:g} s") from None

    async def _pieces(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[str, None]:
        """The words of the answer as they come, without what the model thought before them."""
        thought = Thought()
        async with aclosing(self._events(answer)) as events:
            async for event in events:
                if event.get("error"):
                    raise complaint(self.name, event, secret=self._api.secret)
                if piece := thought.receive_text(_text(event)):
                    yield piece
        if piece := thought.flush():
            yield piece

    async def _events(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of the answer. Raises ProviderError where it ended before it was finished."""
        reader = EventStream()
        is_stream = answer.content_type != "application/json"
        body, is_finished = b"", False
        async with aclosing(self._api.stream(answer, *_MEDIA)) as pieces:
            async for data in pieces:
                if not is_stream:
                    body += data
                    continue
                for event in self._parsed(reader.receive_data(data)):
                    if event is None:
                        return
                    is_finished |= _is_last(event)
                    yield event
                if reader.is_blind:
                    raise self._api.error("bad_answer", "an event without end")
        rest = reader.receive_eof() if is_stream else [body.decode(errors="replace")]
        for event in self._parsed(rest):
            if event is None:
                return
            is_finished |= _is_last(event) or not is_stream
            yield event
        if not is_finished:
            raise self._api.error("closed", "the answer broke off")

    def _parsed(self, texts: Sequence[str]) -> list[dict[str, Any] | None]:
        """JSON objects; None for the [DONE] that ends the stream."""
        events: list[dict[str, Any] | None] = []
        for text in texts:
            if text.strip() == "[DONE]":
                return [*events, None]
            try:
                event = json.loads(text)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict):
                raise self._api.error("bad_answer", f"no JSON object: {text[:80]!r}")
            events.append(event)
        return events


def messages(system: str, turns: Sequence[Turn], limit: int) -> list[dict[str, str]]:
    """The last turns in the endpoint's words.

    Some models' templates insist that user and assistant alternate, user first. So turns of one
    speaker in a row are joined, and what the agent said before the first is told by the system.
    """
    said: list[dict[str, str]] = []
    for turn in turns[-limit:]:
        text = f"{turn.text} {CUT_SHORT}" if turn.was_interrupted else turn.text
        role = "user" if turn.speaker == "caller" else "assistant"
        if not text.strip():
            continue
        if said and said[-1]["role"] == role:
            said[-1]["content"] += f" {text.strip()}"
        else:
            said.append({"role": role, "content": text.strip()})
    if said and said[0]["role"] == "assistant":
        system = f"{system}\n\nBefore the first message you said: {said.pop(0)['content']}".strip()
    return [{"role": "system", "content": system}, *said] if system else said


class Thought:
    """Leaves out a <think>...</think> at the beginning, where some servers put the reasoning."""

    _OPEN, _CLOSE = "<think>", "</think>"

    def __init__(self) -> None:
        self._text = ""
        self._state = "unknown"

    def receive_text(self, text: str) -> str:
        if self._state == "over":
            return text
        if self._state == "ending":
            return self._end(text.lstrip())
        self._text += text
        if self._state == "unknown":
            begin = self._text.lstrip()
            if begin.startswith(self._OPEN):
                self._state = "thinking"
            elif not self._OPEN.startswith(begin):
                return self._end(self._text)
        if self._state == "thinking":
            _, end, answer = self._text.partition(self._CLOSE)
            if end:
                return self._end(answer.lstrip())
        return ""

    def flush(self) -> str:
        """What was held back for it could have been the beginning of a thought."""
        return self._end(self._text if self._state == "unknown" else "")

    def _end(self, text: str) -> str:
        """The first words; until there are any, the blanks before them are left out."""
        self._state, self._text = "over" if text else "ending", ""
        return text


def _choice(event: dict[str, Any]) -> dict[str, Any]:
    match event.get("choices"):
        case [dict(choice), *_]:
            return choice
    return {}  # as in the chunk that only tells the usage


def _text(event: dict[str, Any]) -> str:
    choice = _choice(event)
    delta = choice.get("delta") or choice.get("message")
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


def _is_last(event: dict[str, Any]) -> bool:
    return bool(_choice(event).get("finish_reason"))
