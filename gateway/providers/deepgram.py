"""Deepgram's live transcription (Nova).

Sources: developers.deepgram.com/reference/speech-to-text/listen-streaming, /docs/finalize,
/docs/audio-keep-alive, /docs/close-stream, /docs/understand-endpointing-interim-results.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from gateway.g711 import BYTES_PER_SECOND
from gateway.providers.api import Api
from gateway.providers.dialects import Event, Message, Rejected, Understood
from gateway.providers.dictation import Dictation
from gateway.speech import Listener

BASE_URL = "https://api.deepgram.com"
# A connection without audio or KeepAlive for 10 s is closed with NET-0001; 3 to 5 s are advised.
KEEP_ALIVE_S = 4.0
# Finalize is answered "in most cases". After so long, what was said until then has to do.
PATIENCE_S = 1.5
# Audio without words may be answered by nothing at all. Of more than this, something is heard.
QUIET_S = 1.0
# Times in the results are rounded, as in 3.6000004.
_ROUNDING_S = 0.05


def sign(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Token {key}"}


class Ears:
    """Speech-to-text. `language` is a BCP-47 tag, or "multi"."""

    name = "deepgram"

    def __init__(
        self,
        *,
        api_key: str,
        model: str = "nova-3",
        language: str = "en",
        options: Mapping[str, str] | None = None,
        base_url: str = BASE_URL,
        connect_s: float = 5.0,
        first_byte_s: float = 10.0,
        transcript_s: float = 8.0,
    ) -> None:
        self._api = Api(
            self.name, base_url, api_key, sign, connect_s=connect_s, first_byte_s=first_byte_s
        )
        self._query = {
            "model": model,
            "language": language,
            "encoding": "mulaw",
            "sample_rate": str(BYTES_PER_SECOND),
            "channels": "1",
            "punctuate": "true",
            "interim_results": "true",  # or silence could not be told from a dead connection
            "endpointing": "false",  # we know the turns
            **(options or {}),
        }
        self._transcript_s = transcript_s

    async def warm(self) -> None:
        await self._api.warm("/v1/models")

    async def listen(self) -> Listener:
        dictation = Dictation(self._api, lambda: Live(self._query), transcript_s=self._transcript_s)
        await dictation.open()
        return dictation

    async def close(self) -> None:
        await self._api.close()


@dataclass(slots=True)
class _Asked:
    """A piece that was finalized: from when to when, in seconds of audio on this connection."""

    number: int
    begins_s: float
    ends_s: float


class Live:
    """The protocol of one connection (dialects.py: Dialect).

    Results tell of a stretch of time: `start` and `duration` in the audio that was sent. Interim
    ones are replaced by later ones for the same stretch, final ones (`is_final`) are not. What we
    asked for is there when a final result answers Finalize (`from_finalize`) or when final results
    reach the end of the audio.
    """

    greets = False
    keep_alive_s: float | None = KEEP_ALIVE_S
    patience_s: float | None = PATIENCE_S

    def __init__(self, query: Mapping[str, str]) -> None:
        self.path = f"/v1/listen?{urlencode(query)}"
        self._sent_s = 0.0
        self._piece_s = 0.0  # where the piece began that is not finalized yet
        self._dropped_s = 0.0  # what was said before is nobody's
        self._commits = 0
        self._asked: list[_Asked] = []
        self._finals: list[str] = []
        self._interim = ""
        self._heard_s = 0.0  # until when anything was said of the audio

    def open(self) -> list[Message]:
        return []

    def send_audio(self, audio: bytes) -> list[Message]:
        self._sent_s += len(audio) / BYTES_PER_SECOND
        return [audio]

    def commit(self) -> tuple[int, list[Message]]:
        number = self._commits
        self._commits += 1
        self._asked.append(_Asked(number, self._piece_s, self._sent_s))
        self._piece_s = self._sent_s
        return number, ['{"type":"Finalize"}']

    def drop(self) -> list[Message]:
        is_pending = self._piece_s < self._sent_s
        self._dropped_s = self._piece_s = self._sent_s
        self._asked.clear()
        self._finals.clear()
        self._interim = ""
        return ['{"type":"Finalize"}'] if is_pending else []

    def keep_alive(self) -> list[Message]:
        return ['{"type":"KeepAlive"}']

    def close(self) -> list[Message]:
        return ['{"type":"CloseStream"}']

    def receive(self, event: dict[str, Any]) -> list[Event]:
        match event.get("type"):
            case "Error":
                return [Rejected(event)]
            case "Results":
                return self._receive_results(event)
        return []  # Metadata, SpeechStarted, UtteranceEnd

    def _receive_results(self, event: dict[str, Any]) -> list[Event]:
        ends_s = _number(event.get("start")) + _number(event.get("duration"))
        if ends_s <= self._dropped_s + _ROUNDING_S and self._dropped_s:
            return []
        self._heard_s = max(self._heard_s, ends_s)
        text = _transcript(event)
        if not event.get("is_final"):
            self._interim = text
            return []
        self._interim = ""
        self._finals.append(text)
        events: list[Event] = []
        if (
            event.get("from_finalize")
            and self._asked
            # or it is a late answer to the Finalize before: that ends where this piece begins
            and ends_s > self._asked[0].begins_s + _ROUNDING_S
        ):
            events.append(self._answer())
        while self._asked and ends_s >= self._asked[0].ends_s - _ROUNDING_S:
            events.append(self._answer())
        return events

    def settle(self) -> list[Event]:
        """Take what was said until now for the answer, if there is any or need not be."""
        events: list[Event] = []
        while self._asked:
            asked = self._asked[0]
            is_heard = self._heard_s > asked.begins_s + _ROUNDING_S
            if not is_heard and asked.ends_s - asked.begins_s > QUIET_S:
                break
            self._finals.append(self._interim)
            self._interim = ""
            events.append(self._answer())
        return events

    def _answer(self) -> Understood:
        text = " ".join(final for final in self._finals if final)
        self._finals.clear()
        return Understood(self._asked.pop(0).number, text)


def _transcript(event: dict[str, Any]) -> str:
    """The first alternative of the first and only channel."""
    match event.get("channel"):
        case {"alternatives": [{"transcript": str(text)}, *_]}:
            return text.strip()
    return ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
