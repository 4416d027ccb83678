"""What the vendors' streaming recognisers have in common: one interface over their protocols.

A dialect is pure: audio and events in, messages and events out. It lives as long as one connection.
The vendors' own are in openai.py, elevenlabs.py and deepgram.py; dictation.py is the shell.
"""

from dataclasses import dataclass
from typing import Any, Protocol

Message = str | bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """The provider has accepted our settings."""


@dataclass(frozen=True, slots=True)
class Understood:
    """The text of piece `number`, as commit() counted it."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An error event about piece `number`; None where it is about the connection."""

    event: dict[str, Any]
    number: int | None = None


Event = Ready | Understood | Rejected


class Dialect(Protocol):
    """Our side of one connection. Messages that a method returns are sent, in order."""

    # The path and query that the connection is opened with.
    path: str
    # Whether a Ready comes before audio may be sent.
    greets: bool
    # After so long without anything to send, keep_alive() is sent.
    keep_alive_s: float | None
    # After so long without an answer to a commit, settle() makes do with what there is.
    patience_s: float | None

    def open(self) -> list[Message]: ...

    def send_audio(self, audio: bytes) -> list[Message]: ...

    def commit(self) -> tuple[int, list[Message]]:
        """Ask for the text of the audio since the last commit. Pieces are counted from 0."""

    def drop(self) -> list[Message]:
        """Forget the audio since the last commit, and the pieces that are not answered yet."""

    def keep_alive(self) -> list[Message]: ...

    def close(self) -> list[Message]: ...

    def receive(self, event: dict[str, Any]) -> list[Event]: ...

    def settle(self) -> list[Event]: ...
