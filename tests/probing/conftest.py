"""A sidecar with a gateway behind it that answers what a gateway answers."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from peers import RunningSidecar
from probing.broken_hops import Peer, serving


async def proper(peer: Peer) -> None:
    """Take upgrades on the stream's path and keep them open; 404 to anything else."""
    head = await peer.head()
    if head.target == "/voice/stream" and head.value("Upgrade"):
        await peer.switch(head)
        await peer.linger()
    else:
        await peer.answer("404 Not Found", body="no such path")


class Gateway:
    """`proper` in a thread, since the sidecar dials it from a thread, too."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(proper) as self.port:
            self._ready.set()
            await self._stop.wait()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    running = Gateway()
    yield running
    running.close()


@pytest.fixture(scope="module")
def sidecar(gateway: Gateway) -> Iterator[RunningSidecar]:
    running = RunningSidecar("asyncio", upstream=f"http://127.0.0.1:{gateway.port}")
    yield running
    running.close()
