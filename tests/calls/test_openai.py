"""OpenAI's voice and ears against a strict stand-in of its endpoints."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from gateway import g711
from gateway.providers import openai
from gateway.resample import Resampler
from gateway.speech import Reason
from stand_ins import OpenAIStandIn
from stand_ins.outcomes import failure, until_failure, with_locals
from stand_ins.server import Fault, tone

TEXT = "The meeting is at half past three."
SPEECH = g711.encode(tone("hello there", g711.BYTES_PER_SECOND))


def _as_mulaw(pcm: bytes) -> bytes:
    resampler = Resampler(24000, 8000)
    samples = np.frombuffer(pcm, "<i2").astype(np.int16)
    return g711.encode(resampler.receive_pcm(samples)) + g711.encode(resampler.flush())


@contextlib.asynccontextmanager
async def _voice(vendor: OpenAIStandIn, **settings: object) -> AsyncGenerator[openai.Voice, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    voice = openai.Voice(**given)  # type: ignore[arg-type]
    try:
        yield voice
    finally:
        await voice.close()


@contextlib.asynccontextmanager
async def _ears(vendor: OpenAIStandIn, **settings: object) -> AsyncGenerator[openai.Ears, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    ears = openai.Ears(**given)  # type: ignore[arg-type]
    try:
        yield ears
    finally:
        await ears.close()


async def _all(voice: openai.Voice, text: str = TEXT) -> bytes:
    return b"".join([piece async for piece in voice.speak(text)])


def test_a_sentence_is_spoken_to_the_last_sample_though_the_network_cuts_samples_in_two() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            assert await _all(voice) == _as_mulaw(vendor.speech(TEXT))
            assert vendor.spoken == [
                {
                    "model": "gpt-4o-mini-tts",
                    "voice": "onyx",
                    "input": TEXT,
                    "response_format": "pcm",
                }
            ]

    asyncio.run(call())


def test_instructions_are_sent_only_where_there_are_any() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            async with _voice(vendor, instructions="Whisper.") as voice:
                await _all(voice)
            async with _voice(vendor, model="tts-1", voice="nova") as voice:
                await _all(voice)
            assert vendor.spoken[0]["instructions"] == "Whisper."

    asyncio.run(call())


def test_the_first_piece_is_there_while_the_rest_is_still_being_made() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=1)
            pieces = voice.speak(TEXT)
            first = await anext(pieces)
            assert first
            assert "answered" not in vendor.events
            vendor.let_go()
            rest = b"".join([piece async for piece in pieces])
            assert first + rest == _as_mulaw(vendor.speech(TEXT))

    asyncio.run(call())


def test_a_warmed_connection_is_used_for_the_first_sentence_and_for_the_next() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            await voice.warm()
            await _all(voice)
            await _all(voice)
            assert vendor.requests[0] == ("GET", "/v1/models")
            assert len(vendor._transports) == 1

    asyncio.run(call())


def test_a_kept_connection_that_the_server_closed_meanwhile_is_not_a_failure() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.fail_with("hang_up", times=1)
            assert await _all(voice) == _as_mulaw(vendor.speech(TEXT))
            assert len(vendor.requests) == 2

    asyncio.run(call())


def test_a_key_from_a_file_and_an_address_from_elsewhere_work_as_they_are_found() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            found = {"api_key": f" {vendor.api_key}\n", "base_url": f"{vendor.url}/v1/"}
            async with _voice(vendor, **found) as voice, _ears(vendor, **found) as ears:
                assert await _all(voice)
                await (await ears.listen()).close()

    asyncio.run(call())


def test_warming_does_not_judge_a_key_that_may_only_speak() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.fail_with("unauthorized")
            await voice.warm()

    asyncio.run(call())


REFUSALS: list[tuple[Fault, Reason, int | None]] = [
    ("unauthorized", "unauthorized", 401),
    ("no_credit", "no_credit", 402),
    ("out_of_quota", "no_credit", 429),
    ("rate_limited", "rate_limited", 429),
    ("refused", "refused", 404),
    ("broken", "unavailable", 500),
    ("redirect", "bad_answer", 307),
    ("hang_up", "closed", None),
    ("silence", "timeout", None),
    ("malformed", "bad_answer", None),
    ("empty", "bad_answer", None),
]


@pytest.mark.parametrize(("fault", "reason", "status"), REFUSALS)
def test_a_voice_that_fails_before_its_first_byte_says_why(
    fault: Fault, reason: Reason, status: int | None
) -> None:
    async def call() -> None:
        async with (
            OpenAIStandIn() as vendor,
            _voice(vendor, connect_s=0.1, first_byte_s=0.1) as voice,
        ):
            vendor.fail_with(fault)
            error = await failure(anext(voice.speak(TEXT)))
            assert (error.provider, error.reason, error.status) == ("openai", reason, status)
            vendor.work()
            assert await _all(voice)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [pytest.param("cut", "closed"), pytest.param("stall", "timeout")],
)
def test_a_voice_that_fails_in_the_middle_says_so_after_what_there_was(
    fault: Fault, reason: Reason
) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor, idle_s=0.1) as voice:
            vendor.fail_with(fault)
            pieces, error = await until_failure(voice.speak(TEXT))
            heard = b"".join(pieces)
            assert error.reason == reason
            assert 0 < len(heard) < len(_as_mulaw(vendor.speech(TEXT)))
            if fault == "stall":
                await vendor.seen("client left")

    asyncio.run(call())


def test_nobody_there_is_unreachable_when_warmed_and_when_spoken() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            url = vendor.url
        voice = openai.Voice(api_key="sk-whatever", base_url=url)
        for work in (voice.warm(), anext(voice.speak(TEXT))):
            assert (await failure(work)).reason == "unreachable"
        await voice.close()

    asyncio.run(call())


def test_a_voice_that_the_caller_interrupts_hangs_up_on_the_provider() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=2)
            pieces = voice.speak(TEXT)
            await anext(pieces)
            await pieces.aclose()
            await vendor.seen("client left")

    asyncio.run(call())


def test_a_task_that_is_cancelled_while_it_waits_hangs_up_too() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=0)
            task = asyncio.create_task(_all(voice))
            await vendor.seen("held")
            task.cancel()
            await vendor.seen("client left")

    asyncio.run(call())


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "sk-very-secret-0123456789abcdefghij"
        async with OpenAIStandIn() as vendor:
            async with _voice(vendor, api_key=key) as voice, _ears(vendor, api_key=key) as ears:
                errors = [
                    await failure(anext(voice.speak(TEXT))),
                    await failure(ears.listen()),
                ]
                shown = [repr(thing) for thing in (voice, ears, voice._api)]
                shown += [with_locals(error) for error in errors]
                shown += [str(vars(thing)) for thing in (voice, ears, voice._api)]
            vendor.api_key = key
            async with _ears(vendor, api_key=key) as ears:
                await (await ears.listen()).close()
            return shown

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "very-secret" not in "".join(shown) + caplog.text


def test_an_utterance_is_transcribed_with_every_byte_of_its_audio() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _ears(vendor) as ears:
            await ears.warm()
            listener = await ears.listen()
            listener.begin()
            for at in range(0, len(SPEECH), g711.FRAME_BYTES):
                listener.hear(SPEECH[at : at + g711.FRAME_BYTES])
            assert await listener.transcribe() == vendor.transcript
            assert vendor.heard == [SPEECH]
            await listener.close()
            await vendor.seen("session ended")
            [session] = vendor.sessions
            assert session.updates[0]["audio"]["input"]["transcription"] == {
                "model": "gpt-live-transcribe",
                "languages": ["en"],
            }

    asyncio.run(call())


def test_an_older_model_is_told_the_language_by_the_older_name() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            async with _ears(vendor, model="gpt-4o-transcribe", language="de") as ears:
                await (await ears.listen()).close()
            assert vendor.sessions[0].updates[0]["audio"]["input"]["transcription"] == {
                "model": "gpt-4o-transcribe",
                "language": "de",
            }

    asyncio.run(call())


@pytest.mark.parametrize(("fault", "reason", "status"), [*REFUSALS[:6], *REFUSALS[7:9]])
def test_ears_that_do_not_open_say_why(fault: Fault, reason: Reason, status: int | None) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _ears(vendor, connect_s=0.1) as ears:
            vendor.fail_with(fault)
            error = await failure(ears.listen())
            assert (error.provider, error.reason, error.status) == ("openai", reason, status)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("error_event", "no_credit", id="settings refused"),
        pytest.param("malformed", "bad_answer"),
        pytest.param("stall", "timeout", id="settings not answered"),
    ],
)
def test_a_session_that_does_not_begin_says_why(fault: Fault, reason: Reason) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _ears(vendor, first_byte_s=0.1) as ears:
            vendor.fail_with(fault)
            assert (await failure(ears.listen())).reason == reason
            await vendor.seen("session ended")

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("cut", "closed"),
        pytest.param("close", "unavailable"),
        pytest.param("empty", "unavailable", id="this transcription failed"),
        pytest.param("silence", "timeout"),
    ],
)
def test_ears_that_fail_in_the_middle_say_so_and_hear_the_next_utterance(
    fault: Fault, reason: Reason
) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _ears(vendor, transcript_s=0.2) as ears:
            listener = await ears.listen()
            vendor.fail_with(fault)
            listener.begin()
            listener.hear(SPEECH)
            error = await failure(listener.transcribe())
            assert error.reason == reason
            if fault != "empty":  # which is about one piece only
                await vendor.seen("session ended")
            assert await failure(listener.transcribe()) is error  # not silently half an answer
            vendor.work()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == vendor.transcript
            await listener.close()

    asyncio.run(call())


def test_a_failure_of_what_was_dropped_is_nobodys() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            vendor.fail_with("empty")
            listener.begin()
            listener.hear(SPEECH)
            waiting = asyncio.create_task(listener.transcribe())
            await vendor.seen("input_audio_buffer.commit")
            listener.begin()
            listener.hear(SPEECH)
            vendor.work()
            assert await waiting == ""
            assert await listener.transcribe() == vendor.transcript
            await listener.close()

    asyncio.run(call())
