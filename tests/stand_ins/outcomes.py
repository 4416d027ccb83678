"""How a provider's work ended, for tests to look at."""

import traceback
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from gateway.speech import ProviderError

_T = TypeVar("_T")


async def failure(work: Awaitable[object]) -> ProviderError:
    """The error that it must raise."""
    try:
        done = await work
    except ProviderError as error:
        return error
    raise AssertionError(f"it did not fail: {done!r}")


def with_locals(error: ProviderError) -> str:
    """All that a log could show of an error, the variables of each frame included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return repr(error) + "".join(shown.format())


async def until_failure(pieces: AsyncIterator[_T]) -> tuple[list[_T], ProviderError]:
    """What came before the error that it must raise, and the error."""
    before: list[_T] = []
    try:
        async for piece in pieces:
            before.append(piece)  # noqa: PERF401 - what came before the failure counts
    except ProviderError as error:
        return before, error
    raise AssertionError(f"it did not fail after {before!r}")
