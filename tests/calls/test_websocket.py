"""The gateway's WebSocket and the port that it shares with webhooks, on real sockets."""

import asyncio
import base64
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request

from gateway import websocket
from gateway.port import Port
from gateway.websocket import MediaSocket

Serve = Callable[[MediaSocket], Coroutine[Any, Any, None]]
UPGRADE = (
    b"GET /voice/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def _echo(media: MediaSocket) -> None:
    while (message := await media.receive()) is not None:
        media.send(message if isinstance(message, str) else f"{len(message)} bytes")


@asynccontextmanager
async def _listening(
    serve: Serve = _echo,
    check: websocket.Check = lambda _request: None,
    limit: int = 10,
) -> AsyncIterator[int]:
    async def webhook(request: web.BaseRequest) -> web.Response:
        return web.Response(text=f"{request.method} {request.path_qs} {len(await request.read())}")

    aiohttp_server = web.Server(webhook)
    port = Port(aiohttp_server, lambda: MediaSocket(check, serve), "/voice/stream", limit)
    server = await port.start("127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await aiohttp_server.shutdown(0.1)


def _run(test: Callable[[int], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        async with _listening(**options) as port, asyncio.timeout(20):
            await test(port)

    asyncio.run(main())


async def _ask(port: int, request: bytes, *, pieces: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in [bytes([byte]) for byte in request] if pieces else [request]:
        writer.write(byte)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read(4096)
    writer.close()
    return answer


def test_messages_come_back_whole_fragmented_or_not() -> None:
    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream") as client:
            assert client.response is not None
            assert "Sec-WebSocket-Extensions" not in client.response.headers
            await client.send("one")
            assert await client.recv() == "one"
            await client.send(["t", "w", "o"])
            assert await client.recv() == "two"
            await client.send(b"\x00\xff")
            assert await client.recv() == "2 bytes"
            await (await client.ping())
        assert client.close_code == 1000

    _run(test)


def test_what_is_sent_together_arrives_one_by_one() -> None:
    async def serve(media: MediaSocket) -> None:
        assert media.send("one", "two", "é")
        assert await media.receive() is None

    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream") as client:
            assert [await client.recv() for _ in range(3)] == ["one", "two", "é"]

    _run(test, serve=serve)


def test_webhooks_and_streams_share_a_port() -> None:
    async def test(port: int) -> None:
        post = b"POST /voice/webhook?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        assert (await _ask(port, post)).endswith(b"POST /voice/webhook?a=b 3")
        assert (await _ask(port, b"\r\n" + UPGRADE, pieces=True)).startswith(b"HTTP/1.1 101 ")
        with_query = UPGRADE.replace(b"stream", b"stream?x=y", 1)
        assert (await _ask(port, with_query)).startswith(b"HTTP/1.1 101 ")
        other = UPGRADE.replace(b"/voice/stream", b"/voice/other")
        assert (await _ask(port, other)).startswith(b"HTTP/1.1 200 ")

    _run(test)


def test_a_plain_get_of_the_stream_is_told_to_upgrade() -> None:
    async def test(port: int) -> None:
        answer = await _ask(port, b"GET /voice/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 426 ")
        assert (await _ask(port, b"GET /voice/stream nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")

    _run(test)


def test_a_refused_upgrade_gets_the_status_and_the_reason() -> None:
    def check(request: Request) -> tuple[int, str] | None:
        return None if request.headers.get("X-Twilio-Signature") else (403, "not signed\n")

    async def test(port: int) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/voice/stream")
        assert refused.value.response.status_code == 403
        assert refused.value.response.body == b"not signed\n"
        signed = {"X-Twilio-Signature": "x"}
        async with connect(f"ws://127.0.0.1:{port}/voice/stream", additional_headers=signed):
            pass

    _run(test, check=check)


def test_the_serving_side_closes_with_its_code_and_reason() -> None:
    ended = asyncio.Event()

    async def serve(media: MediaSocket) -> None:
        await media.close(1008, "token: unknown " + "é" * 100)
        assert (media.close_code, media.is_broken) == (1008, False)
        assert not media.send("too late")
        assert await media.receive() is None
        assert await media.receive() is None
        ended.set()

    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream") as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert closed.value.rcvd.reason.startswith("token: unknown é")
        await ended.wait()

    _run(test, serve=serve)


def test_what_the_peer_sent_before_its_close_is_received() -> None:
    got: list[str | bytes | None] = []
    ended = asyncio.Event()

    async def serve(media: MediaSocket) -> None:
        while (message := await media.receive()) is not None:
            got.append(message)
        assert (media.close_code, media.is_broken) == (4000, False)
        ended.set()

    async def test(port: int) -> None:
        client = await connect(f"ws://127.0.0.1:{port}/voice/stream")
        await client.send("last words")
        await client.close(4000)
        await ended.wait()
        assert got == ["last words"]

    _run(test, serve=serve)


def test_a_peer_that_vanishes_ends_the_stream_as_broken() -> None:
    ended = asyncio.Event()

    async def serve(media: MediaSocket) -> None:
        assert await media.receive() is None
        assert (media.close_code, media.is_broken) == (None, True)
        ended.set()

    async def test(port: int) -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await _reader.readuntil(b"\r\n\r\n")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await ended.wait()

    _run(test, serve=serve)


def test_a_message_over_the_limit_is_1009() -> None:
    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream", compression=None) as client:
            await client.send("x" * websocket.MESSAGE_LIMIT)
            assert len(await client.recv()) == websocket.MESSAGE_LIMIT
            await client.send("x" * (websocket.MESSAGE_LIMIT + 1))
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    _run(test)


def test_a_peer_that_never_answers_the_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_S", 0.05)
    ended = asyncio.Event()

    async def serve(media: MediaSocket) -> None:
        await media.close(1000)
        assert media.is_broken
        ended.set()

    async def test(port: int) -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await ended.wait()
        writer.close()

    _run(test, serve=serve)


def test_a_silent_peer_is_pinged_once_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "SILENCE_S", 0.1)
    ended = asyncio.Event()

    async def serve(media: MediaSocket) -> None:
        assert await media.receive() is None
        ended.set()

    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\x89\x00"
        writer.write(b"\x8a\x80" + os.urandom(4))  # a pong buys another period
        assert await reader.readexactly(2) == b"\x89\x00"
        await ended.wait()
        writer.close()

    _run(test, serve=serve)


def test_messages_that_nobody_takes_hold_the_sender_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "QUEUE_LIMIT", 10)
    may_read = asyncio.Event()
    total = 3000
    got: list[str | bytes] = []
    queued: list[int] = []

    async def serve(media: MediaSocket) -> None:
        await may_read.wait()
        queued.append(len(media._messages))
        while (message := await media.receive()) is not None:
            got.append(message)

    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream", compression=None) as client:
            big = base64.b64encode(os.urandom(6000)).decode()

            async def send() -> None:
                for _ in range(total):
                    await client.send(big)

            sending = asyncio.create_task(send())
            done, _ = await asyncio.wait([sending], timeout=0.5)
            assert not done  # 24 MB do not fit into the kernel's buffers
            may_read.set()
            await sending
        assert len(got) == total
        assert queued[0] < 100

    _run(test, serve=serve)


def test_connections_beyond_the_limit_are_answered_503() -> None:
    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/voice/stream"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{port}/voice/stream")
            assert refused.value.response.status_code == 503
            assert refused.value.response.body.endswith(b"room\n")
        answer = await _ask(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")

    _run(test, limit=1)


def test_a_head_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(port: int) -> None:
        assert (await _ask(port, b"G" * 17000)).startswith(b"HTTP/1.0 400 ")
        monkeypatch.setattr("gateway.port.HEAD_S", 0.05)
        for begun in (b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n", b"GET /voice/stream HT"):
            with suppress(ConnectionResetError):
                assert await _ask(port, begun) == b""

    _run(test)
