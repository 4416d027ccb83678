"""What happens in a speech-to-speech session, read from the provider's events (pure).

Source: developers.openai.com/api/reference/resources/realtime/server-events.
"""

import base64
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """Mu-law audio of one item of the agent's. It comes faster than it is played."""

    item_id: str
    audio: bytes


@dataclass(frozen=True, slots=True)
class CallerStarted:
    """The caller speaks; the provider has cancelled the answer that it was making, if any."""


@dataclass(frozen=True, slots=True)
class CallerStopped:
    """The caller has been silent for as long as ends a turn; an answer follows."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """What one party said. `was_interrupted`: while it was made; what was heard is known to us."""

    speaker: Literal["caller", "agent"]
    item_id: str
    text: str
    was_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """An error that the session survives."""

    text: str


SessionEvent = AudioPiece | CallerStarted | CallerStopped | TurnEnded | Remark


@dataclass(frozen=True, slots=True)
class Failed:
    """The provider cannot go on; the error that it gave."""

    event: dict[str, Any]


class Interplay:
    """Reads the provider's events (pure). `expects`: what must come next, if anything."""

    def __init__(self, *, expects_answer: bool = False) -> None:
        self.expects: Literal["answer", "more"] | None = "answer" if expects_answer else None
        self._said: dict[str, str] = {}  # by item, until its response is done
        self._response = "none"  # that is being made
        self._cut = "none"  # the one that the caller interrupted: what still comes of it is late

    def receive(self, event: dict[str, Any]) -> list[SessionEvent | Failed]:
        item = str(event.get("item_id"))
        text = str(event.get("transcript") or "").strip()
        match event.get("type"):
            case "input_audio_buffer.speech_started":
                self.expects, self._cut = None, self._response
                return [CallerStarted()]
            case "input_audio_buffer.speech_stopped":
                self.expects = "answer"
                return [CallerStopped()]
            case "response.created":
                self.expects, self._response = "answer", _response_id(event)
            case "response.output_audio.delta" if event.get("response_id") != self._cut:
                self.expects = "more"
                audio = _audio(event)
                return [AudioPiece(item, audio) if audio else Remark("audio that is no base64")]
            case "response.output_audio_transcript.done":
                self._said[item] = text
            case "response.done":
                self.expects = None
                return self._end_response(event)
            case "conversation.item.input_audio_transcription.completed":
                return [TurnEnded("caller", item, text)]
            case "conversation.item.input_audio_transcription.failed":
                return [Remark(f"no transcript of the caller: {event.get('error')}")]
            case "error":
                return [self._receive_error(event)]
        return []

    def _end_response(self, event: dict[str, Any]) -> list[SessionEvent | Failed]:
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        if response.get("status") == "failed":
            details = response.get("status_details")
            return [Failed(details if isinstance(details, dict) else {})]
        was_interrupted = response.get("status") == "cancelled"
        said, self._said = self._said, {}
        return [TurnEnded("agent", item, text, was_interrupted) for item, text in said.items()]

    def _receive_error(self, event: dict[str, Any]) -> Remark | Failed:
        """Most errors are about one event of ours, and the session goes on."""
        error = event.get("error")
        error = error if isinstance(error, dict) else {}
        is_one = error.get("type") == "invalid_request_error"
        if is_one and error.get("code") not in ("session_expired", "invalid_api_key"):
            return Remark(f"{error.get('code')}: {error.get('message')}")
        return Failed(event)


def _response_id(event: dict[str, Any]) -> str:
    response = event.get("response")
    return str(response.get("id")) if isinstance(response, dict) else "none"


def _audio(event: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(event.get("delta") or ""), validate=True)
    except ValueError:
        return b""
