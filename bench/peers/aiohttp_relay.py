"""The usual aiohttp relay: a WebSocket server and a WebSocket client with a pump each way.

Usage: python -m bench.peers.aiohttp_relay LISTEN_PORT UPSTREAM_PORT
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType, web

LISTEN_PORT, UPSTREAM_PORT = map(int, sys.argv[1:3])
CLIENT = web.AppKey("client", ClientSession)

End = ClientWebSocketResponse | web.WebSocketResponse


async def pump(source: End, sink: End) -> None:
    """Pass messages on until the source closes, then close the sink with the same code."""
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
    await sink.close(code=source.close_code or 1000)


async def relay(request: web.Request) -> web.WebSocketResponse:
    """Dial the upstream, answer 101, relay both ways."""
    url = f"ws://127.0.0.1:{UPSTREAM_PORT}{request.rel_url}"
    async with request.app[CLIENT].ws_connect(url, compress=0) as upstream:
        client = web.WebSocketResponse(compress=False)
        await client.prepare(request)
        await asyncio.gather(pump(client, upstream), pump(upstream, client))
    return client


async def client_session(app: web.Application) -> AsyncIterator[None]:
    """One client session for as long as the relay runs, without the limit of 100 connections."""
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        app[CLIENT] = session
        yield


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(client_session)
    app.router.add_get("/{path:.*}", relay)
    web.run_app(
        app,
        host="127.0.0.1",
        port=LISTEN_PORT,
        access_log=None,
        print=None,
        shutdown_timeout=1,
        backlog=1024,
    )
