"""The chain of voices: who speaks, what is heard when one fails, and whom it asks the next time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from gateway import voices
from gateway.g711 import seconds
from gateway.speech import ProviderError, Reason
from gateway.voices import APOLOGY, BREATH, Voices

Step = bytes | Reason | None


class FakeVoice:
    """Takes the steps it is told: gives out audio, fails for a reason, or (None) says nothing."""

    def __init__(self, name: str, *steps: Step, warms: Reason | None = None) -> None:
        self.name = name
        self.steps: tuple[Step, ...] = steps
        self.warms = warms
        self.said: list[str] = []
        self.is_stuck = asyncio.Event()
        self.warmed = self.closed = self.ended = 0

    async def warm(self) -> None:
        self.warmed += 1
        if self.warms is not None:
            raise ProviderError(self.name, self.warms)

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self.said.append(text)
        try:
            for step in self.steps:
                if step is None:
                    self.is_stuck.set()
                    await asyncio.Event().wait()
                elif isinstance(step, bytes):
                    yield step
                else:
                    raise ProviderError(self.name, step)
        finally:
            self.ended += 1

    async def close(self) -> None:
        self.closed += 1


class Chain:
    """Voices, the clock that they read, and what they told."""

    def __init__(self, *providers: FakeVoice, **options: Any) -> None:
        self.now = 1000.0
        self.told: list[tuple[str, str, str | None]] = []
        self.voices = Voices(providers, self._tell, clock=lambda: self.now, **options)

    def _tell(self, error: ProviderError, following: str | None) -> None:
        self.told.append((error.provider, error.reason, following))

    async def say(self, text: str = "Hello.") -> bytes:
        return b"".join([piece async for piece in self.voices.speak(text)])

    async def fail(self) -> tuple[list[bytes], str]:
        """What was heard of a sentence before it failed, and the failure."""
        heard: list[bytes] = []
        try:
            async for piece in self.voices.speak("Hello."):
                heard += [piece]
        except ProviderError as error:
            return heard, str(error)
        raise AssertionError("it did not fail")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_first_voice_speaks_and_the_second_is_not_asked() -> None:
    a, b = FakeVoice("a", b"one", b"two"), FakeVoice("b", b"three")
    chain = Chain(a, b)

    async def test() -> None:
        assert await chain.say("Good morning.") == b"onetwo"
        assert a.said == ["Good morning."]
        assert b.said == []
        assert chain.told == []

    run(test)


@pytest.mark.parametrize("reason", ["unauthorized", "no_credit", "unreachable", "not_installed"])
def test_a_voice_that_fails_before_its_first_piece_is_replaced_unheard(reason: Reason) -> None:
    a, b = FakeVoice("a", reason), FakeVoice("b", b"b")
    chain = Chain(a, b)

    async def test() -> None:
        assert await chain.say() == b"b"
        assert chain.told == [("a", reason, "b")]

    run(test)


def test_pieces_without_audio_are_not_a_beginning() -> None:
    chain = Chain(FakeVoice("a", b"", b"", "closed"), FakeVoice("b", b"", b"b"))

    async def test() -> None:
        assert await chain.say() == b"b"

    run(test)


def test_a_voice_that_fails_in_the_middle_is_followed_by_the_whole_sentence() -> None:
    a, b = FakeVoice("a", b"half", "closed"), FakeVoice("b", b"wh", b"ole")
    chain = Chain(a, b)

    async def test() -> None:
        assert await chain.say("Your appointment is at three.") == b"half" + BREATH + b"whole"
        assert b.said == ["Your appointment is at three."]
        assert chain.told == [("a", "closed", "b")]

    run(test)


def test_a_voice_without_a_word_has_failed_though_it_does_not_say_so() -> None:
    chain = Chain(FakeVoice("a"), FakeVoice("b", b"b"))

    async def test() -> None:
        assert await chain.say() == b"b"
        assert chain.told == [("a", "bad_answer", "b")]

    run(test)


def test_a_text_without_a_word_is_silence_and_nobodys_failure() -> None:
    a = FakeVoice("a", "unavailable")
    chain = Chain(a)

    async def test() -> None:
        for text in ("", " ... ", "\N{WAVING HAND SIGN}", "—"):
            assert await chain.say(text) == b""
        assert a.said == []
        assert chain.told == []

    run(test)


def test_a_slow_voice_is_asked_again_where_no_other_can_speak() -> None:
    a, b = FakeVoice("a", None), FakeVoice("b", "not_installed")
    chain = Chain(a, b, first_byte_s=0.01, alone_s=30.0)

    async def test() -> None:
        saying = asyncio.create_task(chain.say())
        while len(a.said) < 2:
            await asyncio.sleep(0)
            a.steps = (None,) if not a.said else (b"late",)
        assert await saying == b"late"
        assert chain.told == [("a", "timeout", "b"), ("b", "not_installed", "a")]

    run(test)


@pytest.mark.parametrize("other", ["closed", "bad_answer"])
def test_a_slow_voice_is_not_asked_again_where_another_may_speak_next_time(other: Reason) -> None:
    a, b = FakeVoice("a", None), FakeVoice("b", other)
    chain = Chain(a, b, first_byte_s=0.01, alone_s=30.0)

    async def test() -> None:
        pieces, _ = await chain.fail()
        assert pieces == [APOLOGY]
        assert len(a.said) == 1

    run(test)


def test_a_slow_voice_is_asked_again_once_only() -> None:
    a = FakeVoice("a", None)
    chain = Chain(a, first_byte_s=0.01, alone_s=0.01)

    async def test() -> None:
        assert (await chain.fail())[0] == [APOLOGY]
        assert len(a.said) == 2

    run(test)


@pytest.mark.parametrize(("steps", "heard"), [((None,), b""), ((b"half", None), b"half" + BREATH)])
def test_a_voice_that_falls_silent_has_failed(steps: tuple[Step, ...], heard: bytes) -> None:
    a, b = FakeVoice("a", *steps), FakeVoice("b", b"b")
    chain = Chain(a, b, first_byte_s=0.01, gap_s=0.01)

    async def test() -> None:
        assert await chain.say() == heard + b"b"
        assert chain.told == [("a", "timeout", "b")]
        assert a.ended == 1  # its work was stopped

    run(test)


def test_the_first_piece_and_the_next_have_limits_of_their_own() -> None:
    a, b = FakeVoice("a", b"half", None), FakeVoice("b", b"b")
    chain = Chain(a, b, first_byte_s=3600.0, gap_s=0.01)

    async def test() -> None:
        assert await chain.say() == b"half" + BREATH + b"b"

    run(test)


def test_a_listener_that_takes_its_time_is_no_failure() -> None:
    chain = Chain(FakeVoice("a", b"1", b"2"), first_byte_s=1e-9, gap_s=1e-9)

    async def test() -> None:
        heard = b""
        async for piece in chain.voices.speak("Hello."):
            heard += piece
            for _ in range(10):  # a limit that ran on while nobody asks for more would strike here
                await asyncio.sleep(0)
        assert heard == b"12"
        assert chain.told == []

    run(test)


def test_when_every_voice_fails_the_apology_is_heard_and_the_failure_raised() -> None:
    chain = Chain(FakeVoice("a", "unavailable"), FakeVoice("b", "closed"))

    async def test() -> None:
        assert await chain.fail() == ([APOLOGY], "b: closed")
        assert chain.told == [("a", "unavailable", "b"), ("b", "closed", None)]

    run(test)


def test_half_a_sentence_and_the_apology_are_not_run_together() -> None:
    chain = Chain(FakeVoice("a", b"half", "closed"))

    async def test() -> None:
        assert await chain.fail() == ([b"half", BREATH, APOLOGY], "a: closed")

    run(test)


def test_two_halves_and_an_apology_have_a_breath_between_them() -> None:
    chain = Chain(FakeVoice("a", b"a", "closed"), FakeVoice("b", b"b", "timeout"))

    async def test() -> None:
        assert await chain.fail() == ([b"a", BREATH, b"b", BREATH, APOLOGY], "b: timeout")

    run(test)


def test_without_any_voice_there_is_the_apology() -> None:
    chain = Chain()

    async def test() -> None:
        assert await chain.fail() == ([APOLOGY], "voices: not_installed (there is no voice)")

    run(test)


def test_the_apology_is_some_seconds_of_speech() -> None:
    assert 3.0 < seconds(APOLOGY) < 5.0
    assert len(set(APOLOGY)) > 100


def test_a_voice_that_failed_is_asked_last_until_its_cooldown_is_over() -> None:
    a, b = FakeVoice("a", "unavailable"), FakeVoice("b", b"b")
    chain = Chain(a, b, cooldown_s=30.0)

    async def test() -> None:
        await chain.say()
        a.steps = (b"a",)
        chain.now += 29.9
        assert await chain.say() == b"b"
        assert len(a.said) == 1
        chain.now += 0.2
        assert await chain.say() == b"a"

    run(test)


@pytest.mark.parametrize("reason", ["unauthorized", "no_credit", "not_installed"])
def test_what_does_not_pass_by_itself_cools_down_longer(reason: Reason) -> None:
    a, b = FakeVoice("a", reason), FakeVoice("b", b"b")
    chain = Chain(a, b, cooldown_s=30.0)

    async def test() -> None:
        await chain.say()
        chain.now += voices.LASTING_COOLDOWN_S - 1
        await chain.say()
        assert len(a.said) == 1
        chain.now += 2
        await chain.say()
        assert len(a.said) == 2

    run(test)


def test_a_cooling_voice_is_asked_rather_than_nobody_and_trusted_once_it_spoke() -> None:
    a, b = FakeVoice("a", "unauthorized"), FakeVoice("b", b"b")
    chain = Chain(a, b)

    async def test() -> None:
        await chain.say()
        a.steps, b.steps = (b"a",), ("unavailable",)
        assert await chain.say() == b"a"
        assert chain.told == [("a", "unauthorized", "b"), ("b", "unavailable", "a")]
        chain.now += 31.0  # the second is trusted again; without its word, the first would not be
        assert await chain.say() == b"a"
        assert len(b.said) == 2

    run(test)


def test_an_interrupted_sentence_ends_the_work_and_is_nobodys_failure() -> None:
    a, b = FakeVoice("a", b"1", None), FakeVoice("b", b"b")
    chain = Chain(a, b)

    async def test() -> None:
        sentence = chain.voices.speak("Hello.")
        assert await anext(sentence) == b"1"
        await sentence.aclose()  # type: ignore[attr-defined]
        assert a.ended == 1
        waiting = asyncio.create_task(chain.say())
        await a.is_stuck.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert a.ended == 2
        assert chain.told == []
        assert b.said == []

    run(test)


def test_one_call_that_fails_over_leaves_the_sentences_of_others_alone() -> None:
    """Two sentences at once, the second of which finds the first voice broken."""
    a, b = FakeVoice("a", b"1", b"2"), FakeVoice("b", b"b")
    chain = Chain(a, b)

    async def test() -> None:
        first = chain.voices.speak("One.")
        heard = [await anext(first)]
        a.steps = ("unavailable",)
        assert await chain.say("Two.") == b"b"
        heard += [piece async for piece in first]
        assert heard == [b"1", b"2"]

    run(test)


def test_the_first_that_can_is_warmed() -> None:
    a, b, c = FakeVoice("a", warms="not_installed"), FakeVoice("b", b"b"), FakeVoice("c")
    chain = Chain(a, b, c)

    async def test() -> None:
        await chain.voices.warm()
        assert chain.told == [("a", "not_installed", "b")]
        assert (a.warmed, b.warmed, c.warmed) == (1, 1, 0)
        assert await chain.say() == b"b"  # the first is not asked for what it cannot
        assert a.said == []

    run(test)


def test_warming_fails_when_none_can() -> None:
    chain = Chain(FakeVoice("a", warms="unauthorized"), FakeVoice("b", warms="unreachable"))

    async def test() -> None:
        with pytest.raises(ProviderError, match="b: unreachable"):
            await chain.voices.warm()
        assert chain.told == [("a", "unauthorized", "b"), ("b", "unreachable", None)]

    run(test)


def test_closing_closes_every_voice() -> None:
    a, b = FakeVoice("a"), FakeVoice("b")

    async def test() -> None:
        await Chain(a, b).voices.close()
        assert (a.closed, b.closed) == (1, 1)

    run(test)
