"""Funnel's public side, as far as a node sees it: an SNI router in front of the PeerAPI.

    client --TCP--> relay --SOCKS5--> tailscaled "edge" --WireGuard--> PeerAPI of the node

The relay reads the name from the ClientHello, asks the node by `POST /v0/ingress` to take the
connection (ipn/ipnlocal/serve.go, handleServeIngress), wants its 101, and copies bytes. A node that
refuses is seen by the client as a connection that ends within the TLS handshake.
"""

import asyncio
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

from ingress.tunnels.tailscale.client_hello import NotHello, server_name

PATIENCE_S = 20.0
DIAL_S = 5.0
# The tailnet's ways change now and then, and a dial that fails meanwhile is made again for so long.
RETRY_S, PAUSE_S = 2.0, 0.2
HEAD_LIMIT = 65536
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Peer:
    """A node's PeerAPI, and the SOCKS5 port by which it is reached."""

    socks_port: int
    host: str
    port: int


class Refused(Exception):  # noqa: N818 - what a node said
    """The node did not take the connection."""


class FunnelRelay:
    """Listens on loopback in a thread of its own. A context manager.

    `peer` may be set anew while it runs; `port` is where clients dial, `public_port` what they
    believe to have dialled. `source` is what it says of where they come from, their own address
    where it is "". `refusals` are what the node said in place of 101.
    """

    def __init__(self, peer: Peer, port: int = 0, public_port: int = 443) -> None:
        self.peer = peer
        self.public_port = public_port
        self.port = port
        self.source = ""
        self.refusals: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "FunnelRelay":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled by our own end: asyncio's streams complain of handlers that say so.
            with suppress(OSError, EOFError, NotHello, TimeoutError, asyncio.CancelledError):
                await self._carry((reader, writer))
        finally:
            writer.close()

    async def _carry(self, client: Pair) -> None:
        try:
            node, ahead = await self._reach(client)
        except (Refused, TimeoutError) as refused:
            self.refusals.append(str(refused) or "the node does not answer")
            return
        try:
            node[1].write(ahead)
            await splice(client, node)
        except BaseException:
            client[1].transport.abort()
            node[1].transport.abort()
            raise
        node[1].close()

    async def _reach(self, client: Pair) -> tuple[Pair, bytes]:
        """The node, and what is to be sent there first. Raises Refused, TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            hello, name = await _read_hello(client[0])
        if not name:
            raise Refused("no name")
        source = self.source or _address(client[1])
        deadline = self._loop.time() + RETRY_S
        async with asyncio.timeout(DIAL_S):
            while True:
                try:
                    node = await ingress(self.peer, source, f"{name}:{self.public_port}")
                except (OSError, EOFError) as error:
                    self.refusals.append(str(error))
                    if self._loop.time() > deadline:
                        raise
                    await asyncio.sleep(PAUSE_S)
                else:
                    return node, hello


class TailnetDoor(FunnelRelay):
    """A way into the tailnet for callers that speak no SOCKS: what is dialled here is the peer."""

    async def _reach(self, client: Pair) -> tuple[Pair, bytes]:
        async with asyncio.timeout(DIAL_S):
            return await socks(self.peer.socks_port, self.peer.host, self.peer.port), b""


async def _read_hello(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """Raises NotHello, EOFError."""
    data = b""
    while (name := server_name(data)) is None:
        more = await reader.read(65536)
        if not more:
            raise EOFError
        data += more
    return data, name


def _address(writer: asyncio.StreamWriter) -> str:
    host, port = writer.get_extra_info("peername")[:2]
    return f"{host}:{port}"


async def ingress(peer: Peer, source: str, target: str) -> Pair:
    """Ask a node to take a connection from `source` to `target`. Raises Refused, OSError."""
    reader, writer = await socks(peer.socks_port, peer.host, peer.port)
    try:
        writer.write(
            "POST /v0/ingress HTTP/1.1\r\n"
            f"Host: {peer.host}:{peer.port}\r\n"
            f"Tailscale-Ingress-Src: {source}\r\n"
            f"Tailscale-Ingress-Target: {target}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            status = head.split(b"\r\n")[0].decode().removeprefix("HTTP/1.1 ")
            said = await reader.read(HEAD_LIMIT)
            raise Refused(f"{status}: {said.decode(errors='replace').strip()}")
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def socks(port: int, host: str, host_port: int) -> Pair:
    """Connect through a SOCKS5 server on loopback, by an IPv4 address or a name (RFC 1928).

    Raises OSError.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"\x05\x01\x00")
        if await reader.readexactly(2) != b"\x05\x00":
            raise OSError("the SOCKS5 server wants a password")
        name = host.encode()
        port_bytes = struct.pack("!H", host_port)
        writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port_bytes)
        _, code, _, kind = await reader.readexactly(4)
        if code:
            raise ConnectionRefusedError(f"SOCKS5 reply {code}")
        count = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        await reader.readexactly(count + 2)
    except (OSError, EOFError) as error:
        writer.transport.abort()
        raise OSError(str(error)) from None
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def splice(one: Pair, other: Pair) -> None:
    """Copy both ways. The end of one direction is passed on, and leaves the other open."""
    await asyncio.gather(_copy(one[0], other[1]), _copy(other[0], one[1]))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
