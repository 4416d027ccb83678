"""Which of the relayed sockets are ready, told to two callbacks.

On Linux all sessions share one epoll, itself watched by the event loop: the loop wakes once for
all sockets that are ready, and a frame costs two system calls and a share of a third. Elsewhere
the loop watches each socket.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

READ, WRITE = 1, 4  # as EPOLLIN and EPOLLOUT
_ENDED = 24  # EPOLLERR | EPOLLHUP: reported whatever is asked for
_BATCH = 256  # ready sockets handled before other work of the loop gets a turn


class Watched(Protocol):
    """A socket that can be watched. `watched` is the watch's own note of what it watches for."""

    fd: int
    watched: int


SideT = TypeVar("SideT", bound=Watched)
SideT_contra = TypeVar("SideT_contra", bound=Watched, contravariant=True)
WatchType = Callable[[Callable[[Any], None], Callable[[Any], None]], "Watch[Any]"]


class Watch(Protocol[SideT_contra]):
    """Tells a relay which sockets are ready."""

    def set(self, side: SideT_contra, events: int) -> None:
        """Watch for READ, WRITE, both or nothing (0)."""

    def close(self) -> None: ...


class EpollWatch(Generic[SideT]):
    """One epoll for all sessions, watched by the loop as a single descriptor (Linux)."""

    def __init__(
        self, readable: Callable[[SideT], None], writable: Callable[[SideT], None]
    ) -> None:
        self._readable, self._writable = readable, writable
        self._epoll = select.epoll()
        self._sides: dict[int, SideT] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._turn)

    def set(self, side: SideT, events: int) -> None:
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

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        get = self._sides.get
        readable, writable = self._readable, self._writable
        for fd, events in self._epoll.poll(0, _BATCH):
            side = get(fd)
            if side is None:
                continue  # its session ended earlier in this batch
            if events & WRITE:
                writable(side)
            if events & (READ | _ENDED) and side.watched & READ:
                readable(side)
            elif events & _ENDED and side.watched:
                writable(side)


class LoopWatch(Generic[SideT]):
    """The loop's own readers and writers, for systems without epoll."""

    def __init__(
        self, readable: Callable[[SideT], None], writable: Callable[[SideT], None]
    ) -> None:
        self._readable, self._writable = readable, writable
        self._loop = asyncio.get_running_loop()

    def set(self, side: SideT, events: int) -> None:
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

    def close(self) -> None:
        """Nothing of its own to close."""


def best_watch() -> WatchType:
    """The fastest watch that this system has."""
    return EpollWatch if hasattr(select, "epoll") else LoopWatch
