"""TwiML's verbs, as far as the simulated caller obeys them, and the attributes of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

StreamTrack = Literal["inbound_track", "outbound_track", "both_tracks"]
TRACKS: tuple[StreamTrack, ...] = ("inbound_track", "outbound_track", "both_tracks")


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    loop: int = 1


@dataclass(frozen=True, slots=True)
class Play:
    """Audio from a URL; or digits as tones; or `audio` that the webhook itself answered with."""

    url: str = ""
    loop: int = 1
    digits: str = ""
    audio: bytes = field(default=b"", repr=False)
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    length_s: float = 1.0


Prompt = Say | Play | Pause


@dataclass(frozen=True, slots=True)
class Gather:
    prompts: tuple[Prompt, ...] = ()
    action: str | None = None
    method: str = "POST"
    timeout_s: float = 5.0
    num_digits: int | None = None
    finish_on_key: str = "#"
    takes_digits: bool = True
    action_on_empty: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str = "rejected"


@dataclass(frozen=True, slots=True)
class Stream:
    url: str
    name: str | None = None
    track: StreamTrack = "inbound_track"
    status_callback: str | None = None
    status_callback_method: str = "POST"
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Connect:
    """Two-way, and nothing behind it runs until the server has closed the stream."""

    stream: Stream
    action: str | None = None
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Start:
    """One-way, beside whatever the document does next."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Stop:
    name: str | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Ends what a queue or a conference would be: nothing, here."""


@dataclass(frozen=True, slots=True)
class NotSimulated:
    """A verb that is Twilio's, and that needs what a simulated caller has not."""

    name: str
    because: str
    action: str | None = None
    method: str = "POST"


Verb = (
    Say
    | Play
    | Pause
    | Gather
    | Redirect
    | Hangup
    | Reject
    | Connect
    | Start
    | Stop
    | Leave
    | NotSimulated
)

NOT_SIMULATED = {
    "Dial": "there is nobody to be called",
    "Enqueue": "there is no queue to wait in",
    "Record": "nothing is recorded at Twilio; --record records the call here",
    "Refer": "there is no SIP to transfer by",
    "Pay": "there is nobody to pay",
    "Prompt": "it belongs to <Pay>",
    "Sms": "there is nobody to be written to",
    "Echo": "the caller does not talk to itself",
    "Queue": "it belongs to <Dial>",
}

ATTRIBUTES: dict[str, frozenset[str]] = {
    name: frozenset(attributes.split())
    for name, attributes in {
        "Response": "",
        "Say": "voice loop language",
        "Play": "loop digits",
        "Pause": "length",
        "Gather": "input action method timeout speechTimeout maxSpeechTime profanityFilter "
        "finishOnKey numDigits partialResultCallback partialResultCallbackMethod language hints "
        "bargeIn debug actionOnEmptyResult speechModel enhanced dtmfDetection",
        "Redirect": "method",
        "Hangup": "",
        "Reject": "reason",
        "Connect": "action method",
        "Start": "action method",
        "Stop": "",
        "Leave": "",
        "Stream": "name connectorName url track statusCallback statusCallbackMethod audioFormat "
        "sampleRate",
        "Parameter": "name value",
    }.items()
}
