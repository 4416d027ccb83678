"""Models on this machine: work that waits, is refused, dropped or fails; what is kept to hear."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.providers import hibari, whisper
from gateway.providers.local import UTTERANCE_LIMIT, LocalListener, Worker
from gateway.speech import ProviderError


def run(test: Callable[[Worker], Coroutine[Any, Any, None]], limit: int = 2) -> None:
    async def within() -> None:
        worker = Worker("fake", ThreadPoolExecutor(1), limit=limit, install="pip install fake")
        try:
            await test(worker)
        finally:
            await worker.close()

    asyncio.run(within())


class Gate:
    """Work that waits until it may go on, and tells when it has begun."""

    def __init__(self) -> None:
        self.opened, self.begun = threading.Event(), threading.Event()
        self.runs = 0

    def __call__(self) -> str:
        self.runs += 1
        self.begun.set()
        assert self.opened.wait(10)
        return "done"


def test_work_is_done_in_another_thread() -> None:
    async def test(worker: Worker) -> None:
        assert await worker.run(threading.get_ident) != threading.get_ident()

    run(test)


def test_work_beyond_the_limit_is_refused_and_the_rest_is_done() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        both = [asyncio.create_task(worker.run(gate)) for _ in range(2)]
        await asyncio.to_thread(gate.begun.wait, 10)
        with pytest.raises(ProviderError, match=r"fake: unavailable \(2 others wait already\)"):
            await worker.run(gate)
        gate.opened.set()
        assert await asyncio.gather(*both) == ["done", "done"]
        assert await worker.run(lambda: "again") == "again"

    run(test)


def test_work_that_waits_is_never_begun_once_nobody_wants_it() -> None:
    async def test(worker: Worker) -> None:
        first, second = Gate(), Gate()
        running = asyncio.create_task(worker.run(first))
        waiting = asyncio.create_task(worker.run(second))
        await asyncio.to_thread(first.begun.wait, 10)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        third = asyncio.create_task(worker.run(lambda: "third"))  # its place is free again
        first.opened.set()
        assert await running == "done"
        assert await third == "third"
        assert second.runs == 0

    run(test)


def test_of_work_that_runs_the_result_is_dropped() -> None:
    async def test(worker: Worker) -> None:
        gate = Gate()
        running = asyncio.create_task(worker.run(gate))
        await asyncio.to_thread(gate.begun.wait, 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        gate.opened.set()
        assert await worker.run(lambda: "next") == "next"

    run(test)


def _import_nothing() -> None:
    raise ModuleNotFoundError("No module named 'fake'")


def _refuse() -> None:
    raise ProviderError("fake", "refused", "not the known model")


def _break() -> None:
    raise MemoryError("no room")


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (_import_nothing, "fake: not_installed (No module named 'fake'; pip install fake)"),
        (_refuse, "fake: refused (not the known model)"),
        (_break, "fake: unavailable (MemoryError: no room)"),
    ],
)
def test_whatever_the_work_raises_is_a_providers_failure(
    work: Callable[[], None], says: str
) -> None:
    async def test(worker: Worker) -> None:
        with pytest.raises(ProviderError) as raised:
            await worker.run(work)
        assert str(raised.value) == says

    run(test)


def test_embedded_speech_that_is_missing_says_how_it_comes_installed_or_cloned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def miss(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'hibari'")

    monkeypatch.setattr(hibari, "_load", miss)
    monkeypatch.setattr(whisper, "_load", miss)

    async def warmed(provider: hibari.Hibari | whisper.Whisper) -> str:
        try:
            with pytest.raises(ProviderError) as raised:
                await provider.warm()
        finally:
            await provider.close()
        return str(raised.value)

    for provider in (hibari.Hibari(), whisper.Whisper()):
        said = asyncio.run(warmed(provider))
        assert said.startswith(f"{provider.name}: not_installed (No module named")
        assert "pip install 'hopscope[offline]'" in said
        assert "in a clone pip install '.[offline]'" in said


def test_a_worker_that_was_closed_says_so() -> None:
    async def test(worker: Worker) -> None:
        await worker.close()
        with pytest.raises(ProviderError, match="fake: closed"):
            await worker.run(lambda: None)

    run(test)


class Recogniser:
    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, utterance: bytes) -> str:
        self.asked.append(utterance)
        return f"{len(utterance)} bytes"


def test_an_utterance_is_heard_from_its_beginning_each_time() -> None:
    async def test() -> None:
        recogniser = Recogniser()
        listener = LocalListener(recogniser)
        listener.hear(b"before")
        listener.begin()
        listener.hear(b"one")
        assert await listener.transcribe() == "3 bytes"
        listener.hear(b"two")
        assert await listener.transcribe() == "6 bytes"
        assert recogniser.asked == [b"one", b"onetwo"]

    asyncio.run(test())


def test_nothing_heard_is_nothing_said() -> None:
    async def test() -> None:
        recogniser = Recogniser()
        listener = LocalListener(recogniser)
        listener.begin()
        assert await listener.transcribe() == ""
        listener.hear(b"something")
        await listener.close()
        assert await listener.transcribe() == ""
        assert recogniser.asked == []

    asyncio.run(test())


def test_of_a_long_utterance_the_end_is_kept() -> None:
    async def test() -> None:
        recogniser = Recogniser()
        listener = LocalListener(recogniser)
        listener.hear(b"a" * 8000)
        for _ in range(40):
            listener.hear(b"b" * 8000)
        listener.hear(b"c" * 160)
        await listener.transcribe()
        (utterance,) = recogniser.asked
        assert len(utterance) == UTTERANCE_LIMIT == 30 * 8000
        assert utterance.endswith(b"b" + b"c" * 160)

    asyncio.run(test())
