"""What the edge and cloudflared tell each other about a request, whatever carries it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Fields = tuple[tuple[str, str], ...]
Kind = Literal["http", "websocket"]


class LinkLost(Exception):  # noqa: N818 - what happened
    """The connection to cloudflared ended, or the stream on it."""


@dataclass(frozen=True, slots=True)
class Request:
    """`kind` is what the edge says it is: cloudflared never looks at the Upgrade field."""

    method: str
    host: str
    target: str
    fields: Fields
    kind: Kind


@dataclass(frozen=True, slots=True)
class Reply:
    """What cloudflared gave back: `by` its origin, or by itself where it has none to give."""

    status: int
    fields: Fields
    by: Literal["origin", "cloudflared"]
    error: str = ""

    def value(self, name: str) -> str | None:
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class Exchange(Protocol):
    """One request on a link."""

    async def reply(self) -> Reply:
        """Raises LinkLost."""

    async def receive(self) -> bytes:
        """More of the body, b"" at its end. Raises LinkLost."""

    async def send(self, data: bytes) -> None:
        """Raises LinkLost."""

    async def end(self) -> None:
        """Nothing more will be sent."""

    def cancel(self) -> None:
        """The client left."""


class Link(Protocol):
    """A connection that cloudflared made."""

    registered: asyncio.Event
    unregistered: asyncio.Event
    registration: dict[str, Any]

    async def run(self) -> None:
        """Serve it until it ends."""

    async def open(self, request: Request) -> Exchange:
        """Raises LinkLost."""

    def drop(self) -> None:
        """End it without a word, as an edge does that is restarted."""
