"""The line of one call: whatever it waits for can be cut short, by a hang-up or by new TwiML."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - a way out of what is being done, not an error
    """What was being waited for is not wanted any more."""


class Line:
    def __init__(self) -> None:
        self._interrupted = asyncio.Event()

    def interrupt(self) -> None:
        self._interrupted.set()

    def resume(self) -> None:
        self._interrupted.clear()

    def check(self) -> None:
        """Raise Interrupted where that has happened."""
        if self._interrupted.is_set():
            raise Interrupted

    async def wait(self, seconds: float) -> None:
        """Let time pass. Raises Interrupted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._interrupted.wait()
        self.check()

    async def run(
        self, work: Coroutine[None, None, T], end: Callable[[], bool] = lambda: False
    ) -> T:
        """The result of some work. Raises Interrupted.

        Interrupted, the work is asked to `end`; if that answers False it is cancelled.
        """
        task = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(self._interrupted.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if end():
                await task
            raise Interrupted
        finally:
            waiting.cancel()
            task.cancel()
            await asyncio.wait({task})
