"""Models on this machine: workers that all calls share, and ears that keep an utterance for them.

A model computes for longer than a frame lasts, so it never runs in the event loop. Its workers are
few and what waits for them is bounded: beyond that, a late answer is of no use to a caller.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from gateway.g711 import BYTES_PER_SECOND
from gateway.speech import ProviderError

T = TypeVar("T")

# The name alone suffices where Hopscope is installed, wherever it came from; a clone need not be.
INSTALL_OFFLINE = "pip install 'hopscope[offline]', or in a clone pip install '.[offline]'"
UTTERANCE_LIMIT = 30 * BYTES_PER_SECOND


class Worker:
    """A few threads or processes; beyond `limit` pieces of work, waiting or running, it refuses.

    `install` tells how to get the package that the work imports.
    """

    def __init__(self, provider: str, executor: Executor, *, limit: int, install: str) -> None:
        self._provider, self._install = provider, install
        self._limit = limit
        self._executor = executor
        self._work: set[Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`; whatever it raises is a ProviderError.

        When cancelled, work that waits is never begun, and of work that runs the result is dropped.
        """
        if len(self._work) >= self._limit:
            raise ProviderError(self._provider, "unavailable", f"{self._limit} others wait already")
        try:
            future = self._executor.submit(work)
        except RuntimeError:
            raise ProviderError(self._provider, "closed", "it was shut down") from None
        self._work.add(future)
        future.add_done_callback(self._work.discard)
        try:
            return await asyncio.wrap_future(future)
        except ProviderError:
            raise
        except ImportError as error:
            detail = f"{error}; {self._install}"
            raise ProviderError(self._provider, "not_installed", detail) from error
        except Exception as error:  # a model's own errors are of every kind
            detail = f"{type(error).__name__}: {error}"
            raise ProviderError(self._provider, "unavailable", detail) from error

    async def close(self) -> None:
        """Drop what waits. What runs ends by itself, and nobody hears of it."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class LocalListener:
    """The ears of one call whose recogniser takes a whole utterance at a time."""

    def __init__(self, recognise: Callable[[bytes], Awaitable[str]]) -> None:
        self._recognise = recognise
        self._utterance = bytearray()

    def begin(self) -> None:
        self._utterance.clear()

    def hear(self, audio: bytes) -> None:
        """Keep audio; of a longer utterance its last 30 s, where the question is."""
        self._utterance += audio
        del self._utterance[:-UTTERANCE_LIMIT]

    async def transcribe(self) -> str:
        return await self._recognise(bytes(self._utterance)) if self._utterance else ""

    async def close(self) -> None:
        self._utterance.clear()
