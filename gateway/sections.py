"""The tables of [gateway] in hopscope.toml. Every limit says what it protects."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_settings import NoDecode

from gateway.addresses import HostPort, PublicUrl, parse_host_port, parse_public_url
from gateway.calls import CallLimits, Policy, is_e164
from gateway.twiml import check_text

VoiceName = Literal["openai", "elevenlabs", "hibari", "espeak"]
EarsName = Literal["openai", "deepgram", "elevenlabs", "whisper", "pocketsphinx"]
Region = Literal["us1", "ie1", "au1", "jp1"]
# A region is reached through its own edge. api.ie1.twilio.com, without one, has always been us1.
EDGES: dict[str, str] = {"us1": "ashburn", "ie1": "dublin", "au1": "sydney", "jp1": "tokyo"}
# Answered beside the paths that can be chosen.
CALLS_PATH, HEALTH_PATH = "/calls", "/healthz"


def _check_path(text: str) -> str:
    if re.fullmatch(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+", text) is None:
        raise ValueError("should be a path such as /voice/webhook: no query, no slash at its end")
    return text


def _check_base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_fine = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        is_fine = False
    if not is_fine or re.search(r"[^!-~]|[?#@]", text):
        raise ValueError("should be a URL such as https://api.example.com/v1, without ? # and @")
    return text.rstrip("/")


def _check_number(text: str) -> str:
    if not is_e164(text):
        raise ValueError("should be a number in E.164 form, for example +15551234567")
    return text


def _check_words(text: str) -> str:
    return check_text(text) if text else text


def _parse_metrics(text: object) -> HostPort | None:
    return None if text in (None, "off") else parse_host_port(text)


# NoDecode: what is no scalar would be read from the environment as JSON.
Address = Annotated[HostPort, NoDecode, BeforeValidator(parse_host_port)]
AddressOrOff = Annotated[HostPort | None, NoDecode, BeforeValidator(_parse_metrics)]
PublicUrlText = Annotated[PublicUrl, NoDecode, BeforeValidator(parse_public_url)]
PathText = Annotated[str, AfterValidator(_check_path)]
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
Number = Annotated[str, AfterValidator(_check_number)]
# What is spoken: the limit is Twilio's for <Say>.
Spoken = Annotated[str, AfterValidator(_check_words)]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Paths(Section):
    """What Twilio asks for. Written into TwiML and into the calls that we create."""

    webhook: PathText = "/voice/webhook"
    stream: PathText = "/voice/stream"
    status: PathText = "/voice/status"
    stream_status: PathText = "/voice/stream-status"
    amd: PathText = "/voice/amd"
    debugger: PathText = "/voice/debugger"

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        paths = [getattr(self, name) for name in type(self).model_fields]
        paths += [CALLS_PATH, HEALTH_PATH]
        for path in paths:
            if paths.count(path) > 1 or path.startswith(CALLS_PATH + "/"):
                raise ValueError(f"{path} has two meanings; each path needs its own")
        return self


class Notify(Section):
    """What an inbound call hears in mode notify, and who says the text of a notify call."""

    text: Spoken = "This is a test message from Hopscope. You can hang up now."
    # stream: our own voice. say: Twilio's, which needs no stream.
    via: Literal["stream", "say"] = "stream"


class Inbound(Section):
    """Who may call. A caller's number is what the network says, and can be forged."""

    policy: Policy = "open"
    allow: tuple[Number, ...] = ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.allow and self.policy != "allow_list":
            raise ValueError(f"has numbers in allow, but policy = '{self.policy}' asks nobody")
        if not self.allow and self.policy == "allow_list":
            raise ValueError("policy = 'allow_list' with nobody in allow; 'off' refuses all calls")
        return self


class Limits(Section):
    # Each call holds a voice, ears and an agent; two cores transcribe some twenty offline.
    calls: Annotated[int, Field(ge=1, le=10_000)] = 20
    # One caller must not take all lines. Callers who withhold their numbers count as one.
    calls_per_caller_per_minute: Annotated[int, Field(ge=1, le=6000)] = 10
    # A forgotten call costs money at every provider. Twilio itself ends one after four hours.
    call_seconds: Annotated[float, Field(ge=10, le=14400)] = 1800
    # A socket that does not say whose it is holds a place for nobody.
    start_seconds: Seconds = 5
    pending_streams: Annotated[int, Field(ge=1, le=10_000)] = 32
    # Sockets in all, webhooks and streams.
    connections: Annotated[int, Field(ge=8, le=100_000)] = 256
    # Twilio's forms have some two kilobytes; they are read before their signature is known.
    body_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 65536
    body_seconds: Seconds = 10

    def call_limits(self) -> CallLimits:
        return CallLimits(
            self.calls, self.calls_per_caller_per_minute, self.pending_streams, self.call_seconds
        )


