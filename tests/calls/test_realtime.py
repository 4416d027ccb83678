"""Speech to speech against a strict stand-in: both parties' audio, turns, interruptions."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import pytest

from gateway import g711
from gateway.providers import realtime
from gateway.providers.interplay import AudioPiece, CallerStarted, Remark, SessionEvent, TurnEnded
from gateway.providers.realtime import Realtime, RealtimeSession
from gateway.speech import Reason
from stand_ins import OpenAIStandIn
from stand_ins.openai_realtime import SILENCE_MS, ConversationSession
from stand_ins.outcomes import failure, until_failure, with_locals
from stand_ins.server import Fault, tone

SPEECH = g711.encode(tone("what is the time?", g711.BYTES_PER_SECOND))
QUIET = g711.SILENCE * (SILENCE_MS * 8)
ANSWER = "It is half past three."


@contextlib.asynccontextmanager
async def _provider(vendor: OpenAIStandIn, **settings: object) -> AsyncGenerator[Realtime, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    provider = Realtime(**given)  # type: ignore[arg-type]
    try:
        yield provider
    finally:
        await provider.close()


def _say(session: RealtimeSession, audio: bytes) -> None:
    for at in range(0, len(audio), g711.FRAME_BYTES):
        session.hear(audio[at : at + g711.FRAME_BYTES])


async def _until(
    events: AsyncGenerator[SessionEvent, None], last: type[SessionEvent], count: int = 1
) -> list[SessionEvent]:
    """The events up to the so-manieth of a kind."""
    happened: list[SessionEvent] = []
    while sum(isinstance(event, last) for event in happened) < count:
        happened.append(await anext(events))
    return happened


def _audio(events: list[SessionEvent]) -> bytes:
    return b"".join(event.audio for event in events if isinstance(event, AudioPiece))


def _mulaw(text: str) -> bytes:
    return g711.encode(tone(text, g711.BYTES_PER_SECOND))


def test_the_agent_greets_hears_and_answers_in_mulaw_without_conversion() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor) as provider:
            await provider.warm()
            session = await provider.open("Hello, this is Ada.")
            events = session.events()
            greeting = await _until(events, TurnEnded)
            assert _audio(greeting) == _mulaw("Hello, this is Ada.")
            _say(session, SPEECH + QUIET)
            exchange = await _until(events, TurnEnded, count=2)
            assert isinstance(exchange[0], CallerStarted)
            assert _audio(exchange) == _mulaw(ANSWER)
            turns = [event for event in exchange if isinstance(event, TurnEnded)]
            assert {(turn.speaker, turn.text, turn.was_interrupted) for turn in turns} == {
                ("caller", vendor.transcript, False),
                ("agent", ANSWER, False),
            }
            assert vendor.heard == [SPEECH + QUIET]
            await session.close()
            assert [event async for event in events] == []
            await vendor.seen("session ended")

    asyncio.run(call())


def test_the_settings_are_those_of_a_telephone_call() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            settings = {"voice": "cedar", "instructions": "Be Ada.", "silence_ms": 400}
            async with _provider(vendor, **settings) as provider:
                await (await provider.open()).close()
            [update] = vendor.sessions[0].updates
            assert update["instructions"] == "Be Ada."
            assert update["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "cedar"}
            assert update["audio"]["input"]["turn_detection"] == {
                "type": "server_vad",
                "silence_duration_ms": 400,
                "create_response": True,
                "interrupt_response": True,
            }

    asyncio.run(call())


def test_a_transcriber_that_is_gone_costs_the_transcript_and_not_the_call() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor, transcriber="gone") as provider:
            await (await provider.open()).close()
            assert vendor.sessions[0].updates[0]["audio"]["input"]["transcription"] is None

    asyncio.run(call())


def test_audio_comes_while_the_rest_is_still_being_made_and_stops_where_the_caller_interrupts() -> (
    None
):
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor) as provider:
            vendor.hold(after=2)
            session = await provider.open("Hello, this is Ada, and I have a lot to tell you.")
            events = session.events()
            first = await _until(events, AudioPiece)
            [item] = [event.item_id for event in first if isinstance(event, AudioPiece)]
            await vendor.seen("held")
            vendor._hold_after = None  # the next answer flows
            _say(session, SPEECH)
            happened = await _until(events, CallerStarted)
            session.truncate(item, 100)
            await vendor.seen("conversation.item.truncate")
            happened += await _until(events, TurnEnded)
            assert happened[-1] == TurnEnded(
                "agent", item, "Hello, this is Ada, and I have a lot to tell you.", True
            )
            conversation = vendor.sessions[0]
            assert isinstance(conversation, ConversationSession)
            assert conversation.truncated == [(item, 100)]
            _say(session, QUIET)
            assert _audio(await _until(events, TurnEnded, count=2)) == _mulaw(ANSWER)
            await session.close()

    asyncio.run(call())


def test_truncating_too_late_is_a_remark_and_not_the_end() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor) as provider:
            session = await provider.open("Hello.")
            events = session.events()
            [*_, turn] = await _until(events, TurnEnded)
            assert isinstance(turn, TurnEnded)
            session.truncate(turn.item_id, 100_000)
            [remark] = await _until(events, Remark)
            assert isinstance(remark, Remark)
            assert "already shorter" in remark.text
            _say(session, SPEECH + QUIET)
            await _until(events, TurnEnded, count=2)
            await session.close()

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        ("unauthorized", "unauthorized", 401),
        ("no_credit", "no_credit", 402),
        ("out_of_quota", "no_credit", 429),
        ("rate_limited", "rate_limited", 429),
        ("hang_up", "closed", None),
        ("error_event", "no_credit", None),
        ("malformed", "bad_answer", None),
        ("stall", "timeout", None),
    ],
)
def test_a_session_that_does_not_begin_says_why(
    fault: Fault, reason: Reason, status: int | None
) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor, first_byte_s=0.1) as provider:
            vendor.fail_with(fault)
            error = await failure(provider.open("Hello."))
            assert (error.provider, error.reason, error.status) == (
                "openai-realtime",
                reason,
                status,
            )

    asyncio.run(call())


def test_a_voice_that_the_model_does_not_have_is_refused() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor, voice="onyx") as provider:
            error = await failure(provider.open())
            assert error.reason == "refused"
            assert "session.audio.output.voice" in str(error)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("cut", "closed"),
        pytest.param("silence", "timeout", id="no answer"),
        pytest.param("empty", "timeout", id="no more of the answer"),
        pytest.param("broken", "unavailable", id="the answer failed"),
    ],
)
def test_a_session_that_fails_in_the_middle_says_so(fault: Fault, reason: Reason) -> None:
    async def call() -> None:
        settings = {"first_byte_s": 0.2, "idle_s": 0.2}
        async with OpenAIStandIn() as vendor, _provider(vendor, **settings) as provider:
            session = await provider.open()
            vendor.fail_with(fault)
            _say(session, SPEECH + QUIET)
            happened, error = await until_failure(session.events())
            assert isinstance(happened[0], CallerStarted)
            assert error.reason == reason
            await session.close()

    asyncio.run(call())


def test_audio_that_the_provider_does_not_take_is_bounded_and_becomes_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(realtime, "QUEUE_LIMIT", 3 * len(SPEECH))

    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor) as provider:
            session = await provider.open()
            for _ in range(4):
                session.hear(SPEECH)
            _, error = await until_failure(session.events())
            assert error.reason == "timeout"
            assert "was not taken" in str(error)
            await session.close()

    asyncio.run(call())


def test_a_call_may_be_longer_than_what_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime, "QUEUE_LIMIT", 2 * len(QUIET))

    async def call() -> None:
        async with OpenAIStandIn() as vendor, _provider(vendor) as provider:
            session = await provider.open()
            for number in range(5):
                session.hear(QUIET)
                await vendor.seen("input_audio_buffer.append", count=number + 1)
            assert session._failure is None
            await session.close()

    asyncio.run(call())


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "sk-very-secret-0123456789abcdefghij"
        async with OpenAIStandIn() as vendor, _provider(vendor, api_key=key) as provider:
            error = await failure(provider.open())
            vendor.api_key = key
            session = await provider.open()
            await session.close()
            return [repr(provider), with_locals(error), str(vars(provider)), str(vars(session))]

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "very-secret" not in "".join(shown) + caplog.text
