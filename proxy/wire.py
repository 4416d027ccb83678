"""One socket while HTTP is spoken on it: bounded reads, patient writes, endings remembered.

The socket stays ours from accept to close (no asyncio transport owns it), so that after a 101 it
can be handed to the relay with whatever was read ahead and not yet written, and nothing between.
One task serves a pair of wires and sleeps in `changed` until either has something new.
"""

import asyncio
import socket
import sys
from contextlib import suppress

from proxy.body import TRAILER_LIMIT
from proxy.settings import Limits
from proxy.watch import forgets_readers

# What a parser may have to see at once, beside a head: a trailer section, a PROXY v2 header.
_PARSED_AT_ONCE = 2 * TRAILER_LIMIT
# An address family without TCP_NODELAY is a unix socket, which never waits to fill a segment.
_TCP = (socket.AF_INET, socket.AF_INET6)


class Wire:
    """A connected, non-blocking socket. `buffer` is what came and was not used yet."""

    __slots__ = (
        "_forgets_readers",
        "_is_ended",
        "_is_ours",
        "_limit",
        "_loop",
        "_reading",
        "_waiter",
        "_writing",
        "buffer",
        "eof",
        "error",
        "out",
        "received",
        "sock",
    )

    def __init__(self, sock: socket.socket, limit: int) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.out = bytearray()  # what the peer has not taken yet
        self.eof = False
        self.error: OSError | None = None
        self.received = 0  # bytes so far
        self._is_ended = False  # nothing more can be read, whatever happened
        self._forgets_readers = forgets_readers(asyncio.get_running_loop())
        self._is_ours = True
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._writing = False
        self._reading = True
        tune(sock)
        self._loop.add_reader(sock, self._on_readable)

    @property
    def is_gone(self) -> bool:
        """Whether nothing that is sent arrives any more; what came before may still be read."""
        return self.error is not None

    @property
    def is_ended(self) -> bool:
        """Whether nothing more comes."""
        return self._is_ended

    def take(self, count: int) -> bytes:
        """Remove bytes from the front of the buffer; reading goes on once there is room again."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        self._watch_reads()
        return data

    def send(self, data: bytes) -> None:
        """Write now what the kernel takes, and the rest as soon as it can; `out` is the rest."""
        if self.error is not None or not data:
            return
        if not self.out:
            try:
                data = data[self.sock.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._stop_writing(error)
                return
        if data:
            self.out += data
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self.sock, self._on_writable)

    def interrupt(self) -> None:
        """Wake whoever waits on this wire, for a reason that is not on the wire."""
        self._wake()

    def finish(self) -> None:
        """Send EOF (once `out` is empty) while still reading."""
        if self.error is None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def release(self) -> socket.socket:
        """Stop watching the socket and give it away, with `buffer` and `out` as they are."""
        self._unwatch()
        self._is_ours = False
        return self.sock

    def close(self) -> None:
        """Close the socket, unless it was given away."""
        if self._is_ours:
            self._unwatch()
            self.sock.close()

    async def close_gently(self, patience_s: float) -> None:
        """Close so that the peer can still read what was sent last.

        Closing with unread bytes in the receive buffer makes the kernel send RST, which may take
        our answer away from the peer before it was read (RFC 9112 section 9.6).
        """
        deadline = self._loop.time() + patience_s
        while self.out and not self.is_gone and self._loop.time() < deadline:
            await changed(deadline, self)
        self.finish()
        while not (self.eof or self.is_gone) and self._loop.time() < deadline:
            self.take(len(self.buffer))
            await changed(deadline, self)
        self.close()

    def _watch_reads(self) -> None:
        wanted = len(self.buffer) < self._limit and not self._is_ended
        if wanted and not self._reading:
            self._loop.add_reader(self.sock, self._on_readable)
        elif self._reading and not wanted:
            self._loop.remove_reader(self.sock)
        self._reading = wanted

    def _on_readable(self) -> None:
        try:
            data = self.sock.recv(max(self._limit - len(self.buffer), 1))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        self.received += len(data)
        self.buffer += data
        self.eof = self._is_ended = not data
        self._watch_reads()
        if self._reading and self._forgets_readers:
            self._loop.remove_reader(self.sock)
            self._loop.add_reader(self.sock, self._on_readable)
        self._wake()

    def _on_writable(self) -> None:
        try:
            del self.out[: self.sock.send(self.out)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._stop_writing(error)
            return
        if not self.out:
            self._loop.remove_writer(self.sock)
            self._writing = False
        self._wake()

    def _fail(self, error: OSError) -> None:
        self.error = self.error or error
        self._is_ended = True
        self.out.clear()
        self._unwatch()
        self._wake()

    def _stop_writing(self, error: OSError) -> None:
        """A send failed. What the peer sent before it was gone is still to be read.

        A server that answers 413 and closes, while the body still comes, is reset by its own
        kernel: its answer is what the client should see.
        """
        self.error = error
        self.out.clear()
        if self._writing:
            self._loop.remove_writer(self.sock)
            self._writing = False
        self._wake()

    def _unwatch(self) -> None:
        if self._reading:
            self._loop.remove_reader(self.sock)
        if self._writing:
            self._loop.remove_writer(self.sock)
        self._reading = self._writing = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def read_limit(limits: Limits) -> int:
    """How much of a wire may wait to be used: a head of the permitted size must fit."""
    return max(limits.write_buffer_bytes, limits.head_bytes, _PARSED_AT_ONCE)


async def changed(deadline: float, *wires: Wire) -> bool:
    """Sleep until one of the wires has news or the loop's clock reaches `deadline`.

    False: the deadline came first. News that came before the call is the caller's to look at.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    for wire in wires:
        wire._waiter = waiter
    timer = loop.call_at(deadline, _expire, waiter)
    try:
        await waiter
    except TimeoutError:
        return False
    finally:
        timer.cancel()
        for wire in wires:
            wire._waiter = None
    return True


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def tune(sock: socket.socket) -> None:
    """Send small frames at once, and notice a peer that vanished without a FIN."""
    sock.setblocking(False)
    if sock.family not in _TCP:
        return
    with suppress(OSError):  # a peer that is gone already makes setsockopt fail; reading tells
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
