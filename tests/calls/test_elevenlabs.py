"""ElevenLabs' voice and ears against a strict stand-in of its endpoints."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

import pytest

from gateway import g711
from gateway.providers import dictation, elevenlabs
from gateway.speech import Reason
from stand_ins import ElevenLabsStandIn
from stand_ins.outcomes import failure, until_failure, with_locals
from stand_ins.server import Fault, tone

TEXT = "The meeting is at half past three."
SPEECH = g711.encode(tone("hello there", g711.BYTES_PER_SECOND))


@contextlib.asynccontextmanager
async def _voice(
    vendor: ElevenLabsStandIn, **settings: object
) -> AsyncGenerator[elevenlabs.Voice, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    voice = elevenlabs.Voice(**given)  # type: ignore[arg-type]
    try:
        yield voice
    finally:
        await voice.close()


@contextlib.asynccontextmanager
async def _ears(
    vendor: ElevenLabsStandIn, **settings: object
) -> AsyncGenerator[elevenlabs.Ears, None]:
    given = {"api_key": vendor.api_key, "base_url": vendor.url} | settings
    ears = elevenlabs.Ears(**given)  # type: ignore[arg-type]
    try:
        yield ears
    finally:
        await ears.close()


async def _all(voice: elevenlabs.Voice, text: str = TEXT) -> bytes:
    return b"".join([piece async for piece in voice.speak(text)])


@pytest.mark.parametrize(
    ("name", "voice_id"),
    [
        pytest.param("Brian", "nPczCjzI2devNBz1zQrb", id="of every account"),
        pytest.param("roger", "CwhRBWXzGAHq8TQ4Fs17", id="however it is spelled"),
        pytest.param("0123456789abcdefABCD", "0123456789abcdefABCD", id="by id"),
        pytest.param("Ada of our own", "0123456789abcdefABCD", id="of the account"),
    ],
)
def test_a_voice_is_found_by_name_and_its_mulaw_is_given_on_unchanged(
    name: str, voice_id: str
) -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor, voice=name) as voice:
            await voice.warm()
            assert await _all(voice) == vendor.speech(TEXT)
            assert vendor.spoken == [(voice_id, {"text": TEXT, "model_id": "eleven_flash_v2_5"})]
            assert len(vendor.requests) == 2

    asyncio.run(call())


def test_an_unknown_voice_is_refused_with_the_names_that_there_are() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor, voice="Bryan") as voice:
            error = await failure(voice.warm())
            assert error.reason == "refused"
            assert "no voice 'Bryan'; there are Ada of our own, Brian, Roger" in str(error)

    asyncio.run(call())


def test_a_list_of_voices_that_is_none_is_a_bad_answer() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor, voice="Bryan") as voice:
            vendor.fail_with("malformed")
            assert (await failure(voice.warm())).reason == "bad_answer"

    asyncio.run(call())


def test_settings_of_the_voice_are_passed_on() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor:
            async with _voice(vendor, language="en", settings={"speed": 1.1}) as voice:
                await _all(voice)
            [(_, content)] = vendor.spoken
            assert content["voice_settings"] == {"speed": 1.1}
            assert content["language_code"] == "en"

    asyncio.run(call())


def test_the_first_piece_is_there_while_the_rest_is_still_being_made() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=1)
            pieces = voice.speak(TEXT)
            first = await anext(pieces)
            assert first
            assert "answered" not in vendor.events
            vendor.let_go()
            assert first + b"".join([piece async for piece in pieces]) == vendor.speech(TEXT)

    asyncio.run(call())


REFUSALS: list[tuple[Fault, Reason, int | None]] = [
    ("unauthorized", "unauthorized", 401),
    ("no_credit", "no_credit", 402),
    ("out_of_quota", "no_credit", 401),
    ("rate_limited", "rate_limited", 429),
    ("refused", "refused", 400),
    ("broken", "unavailable", 500),
    ("hang_up", "closed", None),
    ("silence", "timeout", None),
    ("redirect", "bad_answer", 307),
    ("malformed", "bad_answer", None),
    ("empty", "bad_answer", None),
]


@pytest.mark.parametrize(("fault", "reason", "status"), REFUSALS)
def test_a_voice_that_fails_before_its_first_byte_says_why(
    fault: Fault, reason: Reason, status: int | None
) -> None:
    async def call() -> None:
        async with (
            ElevenLabsStandIn() as vendor,
            _voice(vendor, connect_s=0.1, first_byte_s=0.1) as voice,
        ):
            vendor.fail_with(fault)
            error = await failure(anext(voice.speak(TEXT)))
            assert (error.provider, error.reason, error.status) == ("elevenlabs", reason, status)

    asyncio.run(call())


def test_a_voice_that_the_account_does_not_have_is_refused() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor) as voice:
            vendor.voices.clear()
            error = await failure(anext(voice.speak(TEXT)))
            assert (error.reason, error.status) == ("refused", 404)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [pytest.param("cut", "closed"), pytest.param("stall", "timeout")],
)
def test_a_voice_that_fails_in_the_middle_says_so_after_what_there_was(
    fault: Fault, reason: Reason
) -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor, idle_s=0.1) as voice:
            vendor.fail_with(fault)
            pieces, error = await until_failure(voice.speak(TEXT))
            heard = b"".join(pieces)
            assert error.reason == reason
            assert heard
            assert vendor.speech(TEXT).startswith(heard)

    asyncio.run(call())


def test_a_voice_that_the_caller_interrupts_hangs_up_on_the_provider() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _voice(vendor) as voice:
            vendor.hold(after=2)
            pieces = voice.speak(TEXT)
            await anext(pieces)
            await pieces.aclose()
            await vendor.seen("client left")

    asyncio.run(call())


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "xi-very-secret-0123456789abcdefghij"
        async with (
            ElevenLabsStandIn() as vendor,
            _voice(vendor, api_key=key) as voice,
            _ears(vendor, api_key=key) as ears,
        ):
            errors = [
                await failure(anext(voice.speak(TEXT))),
                await failure(ears.listen()),
            ]
            shown = [repr(thing) for thing in (voice, ears, voice._api)]
            shown += [with_locals(error) for error in errors]
            return shown + [str(vars(thing)) for thing in (voice, ears, voice._api)]

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "very-secret" not in "".join(shown) + caplog.text


def test_an_utterance_is_transcribed_piece_by_piece() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor) as ears:
            vendor.transcripts.extend(["Could you", "tell me the time?"])
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH)
            assert await listener.transcribe() == "Could you"
            assert await listener.transcribe() == "Could you"  # nothing more was heard
            listener.hear(SPEECH)
            assert await listener.transcribe() == "Could you tell me the time?"
            assert vendor.heard == [SPEECH, SPEECH]
            await listener.close()

    asyncio.run(call())


def test_what_was_heard_before_an_utterance_began_is_no_part_of_it() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor) as ears:
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


def test_a_word_too_short_to_be_committed_is_lengthened_by_silence() -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            listener.begin()
            listener.hear(SPEECH[:1000])
            assert await listener.transcribe() == vendor.transcript
            [heard] = vendor.heard
            assert heard == SPEECH[:1000] + g711.SILENCE * (len(heard) - 1000)
            await listener.close()

    asyncio.run(call())


def test_silence_keeps_an_idle_connection_and_is_not_what_the_caller_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elevenlabs.Scribe, "keep_alive_s", 0.01)

    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            await vendor.seen("audio", count=2)
            listener.begin()
            assert await listener.transcribe() == ""
            assert "commit" not in vendor.events
            await listener.close()

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason", "status"), [*REFUSALS[:8], ("error_event", "no_credit", None)]
)
def test_ears_that_do_not_open_say_why(fault: Fault, reason: Reason, status: int | None) -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor, connect_s=0.1) as ears:
            vendor.fail_with(fault)
            error = await failure(ears.listen())
            assert (error.provider, error.reason, error.status) == ("elevenlabs", reason, status)

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("cut", "closed"),
        pytest.param("close", "unavailable"),
        pytest.param("stall", "timeout"),
    ],
)
def test_ears_that_fail_in_the_middle_say_so_and_hear_the_next_utterance(
    fault: Fault, reason: Reason
) -> None:
    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor, transcript_s=0.2) as ears:
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


def test_audio_that_the_provider_does_not_take_is_bounded_and_becomes_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dictation, "QUEUE_LIMIT", 3 * len(SPEECH))

    async def call() -> None:
        async with ElevenLabsStandIn() as vendor, _ears(vendor) as ears:
            listener = await ears.listen()
            listener.begin()
            for _ in range(4):
                listener.hear(SPEECH)  # nothing can be sent before we wait for something
            error = await failure(listener.transcribe())
            assert error.reason == "timeout"
            assert "audio were not taken" in str(error)
            await listener.close()

    asyncio.run(call())
