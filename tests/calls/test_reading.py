"""A realtime model as a voice, against the strict stand-in."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import pytest

from gateway import g711
from gateway.providers import reading
from gateway.providers.reading import Reader
from gateway.speech import Reason
from stand_ins import OpenAIStandIn
from stand_ins.outcomes import failure, until_failure, with_locals
from stand_ins.server import Fault, tone

TEXT = "The meeting is at half past three."
AUDIO = g711.encode(tone(TEXT, g711.BYTES_PER_SECOND))


@contextlib.asynccontextmanager
async def _voice(vendor: OpenAIStandIn, **settings: object) -> AsyncGenerator[Reader, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    voice = Reader(**given)  # type: ignore[arg-type]
    try:
        yield voice
    finally:
        await voice.close()


async def _all(voice: Reader) -> bytes:
    return b"".join([piece async for piece in voice.speak(TEXT)])


def test_sentences_are_read_in_mulaw_over_the_connection_that_was_warmed() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            await voice.warm()
            await voice.warm()
            assert await _all(voice) == await _all(voice) == AUDIO
            assert len(vendor.sessions) == 1

    asyncio.run(call())


def test_two_calls_speak_at_once() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            assert set(await asyncio.gather(_all(voice), _all(voice))) == {AUDIO}
            assert len(vendor.sessions) == 2

    asyncio.run(call())


def test_a_connection_that_ended_meanwhile_is_opened_again() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            await voice.warm()
            [channel] = voice._idle
            await vendor.drop_connections()
            await channel._websocket.wait_closed()
            assert await _all(voice) == AUDIO
            assert len(vendor.sessions) == 2

    asyncio.run(call())


def test_the_first_piece_is_there_while_the_rest_is_still_being_made() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=1)
            pieces = voice.speak(TEXT)
            first = await anext(pieces)
            assert first == AUDIO[: len(first)]
            vendor.let_go()
            assert first + b"".join([piece async for piece in pieces]) == AUDIO

    asyncio.run(call())


def test_a_caller_who_interrupts_ends_the_response_and_the_next_text_is_a_new_one() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=1)
            pieces = voice.speak(TEXT)
            await anext(pieces)
            await pieces.aclose()
            await vendor.seen("session ended")
            vendor.let_go()
            assert await _all(voice) == AUDIO

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("unauthorized", "unauthorized"),
        ("no_credit", "no_credit"),
        ("rate_limited", "rate_limited"),
        ("hang_up", "closed"),
        ("error_event", "no_credit"),
        ("malformed", "bad_answer"),
        ("stall", "timeout"),
        ("broken", "unavailable"),
    ],
)
def test_a_voice_that_fails_before_its_first_byte_says_why(fault: Fault, reason: Reason) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor, first_byte_s=0.1) as voice:
            vendor.fail_with(fault)
            assert (await failure(anext(voice.speak(TEXT)))).reason == reason
            vendor.work()
            assert await _all(voice) == AUDIO

    asyncio.run(call())


def test_a_voice_that_fails_in_the_middle_says_so_after_what_there_was() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor, idle_s=0.1) as voice:
            vendor.fail_with("empty")
            pieces, error = await until_failure(voice.speak(TEXT))
            assert error.reason == "timeout"
            assert 0 < len(b"".join(pieces)) < len(AUDIO)

    asyncio.run(call())


def test_no_more_connections_are_kept_than_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "IDLE_LIMIT", 1)

    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            await asyncio.gather(_all(voice), _all(voice))
            await vendor.seen("session ended")
            assert len(voice._idle) == 1

    asyncio.run(call())


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "sk-very-secret-0123456789abcdefghij"
        async with OpenAIStandIn() as vendor, _voice(vendor, api_key=key) as voice:
            error = await failure(voice.warm())
            vendor.api_key = key
            await _all(voice)
            return [repr(voice), with_locals(error), str(vars(voice)), str(vars(voice._idle[0]))]

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "very-secret" not in "".join(shown) + caplog.text
