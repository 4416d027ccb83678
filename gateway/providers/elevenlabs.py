"""ElevenLabs: a voice that speaks mu-law, and Scribe v2 Realtime as ears.

Sources: elevenlabs.io/docs/api-reference/text-to-speech/stream, /docs/api-reference/voices/get-all,
/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime and /docs/eleven-api/guides/how-to/
speech-to-text/realtime (event reference; transcripts and commit strategies).
"""

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlencode

from gateway import g711
from gateway.providers.api import Api
from gateway.providers.dialects import Event, Message, Ready, Rejected, Understood
from gateway.providers.dictation import Dictation
from gateway.speech import Listener, ProviderError

BASE_URL = "https://api.elevenlabs.io"
# Voices that every account has, by name.
VOICES = {"brian": "nPczCjzI2devNBz1zQrb", "roger": "CwhRBWXzGAHq8TQ4Fs17"}
_VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
# "Commit request ignored: ... You need at least 0.3s of uncommitted audio before committing."
PIECE_MINIMUM = 2560
# Scribe closes a connection on which no audio came for about 15 s.
KEEP_ALIVE_S = 5.0


def sign(key: str) -> Mapping[str, str]:
    return {"xi-api-key": key}


class Voice:
    """Text-to-speech. `voice` is a name, of the account or of VOICES, or a voice's id."""

    name = "elevenlabs"

    def __init__(
        self,
        *,
        api_key: str,
        voice: str = "Brian",
        model: str = "eleven_flash_v2_5",
        language: str = "",
        settings: Mapping[str, Any] | None = None,
        base_url: str = BASE_URL,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        idle_s: float = 5.0,
    ) -> None:
        self._api = Api(
            self.name,
            base_url,
            api_key,
            sign,
            connect_s=connect_s,
            first_byte_s=first_byte_s,
            idle_s=idle_s,
        )
        self._voice = voice
        self._voice_id = VOICES.get(voice.lower()) or (voice if _VOICE_ID.fullmatch(voice) else "")
        self._resolving = asyncio.Lock()
        self._content: dict[str, Any] = {"model_id": model}
        if language:
            self._content["language_code"] = language
        if settings:
            self._content["voice_settings"] = dict(settings)

    async def warm(self) -> None:
        if self._voice_id:
            await self._api.warm("/v1/models")
        else:
            await self._resolve()

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        path = f"/v1/text-to-speech/{await self._resolve()}/stream?output_format=ulaw_8000"
        content = {**self._content, "text": text}
        answer = await self._api.post(path, content, is_repeatable=True)
        async with aclosing(self._api.stream(answer, "audio/", "application/octet")) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        await self._api.close()

    async def _resolve(self) -> str:
        """The id of the voice. Raises ProviderError with the names that there are."""
        async with self._resolving:
            if not self._voice_id:
                voices = _named(await self._api.get_json("/v1/voices"))
                wanted = self._voice.casefold()
                for name, voice_id in voices:
                    # The account shows "Brian - Deep, Resonant and Comforting".
                    if wanted in (name.casefold(), name.partition(" - ")[0].casefold()):
                        self._voice_id = voice_id
                        break
                else:
                    names = ", ".join(sorted(name.partition(" - ")[0] for name, _ in voices))
                    raise ProviderError(
                        self.name, "refused", f"no voice {self._voice!r}; there are {names}"
                    )
        return quote(self._voice_id, safe="")


def _named(answer: Any) -> list[tuple[str, str]]:
    voices = answer.get("voices") if isinstance(answer, dict) else None
    return [
        (voice["name"], voice["voice_id"])
        for voice in (voices if isinstance(voices, list) else [])
        if isinstance(voice, dict)
        and isinstance(voice.get("name"), str)
        and isinstance(voice.get("voice_id"), str)
    ]


class Ears:
    """Speech-to-text. `language` is a code of ISO 639, "" to let the model tell."""

    name = "elevenlabs"

    def __init__(
        self,
        *,
        api_key: str,
        model: str = "scribe_v2_realtime",
        language: str = "en",
        base_url: str = BASE_URL,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        transcript_s: float = 8.0,
    ) -> None:
        self._api = Api(
            self.name, base_url, api_key, sign, connect_s=connect_s, first_byte_s=first_byte_s
        )
        self._model, self._language, self._transcript_s = model, language, transcript_s

    async def warm(self) -> None:
        await self._api.warm("/v1/models")

    async def listen(self) -> Listener:
        dictation = Dictation(
            self._api,
            lambda: Scribe(self._model, self._language),
            transcript_s=self._transcript_s,
        )
        await dictation.open()
        return dictation

    async def close(self) -> None:
        await self._api.close()


class Scribe:
    """The protocol of one realtime session, with manual commits (dialects.py: Dialect).

    Committed transcripts carry no id: they are taken in the order of the commits. There is no
    message to forget audio, so what is to be dropped is committed and its transcript thrown away.
    """

    greets = True
    keep_alive_s: float | None = KEEP_ALIVE_S
    patience_s: float | None = None

    def __init__(self, model: str, language: str) -> None:
        query = {"model_id": model, "audio_format": "ulaw_8000", "commit_strategy": "manual"}
        if language:
            query["language_code"] = language
        self.path = f"/v1/speech-to-text/realtime?{urlencode(query)}"
        self._uncommitted = 0
        self._has_speech = False  # besides the silence that keeps the connection
        self._commits = 0
        self._awaited: deque[int | None] = deque()  # None: nobody wants to know
        self._early = ""  # committed without being asked, as happens after 30 s or more

    def open(self) -> list[Message]:
        return []

    def send_audio(self, audio: bytes) -> list[Message]:
        self._has_speech = True
        return [self._chunk(audio)]

    def commit(self) -> tuple[int, list[Message]]:
        number = self._commits
        self._commits += 1
        return number, self._commit(number)

    def drop(self) -> list[Message]:
        self._awaited = deque(None for _ in self._awaited)
        self._early = ""
        return self._commit(None) if self._has_speech else []

    def keep_alive(self) -> list[Message]:
        return [self._chunk(g711.SILENCE * g711.FRAME_BYTES)]

    def close(self) -> list[Message]:
        return []

    def settle(self) -> list[Event]:
        return []

    def receive(self, event: dict[str, Any]) -> list[Event]:
        match event.get("message_type"):
            case "session_started":
                return [Ready()]
            case "committed_transcript":
                return self._receive_text(str(event.get("text") or ""))
            case "commit_throttled" if self._awaited:
                number = self._awaited.popleft()
                return [] if number is None else [Rejected(event, number)]
            case _ if "error" in event:
                return [Rejected(event)]
        return []

    def _receive_text(self, text: str) -> list[Event]:
        if not self._awaited:
            self._early = f"{self._early} {text}".strip()
            return []
        number = self._awaited.popleft()
        if number is None:
            return []
        text, self._early = f"{self._early} {text}".strip(), ""
        return [Understood(number, text)]

    def _commit(self, number: int | None) -> list[Message]:
        messages: list[Message] = []
        if (missing := PIECE_MINIMUM - self._uncommitted) > 0:
            messages.append(self._chunk(g711.SILENCE * missing))
        self._uncommitted = 0
        self._has_speech = False
        self._awaited.append(number)
        return [*messages, self._chunk(b"", commit=True)]

    def _chunk(self, audio: bytes, *, commit: bool = False) -> str:
        self._uncommitted += len(audio)
        return json.dumps(
            {
                "message_type": "input_audio_chunk",
                "audio_base_64": base64.b64encode(audio).decode(),
                "commit": commit,
                "sample_rate": g711.BYTES_PER_SECOND,
            }
        )
