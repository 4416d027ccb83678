"""OpenAI: a voice by /v1/audio/speech, ears by a realtime transcription session.

Sources: developers.openai.com/api/reference/resources/audio/subresources/speech/methods/create,
/api/docs/guides/text-to-speech, /api/docs/guides/realtime-transcription and
/api/reference/resources/realtime (client and server events).

Models come and go: developers.openai.com/api/docs/deprecations announces the end of tts-1, tts-1-hd
and gpt-4o-mini-tts for January 6, 2027, with a realtime model (realtime.py) as replacement, and of
whisper-1 and the gpt-4o transcribers for February 26, 2027. So a model is a setting, and nothing
but the default of the ears depends on its name. Other servers offer the same /v1/audio/speech.
"""

import base64
import json
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np

from gateway import g711
from gateway.providers.api import Api
from gateway.providers.dialects import Event, Message, Ready, Rejected, Understood
from gateway.providers.dictation import Dictation
from gateway.resample import Resampler
from gateway.speech import Listener

BASE_URL = "https://api.openai.com"
PCM_RATE = 24000  # of response_format "pcm": 16 bits, little endian, no header
# A commit of less is an error ("buffer too small. Expected at least 100ms of audio").
PIECE_MINIMUM = 960


class Voice:
    """Text-to-speech. `voice` is a name of OpenAI's or of the compatible server's."""

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str,
        voice: str = "onyx",
        model: str = "gpt-4o-mini-tts",
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
        self._settings = {"model": model, "voice": voice, "response_format": "pcm"}
        if instructions:  # tts-1 and tts-1-hd know no such field
            self._settings["instructions"] = instructions

    async def warm(self) -> None:
        await self._api.warm("/v1/models")

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        answer = await self._api.post(
            "/v1/audio/speech", {**self._settings, "input": text}, is_repeatable=True
        )
        resampler = Resampler(PCM_RATE, g711.BYTES_PER_SECOND)
        half = b""  # of a sample that the network cut in two
        async with aclosing(self._api.stream(answer, "audio/", "application/octet")) as pieces:
            async for piece in pieces:
                samples, half = _split(half + piece)
                if audio := g711.encode(resampler.receive_pcm(samples)):
                    yield audio
        if audio := g711.encode(resampler.flush()):
            yield audio

    async def close(self) -> None:
        await self._api.close()


def _split(pcm: bytes) -> tuple[np.ndarray[Any, np.dtype[np.int16]], bytes]:
    """The whole samples, and what is left."""
    whole = len(pcm) & ~1
    return np.frombuffer(pcm[:whole], "<i2").astype(np.int16), pcm[whole:]


class Ears:
    """Speech-to-text. `language` is a code of ISO 639-1, "" to let the model tell."""

    name = "openai"

    def __init__(
        self,
        *,
        api_key: str,
        model: str = "gpt-live-transcribe",
        language: str = "en",
        base_url: str = BASE_URL,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        transcript_s: float = 8.0,
    ) -> None:
        self._api = Api(
            self.name, base_url, api_key, connect_s=connect_s, first_byte_s=first_byte_s
        )
        self._model, self._language, self._transcript_s = model, language, transcript_s

    async def warm(self) -> None:
        await self._api.warm("/v1/models")

    async def listen(self) -> Listener:
        dictation = Dictation(
            self._api,
            lambda: Transcription(self._model, self._language),
            transcript_s=self._transcript_s,
        )
        await dictation.open()
        return dictation

    async def close(self) -> None:
        await self._api.close()


class Transcription:
    """The protocol of one transcription session (dialects.py: Dialect).

    A commit makes an item. Its id comes back with `committed`, in the order of the commits; the
    transcripts of several items may come in any order and are told apart by that id.
    """

    path = "/v1/realtime?intent=transcription"
    greets = True
    keep_alive_s: float | None = None
    patience_s: float | None = None

    def __init__(self, model: str, language: str) -> None:
        self._transcription = transcription(model, language)
        self._uncommitted = 0
        self._commits = 0
        self._unnamed: deque[int] = deque()  # committed pieces whose item is not known yet
        self._items: dict[str, int] = {}

    def open(self) -> list[Message]:
        audio = {
            "format": {"type": "audio/pcmu"},
            "transcription": self._transcription,
            # gpt-live-transcribe refuses any other; and we know the turns.
            "turn_detection": None,
        }
        session = {"type": "transcription", "audio": {"input": audio}}
        return [json.dumps({"type": "session.update", "session": session})]

    def send_audio(self, audio: bytes) -> list[Message]:
        self._uncommitted += len(audio)
        return [append(audio)]

    def commit(self) -> tuple[int, list[Message]]:
        messages: list[Message] = []
        if (missing := PIECE_MINIMUM - self._uncommitted) > 0:
            messages.append(append(g711.SILENCE * missing))
        number = self._commits
        self._commits += 1
        self._uncommitted = 0
        self._unnamed.append(number)
        event = {"type": "input_audio_buffer.commit", "event_id": f"commit-{number}"}
        return number, [*messages, json.dumps(event)]

    def drop(self) -> list[Message]:
        if not self._uncommitted:
            return []
        self._uncommitted = 0
        return [json.dumps({"type": "input_audio_buffer.clear", "event_id": "clear"})]

    def keep_alive(self) -> list[Message]:
        return []

    def close(self) -> list[Message]:
        return []

    def settle(self) -> list[Event]:
        return []

    def receive(self, event: dict[str, Any]) -> list[Event]:
        match event.get("type"):
            case "session.updated":
                return [Ready()]
            case "input_audio_buffer.committed" if self._unnamed:
                self._items[str(event.get("item_id"))] = self._unnamed.popleft()
            case "conversation.item.input_audio_transcription.completed":
                if (number := self._number(event)) is not None:
                    return [Understood(number, str(event.get("transcript") or ""))]
            case "conversation.item.input_audio_transcription.failed":
                if (number := self._number(event)) is not None:
                    return [Rejected(event, number)]
            case "error":
                return self._receive_error(event)
        return []

    def _number(self, event: dict[str, Any]) -> int | None:
        """Which piece an event is about. Compatible servers may never have said `committed`."""
        number = self._items.pop(str(event.get("item_id")), None)
        if number is None and self._unnamed:
            return self._unnamed.popleft()
        return number

    def _receive_error(self, event: dict[str, Any]) -> list[Event]:
        """An error names the event of ours that caused it."""
        error = event.get("error")
        cause = str(error.get("event_id")) if isinstance(error, dict) else ""
        if cause == "clear":
            return []  # there was nothing to forget
        for number in self._unnamed:
            if cause == f"commit-{number}":
                self._unnamed.remove(number)
                return [Rejected(event, number)]
        return [Rejected(event)]


def transcription(model: str, language: str) -> dict[str, Any]:
    """The settings of a transcriber. The newer ones take several languages, under another name."""
    if not language:
        return {"model": model}
    if model.startswith(("gpt-transcribe", "gpt-live-transcribe")):
        return {"model": model, "languages": [language]}
    return {"model": model, "language": language}


def append(audio: bytes) -> str:
    """The event that carries audio, in transcription and in conversation."""
    encoded = base64.b64encode(audio).decode()
    return f'{{"type":"input_audio_buffer.append","audio":"{encoded}"}}'
