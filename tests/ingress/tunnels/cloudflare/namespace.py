"""A network of its own for a program that must not leave the machine (Linux, root).

It has a loopback and nothing else: no name is resolved, no packet gets out. What it needs of this
machine's loopback is shown in it port by port, at the same number:

    in the namespace: cloudflared -> 127.0.0.1:8080 | relay | 127.0.0.1:8080 <- the sidecar

It ends with the last process and the last socket in it; nothing is left to be removed.
"""

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWNET = 0x40000000  # sched.h
_SIOCSIFFLAGS = 0x8914  # netdevice(7)
_IFF_UP = 0x1
_LISTEN = "0A"  # proc(5): the state of a listening socket
_LINGER_RESETS = struct.pack("ii", 1, 0)


class NoNamespace(Exception):  # noqa: N818 - why there is none
    """The system does not give us one."""


class Namespace:
    """A context manager. Functions that are run in it see its network, as do their processes.

    A socket stays in the network that it was made in, whoever uses it.
    """

    def __enter__(self) -> "Namespace":
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="namespace")
        try:
            self.run(_unshare)
        except BaseException:
            self._thread.shutdown()
            raise
        self._servers: list[asyncio.Server] = []
        self._relays: set[asyncio.Task[None]] = set()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in it: socket.create_server, subprocess.run and the like."""
        return self._thread.submit(work, *args, **kwargs).result()

    def dial(self, port: int, patience_s: float) -> socket.socket:
        """A connection to who listens on a port in it."""
        return self.run(socket.create_connection, ("127.0.0.1", port), patience_s)

    async def show(self, port: int, at: int | None = None) -> None:
        """Show a port of this machine's loopback in it, at the same number or at another.

        Where nobody listens, nobody does there.
        """
        if not is_listening(port):
            return
        listener = self.run(socket.create_server, ("127.0.0.1", at or port))
        self._servers.append(
            await asyncio.start_server(lambda r, w: self._on_dial(r, w, port), sock=listener)
        )

    async def hide_all(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _on_dial(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)  # asyncio itself forgets it
        try:
            await relay(reader, writer, port)
        finally:
            self._relays.discard(task)


def why_not() -> str:
    """Why there is no namespace to be had here; "" where there is."""
    try:
        with Namespace():
            return ""
    except NoNamespace as reason:
        return str(reason)


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port of this machine, without asking them."""
    rows = (
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    )
    return any(row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def _unshare() -> None:
    """Of this thread alone, and of what it starts (unshare(2))."""
    if sys.platform != "linux":
        raise NoNamespace("network namespaces are Linux's")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        why = os.strerror(ctypes.get_errno())
        raise NoNamespace(f"a network namespace needs root: {why}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carry bytes, each half's end, and a reset as a reset."""
    sides = [writer]
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        sides.append(far_writer)
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
    except (OSError, asyncio.CancelledError):
        for side in sides:
            _reset(side)
    finally:
        for side in sides:
            side.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):  # the other half may be gone for good
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESETS)
    writer.transport.abort()
