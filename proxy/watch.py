"""Which of the relayed sockets are ready, told to two callbacks.

A frame that is relayed should cost its two system calls, a share of a third, and nothing of the
event loop. So on Linux the loop runs on a selector of ours: one epoll holds the relayed sockets
and, as a single descriptor among them, everything that asyncio watches. Ready sockets are served
right there, inside `select`, which returns to asyncio only for what is asyncio's.

    epoll --+-- relayed sockets  --> readable, writable     (here)
            `-- asyncio's own selector --> its events        (returned)

Elsewhere, and on any other loop, the loop watches each socket (`LoopWatch`).
"""

import asyncio
import select
import selectors
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

READ, WRITE = 1, 4  # as EPOLLIN and EPOLLOUT
_ENDED = 24  # EPOLLERR | EPOLLHUP: reported whatever is asked for
_BATCH = 256  # ready sockets served before the rest of the loop gets a turn


class Watched(Protocol):
    """A socket that can be watched. `watched` is the watch's own note of what it watches for."""

    fd: int
    watched: int


Ready = Callable[[Any], None]


class Watch(Protocol):
    """Tells a relay which sockets are ready."""

    def attach(self, readable: Ready, writable: Ready) -> None:
        """Call these with each side that can be read from, or written to."""

    def set(self, side: Watched, events: int) -> None:
        """Watch a side for READ, WRITE, both or nothing (0)."""


class LoopWatch:
    """The running loop's own readers and writers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._readable: Ready
        self._writable: Ready

    def attach(self, readable: Ready, writable: Ready) -> None:
        self._readable, self._writable = readable, writable
        if forgets_readers(self._loop):

            def read_and_watch_again(side: Watched) -> None:
                readable(side)
                if side.watched & READ:
                    self._loop.remove_reader(side.fd)
                    self._loop.add_reader(side.fd, self._readable, side)

            self._readable = read_and_watch_again

    def set(self, side: Watched, events: int) -> None:
        changes = events ^ side.watched
        side.watched = events
        if changes & READ and events & READ:
            self._loop.add_reader(side.fd, self._readable, side)
        elif changes & READ:
            self._loop.remove_reader(side.fd)
        if changes & WRITE and events & WRITE:
            self._loop.add_writer(side.fd, self._writable, side)
        elif changes & WRITE:
            self._loop.remove_writer(side.fd)


class EpollSelector(selectors.BaseSelector):
    """A selector for asyncio's loop that serves relayed sockets on the way (Linux)."""

    def __init__(self) -> None:
        self._inner = selectors.EpollSelector()
        self._epoll = select.epoll()
        self._epoll.register(self._inner.fileno(), select.EPOLLIN)
        self._sides: dict[int, Watched] = {}
        self._has_changed = False  # a callback did more than pass bytes on, and may wake a task
        self._readable: Ready
        self._writable: Ready
        self.on_defect: Callable[[Watched, Exception], None]

    def attach(self, readable: Ready, writable: Ready) -> None:
        self._readable, self._writable = readable, writable

    def set(self, side: Watched, events: int) -> None:
        self._has_changed = True
        if events == side.watched:
            return
        if not events:
            self._epoll.unregister(side.fd)
            del self._sides[side.fd]
        elif not side.watched:
            self._epoll.register(side.fd, events)
            self._sides[side.fd] = side
        else:
            self._epoll.modify(side.fd, events)
        side.watched = events

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve relayed sockets until asyncio has events of its own, or its time has come."""
        if not self._sides:
            return self._inner.select(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        poll, sides = self._epoll.poll, self._sides
        readable, writable = self._readable, self._writable
        self._has_changed = False
        while True:
            is_due = False
            for fd, events in poll(-1 if timeout is None else max(timeout, 0), _BATCH):
                side = sides.get(fd)
                if side is None:
                    # asyncio's selector, or a session that ended earlier in this batch
                    is_due = True
                    continue
                try:
                    if events & WRITE:
                        writable(side)
                    if events & (READ | _ENDED) and side.watched & READ:
                        readable(side)
                    elif events & _ENDED and side.watched:
                        writable(side)
                except Exception as error:  # noqa: BLE001 - as the loop treats its callbacks
                    self._has_changed = True
                    self.on_defect(side, error)
            if is_due:
                return self._inner.select(0)
            if deadline is not None:
                timeout = deadline - time.monotonic()
            if self._has_changed or (timeout is not None and timeout <= 0):
                return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._epoll.close()
        self._inner.close()


class EpollLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on an `EpollSelector`, which is its watch."""

    def __init__(self) -> None:
        self.watch = EpollSelector()
        self.watch.on_defect = self._report_defect
        super().__init__(self.watch)

    def _report_defect(self, side: Watched, error: Exception) -> None:
        """Stop watching a side whose callback raised, and say so; the other sessions go on."""
        self.watch.set(side, 0)
        message = "a relayed socket's callback raised"
        self.call_exception_handler({"message": message, "exception": error})


def forgets_readers(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a reader is called only once for a socket that was reset.

    On Linux libuv stops polling a socket at its first POLLERR (uv__poll_io), though data and the
    error itself wait to be read: whoever is still interested has to add the reader again.
    """
    return sys.platform == "linux" and type(loop).__module__.partition(".")[0] == "uvloop"


def best_loop() -> asyncio.AbstractEventLoop:
    """A new loop of the kind that relays frames for the least CPU time on this system."""
    if hasattr(select, "epoll"):
        return EpollLoop()
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()  # on Windows not the default, which watches no sockets
    return uvloop.new_event_loop()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """The watch that goes with a running loop."""
    return loop.watch if isinstance(loop, EpollLoop) else LoopWatch()
