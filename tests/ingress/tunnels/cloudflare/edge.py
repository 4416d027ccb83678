"""A stand-in for Cloudflare's edge, to which the real cloudflared connects.

    caller --TLS, HTTP/1.1--> edge --HTTP/2 or QUIC--> cloudflared --HTTP/1.1--> origin

The switches make it do what the real one does in other circumstances; they may be changed while it
runs.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from ingress.tunnels.cloudflare import quic
from ingress.tunnels.cloudflare.front import HEAD_LIMIT, Switches, serve_caller
from ingress.tunnels.cloudflare.http2 import Http2Link
from ingress.tunnels.cloudflare.links import Link, LinkLost, Reply
from ingress.tunnels.cloudflare.registration import Registrar


class Edge:
    """Listens for callers and for tunnels, as soon as it is told where."""

    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self.registrar = Registrar(switches.refuses, switches.is_remote)
        self.links: list[Link] = []
        self.replies: list[Reply] = []  # what cloudflared gave back, in order
        self._has_changed = asyncio.Condition()
        self._servers: list[asyncio.Server] = []
        self._quic: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> Link | None:
        """The link that requests are sent by: the last that registered."""
        live = [k for k in self.links if k.registered.is_set() and not k.unregistered.is_set()]
        return live[-1] if live else None

    async def listen_for_callers(
        self, listen: tuple[str, int], tls: tuple[Path, Path] | None
    ) -> int:
        """The port. Without a certificate (PEM, key) it speaks plain HTTP, as port 80 does."""
        context = _tls(*tls) if tls else None
        server = await asyncio.start_server(
            self._on_caller, *listen, ssl=context, limit=HEAD_LIMIT, backlog=256
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def listen_for_tunnels(
        self, listener: socket.socket, certificate: Path, key: Path
    ) -> None:
        """On a socket that is given: by TLS and HTTP/2, or by QUIC where it is one of UDP's."""
        if listener.type == socket.SOCK_DGRAM:
            chosen = quic.configuration(certificate, key)
            self._quic = await quic.listen(listener, chosen, self.registrar, self._on_quic_link)
            return
        context = _tls(certificate, key)
        self._servers.append(await asyncio.start_server(self._on_link, sock=listener, ssl=context))

    async def until_connected(self) -> None:
        async with self._has_changed:
            await self._has_changed.wait_for(lambda: self.live is not None)

    async def push(self, version: int, config: dict[str, Any]) -> dict[str, Any]:
        """Give a tunnel other rules, as the dashboard does. What it says to them."""
        link = self.live
        if not isinstance(link, Http2Link):
            raise LinkLost("no tunnel is connected by HTTP/2")
        return await link.push(version, config)

    def drop_links(self) -> None:
        """As a restart of the edge does it."""
        for link in list(self.links):
            link.drop()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self.drop_links()
        if self._quic is not None:
            self._quic.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Tunnels.

    async def _on_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Http2Link(reader, writer, self.registrar)
        await self._tracked(self.keep(link))

    def _on_quic_link(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(self.keep(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def keep(self, link: Link) -> None:
        """Serve a link until it ends."""
        self.links.append(link)
        telling = asyncio.create_task(self._tell_of(link))
        try:
            await link.run()
        finally:
            self.links.remove(link)
            telling.cancel()

    async def _tell_of(self, link: Link) -> None:
        await link.registered.wait()
        async with self._has_changed:
            self._has_changed.notify_all()

    async def _tracked(self, work: Any) -> None:
        """Run it as a task that ends with the edge."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.CancelledError, OSError):
                await work
        finally:
            self._tasks.discard(task)

    async def _on_caller(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._tracked(
                serve_caller(self.live, self.switches, self.replies, reader, writer)
            )
        finally:
            writer.close()


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
