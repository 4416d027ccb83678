"""The usual `websockets` relay: a server and a client connection with a pump each way.

Usage: python -m bench.peers.websockets_relay LISTEN_PORT UPSTREAM_PORT
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

LISTEN_PORT, UPSTREAM_PORT = map(int, sys.argv[1:3])


async def pump(source: Connection, sink: Connection) -> None:
    """Pass messages on until either end closes, then close the sink with the same code."""
    try:
        async for message in source:
            await sink.send(message)
    except ConnectionClosed:
        pass
    await sink.close(source.close_code if source.close_code in (1000, 1001) else 1000)


async def relay(client: ServerConnection) -> None:
    """Dial the upstream for a client that has its 101, relay both ways."""
    assert client.request is not None
    url = f"ws://127.0.0.1:{UPSTREAM_PORT}{client.request.path}"
    async with connect(url, compression=None, ping_interval=None, proxy=None) as upstream:
        await asyncio.gather(pump(client, upstream), pump(upstream, client))


async def main() -> None:
    """Serve until killed."""
    async with serve(
        relay, "127.0.0.1", LISTEN_PORT, compression=None, ping_interval=None, backlog=1024
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
