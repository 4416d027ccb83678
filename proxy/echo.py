"""A WebSocket endpoint that answers every message with itself, fragmented where it was.

It stands where no gateway does: behind armed probes that ask for it, and behind the demo. Some text
messages are wishes, so that a probe sees what becomes of what only a server does:

    hopscope:close CODE REASON   it sends that Close
    hopscope:ping WORD           it sends that ping; hopscope:pong WORD follows when the pong came
    hopscope:pings               it answers hopscope:pings N: so many pings have come
    hopscope:last-words          once nothing more can come from the client, it says so itself
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.typing import Data

from proxy.routes import Upstream

MESSAGE_LIMIT = 4 << 20  # the doctor's largest probe message is 1 MiB
PONG_S = 10.0
PINGS, LAST_WORDS = "hopscope:pings", "hopscope:last-words"
# The codes that RFC 6455 section 7.4 lets an endpoint send.
_CLOSE = re.compile(r"hopscope:close (10(?:0[0-37-9]|1[0-4])|[34]\d{3})(?: ([ -~]{0,100}))?")
_PING = re.compile(r"hopscope:ping ([!-~]{1,100})")


class _Connection(ServerConnection):
    """Counts pings, and has last words behind the client's end if it was asked for them."""

    pings = 0
    has_last_words = False

    def process_event(self, event: Frame | Request) -> None:  # type: ignore[override]
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
        super().process_event(event)

    def eof_received(self) -> None:
        """A half-close: what is written here goes out before the transport is closed."""
        if self.has_last_words:
            words = LAST_WORDS.encode()
            self.transport.write(bytes((0x81, len(words))) + words)
        super().eof_received()


@asynccontextmanager
async def echo_endpoint() -> AsyncIterator[Upstream]:
    """Serve echoes on a free loopback port for as long as the context lasts."""
    async with serve(
        _echo,
        "127.0.0.1",
        0,
        compression=None,
        create_connection=_Connection,
        max_size=MESSAGE_LIMIT,
        ping_interval=None,  # what the prober receives is what it sent
        server_header=None,
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()
        yield Upstream(host, port)


async def _echo(connection: ServerConnection) -> None:
    assert isinstance(connection, _Connection)  # noqa: S101 - as serve was told
    try:
        while True:
            fragments = connection.recv_streaming()
            first = await anext(fragments)
            second = await anext(fragments, None)
            if second is not None:
                await connection.send(_again(first, second, fragments))
            elif not (isinstance(first, str) and await _granted(connection, first)):
                await connection.send(first)
    except ConnectionClosed:
        return


async def _granted(connection: _Connection, wish: str) -> bool:
    """Whether a message was a wish; it is done."""
    if found := _CLOSE.fullmatch(wish):
        await connection.close(int(found[1]), found[2] or "")
    elif found := _PING.fullmatch(wish):
        with suppress(TimeoutError):
            async with asyncio.timeout(PONG_S):
                await (await connection.ping(found[1]))
                await connection.send(f"hopscope:pong {found[1]}")
    elif wish == PINGS:
        await connection.send(f"{PINGS} {connection.pings}")
    elif wish == LAST_WORDS:
        connection.has_last_words = True
        await connection.send(wish)
    else:
        return False
    return True


async def _again(first: Data, second: Data, rest: AsyncIterator[Data]) -> AsyncIterator[Data]:
    yield first
    yield second
    async for fragment in rest:
        yield fragment