class Turns(Section):
    """When the caller has finished, and when the agent falls silent."""

    # So much silence ends an utterance.
    silence_ms: Annotated[int, Field(ge=100, le=5000)] = 500
    # So much begins its transcription, which is dropped if the caller goes on.
    pause_ms: Annotated[int, Field(ge=40, le=5000)] = 200
    barge_in: bool = True
    barge_in_greeting: bool = True
    # A caller who says nothing for so long is asked, then left.
    no_input_seconds: Annotated[float, Field(ge=2, le=600)] = 15

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.pause_ms > self.silence_ms:
            raise ValueError("has a pause_ms above silence_ms; a pause comes before the end")
        return self


class OpenAiVoice(Section):
    # OpenAI ends its speech models on 2027-01-06. One that begins with gpt-realtime speaks over the
    # Realtime API, with that API's voices.
    model: Word = "gpt-4o-mini-tts"
    voice: Word = "onyx"
    base_url: BaseUrl = "https://api.openai.com/v1"


class ElevenLabsVoice(Section):
    model: Word = "eleven_flash_v2_5"
    # A name, resolved by the provider, or an id.
    voice: Word = "Brian"
    base_url: BaseUrl = "https://api.elevenlabs.io"


class HibariVoice(Section):
    # The same seed says the same sentence alike, bit by bit.
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class EspeakVoice(Section):
    voice: Word = "en-us"
    words_per_minute: Annotated[int, Field(ge=80, le=450)] = 160


class Voices(Section):
    openai: OpenAiVoice = OpenAiVoice()
    elevenlabs: ElevenLabsVoice = ElevenLabsVoice()
    hibari: HibariVoice = HibariVoice()
    espeak: EspeakVoice = EspeakVoice()


class OpenAiEars(Section):
    model: Word = "gpt-4o-mini-transcribe"
    language: Word = "en"
    base_url: BaseUrl = "https://api.openai.com/v1"


class DeepgramEars(Section):
    model: Word = "nova-3"
    language: Word = "en"
    base_url: BaseUrl = "https://api.deepgram.com"


class ElevenLabsEars(Section):
    model: Word = "scribe_v2_realtime"
    language: Word = "en"
    base_url: BaseUrl = "https://api.elevenlabs.io"


class WhisperEars(Section):
    threads: Annotated[int, Field(ge=1, le=64)] = 1


class Recognisers(Section):
    """One table for each name of `ears` that has something to choose."""

    openai: OpenAiEars = OpenAiEars()
    deepgram: DeepgramEars = DeepgramEars()
    elevenlabs: ElevenLabsEars = ElevenLabsEars()
    whisper: WhisperEars = WhisperEars()


class AgentSettings(Section):
    """Who answers. chat: any OpenAI-compatible endpoint; realtime: OpenAI's speech to speech."""

    provider: Literal["scripted", "chat", "realtime"] = "scripted"
    base_url: BaseUrl = "https://api.openai.com/v1"
    # chat wants one named: models come and go. "" for realtime: gpt-realtime-2.1.
    model: Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")] = ""
    # Of the realtime agent, who speaks for itself.
    voice: Word = "marin"
    prompt: Annotated[str, Field(max_length=20_000)] = (
        "You are on the phone. Answer in one or two short spoken sentences, without lists, "
        "symbols or markup."
    )
    # An answer longer than this is cut at a sentence: nobody listens for minutes.
    max_reply_chars: Annotated[int, Field(ge=20, le=10_000)] = 600

    @property
    def chosen_model(self) -> str:
        return self.model or ("gpt-realtime-2.1" if self.provider == "realtime" else "")

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.provider == "chat" and not self.model:
            raise ValueError("has provider 'chat' without a model; name one that base_url offers")
        return self


class TwilioSettings(Section):
    """Twilio's REST, for outbound calls. Region and edge go together; one gives the other."""

    region: Region | None = None
    edge: Literal["ashburn", "dublin", "sydney", "tokyo"] | None = None
    from_number: Number | None = None
    # In place of the address that region and edge make, for a stand-in of Twilio.
    api_url: BaseUrl | None = None
    # Twilio waits so long for someone to answer.
    ring_seconds: Annotated[int, Field(ge=5, le=120)] = 30
    machine_detection: Literal["off", "enable", "detect_message_end"] = "off"
    on_machine: Literal["hang_up", "leave_message", "continue"] = "hang_up"

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if self.region and self.edge and EDGES[self.region] != self.edge:
            raise ValueError(
                f"has region '{self.region}' with edge '{self.edge}'; "
                f"{self.region} is reached through {EDGES[self.region]}"
            )
        return self

    @property
    def chosen_region(self) -> str:
        regions = {edge: region for region, edge in EDGES.items()}
        return self.region or (regions[self.edge] if self.edge else "us1")

    @property
    def chosen_edge(self) -> str:
        return EDGES[self.chosen_region]
