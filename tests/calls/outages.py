"""Outages of providers: which there are, and a call that is held while one lasts."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from calls.gateways_at_work import BRISK, Heard, at_work
from calls.letters import LettersVoice, Parrot, ToldEars
from gateway import casting
from gateway.conversation import Phrases
from gateway.speech import Reason
from stand_ins import DeepgramStandIn, ElevenLabsStandIn, OpenAIStandIn
from stand_ins.server import Fault

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
