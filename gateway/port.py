"""One TCP port for webhooks and streams: the first head of a connection decides who gets it.

A GET of the stream path goes to a MediaSocket, everything else to aiohttp. The decision holds for
the whole connection, so all webhook answers close theirs: behind nginx with kept-alive upstream
connections an upgrade may otherwise follow a POST.
"""

import asyncio
from collections.abc import Callable
from typing import cast

# Twilio's heads have under a kilobyte. What is longer is handed on, to be refused in HTTP.
HEAD_LIMIT = 16384
# A head that comes a byte at a time holds a place for nobody (slowloris).
HEAD_S = 10.0
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 29\r\n"
    b"Connection: close\r\n\r\nthe gateway has no more room\n"
)

Factory = Callable[[], asyncio.BaseProtocol]


class Port:
    """Listens for both; at most `limit` connections at a time.

    `prefix` is of the public URL: some ingresses strip it, some do not.
    """

    def __init__(
        self, webhooks: Factory, streams: Factory, stream_path: str, limit: int, prefix: str = ""
    ) -> None:
        self._webhooks, self._streams = webhooks, streams
        self._stream_paths = (stream_path.encode(), (prefix + stream_path).encode())
        self.limit = limit
        self.connections: set[FirstHead] = set()

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: FirstHead(self), host, port)

    def choose(self, line: bytes) -> asyncio.Protocol:
        """The protocol for a connection that begins with this request line."""
        method, _, rest = line.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        is_stream = method == b"GET" and path in self._stream_paths
        return cast(asyncio.Protocol, (self._streams if is_stream else self._webhooks)())


class FirstHead(asyncio.Protocol):
    """Holds a connection's bytes until its first head is complete, then only hands on."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._held = bytearray()
        self._chosen: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEAD_S, self._transport.abort)
        if len(self._port.connections) >= self._port.limit:
            self._transport.write(BUSY)
            self._transport.close()
        else:
            self._port.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._chosen is not None:
            self._chosen.data_received(data)
            return
        self._held += data
        # RFC 9112 section 2.2: a server should skip an empty line before the request line.
        begun = bytes(self._held.lstrip(b"\r\n"))
        # A lone LF may end a line, too (same section).
        is_whole = b"\r\n\r\n" in begun or b"\n\n" in begun
        if is_whole or len(self._held) > HEAD_LIMIT:
            self._deadline.cancel()
            self._held.clear()
            self._chosen = self._port.choose(begun.partition(b"\n")[0])
            self._chosen.connection_made(self._transport)
            self._chosen.data_received(begun)

    def eof_received(self) -> bool | None:
        return self._chosen.eof_received() if self._chosen is not None else None

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self._port.connections.discard(self)
        if self._chosen is not None:
            self._chosen.connection_lost(error)

    def pause_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.pause_writing()

    def resume_writing(self) -> None:
        if self._chosen is not None:
            self._chosen.resume_writing()
