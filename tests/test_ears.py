"""The chain of recognisers: who hears, who hears it again, and what is reported."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.ears import Ears
from gateway.speech import ProviderError


class FakeProvider:
    """Opens ears that fail as often as it is told, then say who they are and what they heard."""

    def __init__(self, name: str, *, listens: bool = True, failures: int = 0) -> None:
        self.name = name
        self.listens = listens
        self.failures = failures
        self.warmed = self.opened = self.closed = 0

    async def warm(self) -> None:
        self.warmed += 1
        if not self.listens:
            raise ProviderError(self.name, "unreachable")

    async def listen(self) -> "FakeListener":
        if not self.listens:
            raise ProviderError(self.name, "unreachable")
        self.opened += 1
        return FakeListener(self)

    async def close(self) -> None:
        self.closed += 1


class FakeListener:
    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider
        self._audio = b""

    def begin(self) -> None:
        self._audio = b""

    def hear(self, audio: bytes) -> None:
        self._audio += audio

    async def transcribe(self) -> str:
        if self._provider.failures:
            self._provider.failures -= 1
            raise ProviderError(self._provider.name, "closed")
        return f"{self._provider.name}: {self._audio.decode()}"

    async def close(self) -> None:
        self._provider.closed += 1


class Chain:
    def __init__(self, *providers: FakeProvider) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.ears = Ears(
            providers, lambda error, fallback: self.told.append((str(error), fallback))
        )


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_first_that_listens_hears() -> None:
    a, b = FakeProvider("a", listens=False), FakeProvider("b")
    chain = Chain(a, b)

    async def test() -> None:
        listener = await chain.ears.listen()
        listener.begin()
        listener.hear(b"one")
        assert await listener.transcribe() == "b: one"
        await listener.close()

    run(test)
    assert chain.told == [("a: unreachable", "b")]
    assert b.closed == 1


def test_the_next_hears_the_whole_utterance_again() -> None:
    a, b = FakeProvider("a", failures=1), FakeProvider("b")
    chain = Chain(a, b)

    async def test() -> None:
        listener = await chain.ears.listen()
        listener.begin()
        listener.hear(b"one ")
        listener.hear(b"two")
        assert await listener.transcribe() == "b: one two"
        listener.hear(b" three")
        assert await listener.transcribe() == "b: one two three"
        listener.begin()
        listener.hear(b"four")
        assert await listener.transcribe() == "b: four"

    run(test)
    assert chain.told == [("a: closed", "b")]
    assert a.closed == 1


def test_when_all_fail_the_call_is_told_and_the_next_utterance_begins_with_the_first() -> None:
    a, b = FakeProvider("a", failures=1), FakeProvider("b", failures=1)
    chain = Chain(a, b)

    async def test() -> None:
        listener = await chain.ears.listen()
        listener.begin()
        listener.hear(b"one")
        with pytest.raises(ProviderError, match="b: closed"):
            await listener.transcribe()
        listener.begin()
        listener.hear(b"two")
        assert await listener.transcribe() == "a: two"

    run(test)
    assert chain.told == [("a: closed", "b"), ("b: closed", None)]


def test_nobody_listens() -> None:
    chain = Chain(FakeProvider("a", listens=False), FakeProvider("b", listens=False))

    async def test() -> None:
        with pytest.raises(ProviderError, match="b: unreachable"):
            await chain.ears.listen()
        with pytest.raises(ProviderError, match="b: unreachable"):
            await chain.ears.warm()

    run(test)
    assert [fallback for _, fallback in chain.told] == ["b", None] * 2


def test_warming_stops_at_the_first_that_is_warm() -> None:
    a, b, c = FakeProvider("a", listens=False), FakeProvider("b"), FakeProvider("c")
    run(Chain(a, b, c).ears.warm)
    assert (a.warmed, b.warmed, c.warmed) == (1, 1, 0)


def test_closing_closes_every_provider() -> None:
    providers = FakeProvider("a"), FakeProvider("b")
    run(Chain(*providers).ears.close)
    assert [provider.closed for provider in providers] == [1, 1]
