"""What is opened for a call when its stream is promised, and not when it comes.

A provider's socket that is opened after the caller hears us costs the first turn a second or two.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Generic, Protocol, TypeVar

from gateway.calls import Call
from gateway.events import CALL_SID


class Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Prepared(Generic[T]):
    """`open_` is asked for each call. What no stream came for is closed after `kept_s`."""

    def __init__(
        self, open_: Callable[[Call], Coroutine[object, object, T]], kept_s: float
    ) -> None:
        self._open, self._kept_s = open_, kept_s
        self._opened: dict[str, asyncio.Task[T]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def prepare(self, call: Call) -> None:
        if call.call_sid not in self._opened:
            opened = self._opened[call.call_sid] = self._begin(call)
            loop = asyncio.get_running_loop()
            loop.call_later(self._kept_s, self._forget, call.call_sid, opened)

    def take(self, call: Call) -> "asyncio.Task[T]":
        """What was prepared for the call, or else begins now; closing it is left to the taker."""
        return self._opened.pop(call.call_sid, None) or self._begin(call)

    async def close(self) -> None:
        for call_sid, opened in list(self._opened.items()):
            self._forget(call_sid, opened)
        if self._closing:
            await asyncio.wait(self._closing)

    def _begin(self, call: Call) -> "asyncio.Task[T]":
        context = copy_context()
        context.run(CALL_SID.set, call.call_sid)
        opened = asyncio.get_running_loop().create_task(self._open(call), context=context)
        # A failure is told by who opens, and concerns only who takes it.
        opened.add_done_callback(lambda task: task.cancelled() or task.exception())
        return opened

    def _forget(self, call_sid: str, opened: "asyncio.Task[T]") -> None:
        if self._opened.get(call_sid) is opened:
            del self._opened[call_sid]
            closing = asyncio.get_running_loop().create_task(_close(opened))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close(opened: "asyncio.Task[T]") -> None:
    opened.cancel()
    await asyncio.wait([opened])
    if not opened.cancelled() and opened.exception() is None:
        await opened.result().close()
