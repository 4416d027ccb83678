"""Deepgram's ears against a strict stand-in of its endpoint."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Literal

import pytest

from gateway import g711
from gateway.providers import deepgram, dictation
from gateway.providers.dictation import Dictation
from gateway.speech import Listener, Reason
from stand_ins import DeepgramStandIn
from stand_ins.outcomes import failure, with_locals
from stand_ins.server import Fault, tone

SPEECH = g711.encode(tone("what is the time in Lisbon, please?", g711.BYTES_PER_SECOND))


@contextlib.asynccontextmanager
async def _ears(vendor: DeepgramStandIn, **settings: object) -> AsyncGenerator[deepgram.Ears, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    ears = deepgram.Ears(**given)  # type: ignore[arg-type]
    try:
        yield ears
    finally:
        await ears.close()


async def _drop(vendor: DeepgramStandIn, listener: Listener) -> None:
    """End the connection, and wait until our side knows."""
    assert isinstance(listener, Dictation)
    assert listener._line is not None
    line = listener._line._task
    await vendor.drop_connections()
    await asyncio.wait([line])


@pytest.mark.parametrize("finalize", ["answered", "early"])
def test_an_utterance_is_transcribed_piece_by_piece_with_every_byte(
    finalize: Literal["answered", "early"],
) -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            await ears.warm()
            vendor.finalize = finalize
            vendor.transcripts.extend(["Could you", "tell me the time?"])
            listener = await ears.listen()
            listener.begin()
            for at in range(0, len(SPEECH), g711.FRAME_BYTES):
                listener.hear(SPEECH[at : at + g711.FRAME_BYTES])
            assert await listener.transcribe() == "Could you"
            assert await listener.transcribe() == "Could you"  # nothing more was heard
            listener.hear(SPEECH)
            assert await listener.transcribe() == "Could you tell me the time?"
            assert vendor.heard == [SPEECH, SPEECH]
            await listener.close()
            await vendor.seen("session ended")
            assert vendor.messages == ["Finalize", "Finalize", "CloseStream"]

    asyncio.run(call())


def test_a_finalize_that_is_not_answered_makes_do_with_the_interim_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deepgram.Live, "patience_s", 0.05)

    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            vendor.finalize = "unanswered"
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await listener.close()

    asyncio.run(call())


def test_what_was_heard_before_an_utterance_began_is_no_part_of_it() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            vendor.transcripts.extend(["a false start", "the question"])
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            await vendor.seen("audio")
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == "the question"
            await listener.close()

    asyncio.run(call())


def test_an_idle_connection_is_kept_by_text_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepgram.Live, "keep_alive_s", 0.01)

    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            await vendor.seen("KeepAlive", count=2)
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await listener.close()

    asyncio.run(call())


REFUSALS: list[tuple[Fault, Reason, int | None]] = [
    ("unauthorized", "unauthorized", 401),
    ("no_credit", "no_credit", 402),
    ("rate_limited", "rate_limited", 429),
    ("refused", "refused", 400),
    ("broken", "unavailable", 500),
    ("redirect", "bad_answer", 307),
    ("hang_up", "closed", None),
    ("silence", "timeout", None),
]


@pytest.mark.parametrize(("fault", "reason", "status"), REFUSALS)
def test_ears_that_do_not_open_say_why(fault: Fault, reason: Reason, status: int | None) -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor, connect_s=0.1) as ears:
            vendor.fail_with(fault)
            error = await failure(ears.listen())
            assert (error.provider, error.reason, error.status) == ("deepgram", reason, status)
            assert ("GET", "/elsewhere") not in vendor.requests

    asyncio.run(call())


def test_nobody_there_is_unreachable() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor:
            url = vendor.url
        ears = deepgram.Ears(api_key="whatever", base_url=url)
        assert (await failure(ears.listen())).reason == "unreachable"
        assert (await failure(ears.warm())).reason == "unreachable"
        await ears.close()

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("cut", "closed"),
        pytest.param("close", "unavailable"),
        pytest.param("malformed", "bad_answer"),
        pytest.param("error_event", "refused"),
        pytest.param("stall", "timeout"),
    ],
)
def test_ears_that_fail_in_the_middle_say_so_and_hear_the_next_utterance(
    fault: Fault, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepgram.Live, "patience_s", 0.05)

    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor, transcript_s=0.2) as ears:
            listener = await ears.listen()
            vendor.fail_with(fault)
            listener.begin()
            listener.hear(SPEECH)
            assert (await failure(listener.transcribe())).reason == reason
            vendor.work()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await listener.close()

    asyncio.run(call())


def test_a_connection_lost_between_utterances_is_opened_again_and_nobody_is_told() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await _drop(vendor, listener)
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await vendor.seen("session", count=2)
            await listener.close()

    asyncio.run(call())


def test_what_was_understood_stays_understood_when_the_connection_is_lost() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await _drop(vendor, listener)
            assert await listener.transcribe() == vendor.transcript
            listener.hear(SPEECH)
            assert (await failure(listener.transcribe())).reason == "closed"
            await listener.close()

    asyncio.run(call())


def test_a_connection_that_cannot_be_opened_again_fails_the_utterance() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            await _drop(vendor, listener)
            vendor.fail_with("broken")
            listener.begin()
            listener.hear(SPEECH)
            assert (await failure(listener.transcribe())).reason == "unavailable"
            await listener.close()

    asyncio.run(call())


def test_a_new_utterance_ends_the_wait_for_the_old_one() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            vendor.fail_with("stall")
            listener.begin()
            listener.hear(SPEECH)
            waiting = asyncio.create_task(listener.transcribe())
            await vendor.seen("Finalize")
            listener.begin()
            async with asyncio.timeout(4):  # half of what it would wait for
                assert await waiting == ""
            await listener.close()

    asyncio.run(call())


def test_a_failure_of_the_new_utterance_is_none_of_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            vendor.fail_with("stall")
            listener.begin()
            listener.hear(SPEECH)
            waiting = asyncio.create_task(listener.transcribe())
            await vendor.seen("Finalize")
            listener.begin()
            monkeypatch.setattr(dictation, "QUEUE_LIMIT", 0)
            listener.hear(SPEECH)
            assert await waiting == ""
            assert (await failure(listener.transcribe())).reason == "timeout"
            await listener.close()

    asyncio.run(call())


def test_an_utterance_may_be_longer_than_what_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictation, "QUEUE_LIMIT", 2 * len(SPEECH))

    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            listener.begin()
            for number in range(5):
                listener.hear(SPEECH)
                said = " ".join([vendor.transcript] * (number + 1))
                assert await listener.transcribe() == said
            await listener.close()

    asyncio.run(call())


def test_a_cancelled_wait_loses_nothing_of_the_utterance() -> None:
    async def call() -> None:
        async with DeepgramStandIn() as vendor, _ears(vendor) as ears:
            vendor.transcripts.extend(["Could you", "tell me the time?"])
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            waiting = asyncio.create_task(listener.transcribe())
            await vendor.seen("Finalize")
            waiting.cancel()
            listener.hear(SPEECH)
            assert await listener.transcribe() == "Could you tell me the time?"
            await listener.close()

    asyncio.run(call())


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "0123456789abcdef0123456789abcdef01234567"
        async with DeepgramStandIn() as vendor, _ears(vendor, api_key=key) as ears:
            error = await failure(ears.listen())
            vendor.api_key = key
            await (await ears.listen()).close()
            return [repr(ears), with_locals(error), str(vars(ears)), str(vars(ears._api))]

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "0123456789abcdef" not in "".join(shown) + caplog.text
