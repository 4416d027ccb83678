"""What a call needs of speech: four small interfaces, and the one way in which they fail.

Audio is mu-law at 8 kHz everywhere between a provider and a stream. A provider serves many calls
at once; what belongs to one call is in the objects that it hands out.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

Reason = Literal[
    "unauthorized",  # 401, 403: the key is wrong or missing
    "no_credit",  # 402, or a 429 that says so
    "rate_limited",  # 429
    "refused",  # another 4xx: a voice, model or format that the provider does not have
    "unavailable",  # 5xx
    "unreachable",  # no connection
    "timeout",  # it went silent
    "closed",  # it ended in the middle
    "bad_answer",  # it said what its documentation does not
    "not_installed",  # a package or program is missing on this machine
]


class ProviderError(Exception):
    """A provider failed. `str()` is for the log: no secret, at most 300 characters."""

    def __init__(
        self, provider: str, reason: Reason, detail: str = "", *, status: int | None = None
    ) -> None:
        super().__init__(f"{provider}: {reason}{f' ({detail[:200]})' if detail else ''}")
        self.provider = provider
        self.reason = reason
        self.status = status


@asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Stop the work behind an iterator that may not be read to its end."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one party said. `was_interrupted`: the caller cut it short, `text` is what was heard."""

    speaker: Literal["caller", "agent"]
    text: str
    was_interrupted: bool = False


class TextToSpeech(Protocol):
    """A voice."""

    name: str

    async def warm(self) -> None:
        """Do what would make the first word late: load a model, open a connection."""

    def speak(self, text: str) -> AsyncIterator[bytes]:
        """Mu-law audio of one sentence, in pieces of any size, as it is made.

        Raises ProviderError, before the first piece or between two of them. Closing the
        iterator stops the work.
        """

    async def close(self) -> None: ...


class Listener(Protocol):
    """The ears of one call."""

    def begin(self) -> None:
        """An utterance begins; what was heard before it is dropped."""

    def hear(self, audio: bytes) -> None:
        """Take mu-law audio of the utterance. Never waits; a failure shows in transcribe()."""

    async def transcribe(self) -> str:
        """The text of the utterance so far; "" where nothing was understood.

        May be called again after more was heard (a pause that did not end the utterance).
        Raises ProviderError.
        """

    async def close(self) -> None: ...


class SpeechToText(Protocol):
    name: str

    async def warm(self) -> None: ...

    async def listen(self) -> Listener:
        """Open the ears for one call. Raises ProviderError."""

    async def close(self) -> None: ...


class VoiceActivity(Protocol):
    """Tells speech from noise in one call's audio."""

    def receive_audio(self, audio: bytes) -> list[tuple[float, float]]:
        """(probability of speech, seconds) for each window that became complete, in order.

        Windows may come late, several at once.
        """

    def close(self) -> None:
        """The call is over: what it borrowed goes to the next."""


class Agent(Protocol):
    """Who answers."""

    name: str

    async def warm(self) -> None: ...

    def reply(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer to the last turn, in pieces of any size as they are made.

        `turns` are all of the call so far, oldest first, and the last is the caller's. Raises
        ProviderError. Closing the iterator stops the work.
        """

    async def close(self) -> None: ...
