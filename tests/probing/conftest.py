"""A sidecar with a gateway behind it that answers what a gateway answers."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from doctor.probing.asking import Switched
from doctor.probing.stream import Ended, ProbeStream
from peers import RunningSidecar
from probing.broken_hops import Handler, Peer, serving


async def proper(peer: Peer) -> None:
    """Take upgrades on the stream's path and keep them open; 404 to anything else."""
    head = await peer.head()
    if head.target == "/voice/stream" and head.value("Upgrade"):
        await peer.switch(head)
        await peer.linger()
    else:
        await peer.answer("404 Not Found", body="no such path")


async def echoing(peer: Peer) -> None:
    """Take every upgrade, and send every message of the client back."""
    await peer.switch(await peer.head())
    stream = ProbeStream(Switched(peer.reader, peer.writer, bytearray()))
    while True:
        try:
            frame = await stream.receive()
        except Ended:
            return
        await peer.say(bytes((0x80 | frame.opcode, len(frame.payload))) + frame.payload)


class Gateway:
    """A gateway in a thread, since the sidecar dials it from a thread, too."""

    def __init__(self, handler: Handler = proper) -> None:
        self._handler = handler
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
        async with serving(self._handler) as self.port:
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


@pytest.fixture
def echoing_sidecar() -> Iterator[RunningSidecar]:
    """A sidecar whose gateway echoes, so that a call can be held through it."""
    gateway = Gateway(echoing)
    running = RunningSidecar("asyncio", upstream=f"http://127.0.0.1:{gateway.port}")
    yield running
    running.close()
    gateway.close()
