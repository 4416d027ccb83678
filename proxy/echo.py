"""A WebSocket endpoint that answers every message with itself, fragmented where it was.

It stands where no gateway does: behind armed probes that ask for it, and behind the demo. A text
message `hopscope:close CODE REASON` is answered by that Close, so that a probe sees what becomes
of a code that the server sends.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Data

from proxy.routes import Upstream

MESSAGE_LIMIT = 4 << 20  # the doctor's largest probe message is 1 MiB
# The codes that RFC 6455 section 7.4 lets an endpoint send.
_CLOSE = re.compile(r"hopscope:close (10(?:0[0-37-9]|1[0-4])|[34]\d{3})(?: ([ -~]{0,100}))?")


@asynccontextmanager
async def echo_endpoint() -> AsyncIterator[Upstream]:
    """Serve echoes on a free loopback port for as long as the context lasts."""
    async with serve(
        _echo,
        "127.0.0.1",
        0,
        compression=None,
        max_size=MESSAGE_LIMIT,
        ping_interval=None,  # what the prober receives is what it sent
        server_header=None,
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()
        yield Upstream(host, port)


async def _echo(connection: ServerConnection) -> None:
    try:
        while True:
            fragments = connection.recv_streaming()
            first = await anext(fragments)
            second = await anext(fragments, None)
            if second is None:
                if isinstance(first, str) and (wish := _CLOSE.fullmatch(first)):
                    await connection.close(int(wish[1]), wish[2] or "")
                    return
                await connection.send(first)
            else:
                await connection.send(_again(first, second, fragments))
    except ConnectionClosed:
        return


async def _again(first: Data, second: Data, rest: AsyncIterator[Data]) -> AsyncIterator[Data]:
    yield first
    yield second
    async for fragment in rest:
        yield fragment
