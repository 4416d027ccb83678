"""What Twilio's REST API accepts in the form that creates a call or changes one.

Codes are of Twilio's error dictionary. Where it has none for a bad value, 20001 stands. Numbers
must be E.164, client: or sip:; Twilio itself also takes what people write, "(415) 555-2671".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from doctor.rest_api.shapes import RestError

T = TypeVar("T", bound=str)

Form = Mapping[str, Sequence[str]]
Event = Literal["initiated", "ringing", "answered", "completed"]
EVENTS: tuple[Event, ...] = ("initiated", "ringing", "answered", "completed")
Detection = Literal["Enable", "DetectMessageEnd"]
_DETECTIONS: tuple[Detection, ...] = ("Enable", "DetectMessageEnd")
Ending = Literal["completed", "canceled"]
_ENDINGS: tuple[Ending, ...] = ("completed", "canceled")
TWIML_LIMIT = 4000  # characters (32018)
RING_LIMIT_S = 600
DEFAULT_RING_S = 60
DEFAULT_CALL_S = 14400  # four hours, unless TimeLimit says less

CREATE_FIELDS = frozenset(
    "To From Url Twiml ApplicationSid Method FallbackUrl FallbackMethod StatusCallback "
    "StatusCallbackEvent StatusCallbackMethod SendDigits Timeout Record RecordingChannels "
    "RecordingStatusCallback RecordingStatusCallbackMethod RecordingStatusCallbackEvent "
    "RecordingTrack SipAuthUsername SipAuthPassword MachineDetection MachineDetectionTimeout "
    "MachineDetectionSpeechThreshold MachineDetectionSpeechEndThreshold "
    "MachineDetectionSilenceTimeout AsyncAmd AsyncAmdStatusCallback AsyncAmdStatusCallbackMethod "
    "Trim CallerId Byoc CallReason CallToken TimeLimit ClientNotificationUrl".split()
)
UPDATE_FIELDS = frozenset(
    "Url Method Status FallbackUrl FallbackMethod StatusCallback StatusCallbackMethod Twiml "
    "TimeLimit".split()
)

# The numbers that Twilio's test credentials give a fate (docs/iam/test-credentials).
_REFUSED_TO = {
    "+15005550001": (21217, "the number is not valid"),
    "+15005550002": (21214, "the number cannot be reached"),
    "+15005550003": (21215, "this account has no permission to call that country"),
    "+15005550004": (21216, "the number is on Twilio's block list"),
}
_INVALID_FROM = "+15005550001"


@dataclass(frozen=True, slots=True)
class Account:
    """Who calls. `numbers` may be From; `verified`, of a trial, are all that may be To."""

    sid: str
    token: str
    numbers: frozenset[str] = frozenset(("+15005550006",))
    verified: frozenset[str] | None = None

    def check(self, to: str, from_: str) -> None:
        """Raise RestError where the account may not place this call."""
        if to in _REFUSED_TO:
            code, reason = _REFUSED_TO[to]
            raise RestError(code, f"To {to}: {reason}")
        if self.verified is not None and to not in self.verified:
            raise RestError(21219, f"To {to}: not verified; a trial calls verified numbers only")
        if from_ == _INVALID_FROM:
            raise RestError(21212, f"From {from_}: not a number that can call")
        if from_ not in self.numbers:
            raise RestError(21210, f"From {from_}: neither bought nor verified by this account")


@dataclass(frozen=True, slots=True)
class Callback:
    url: str
    method: Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Instructions:
    """Where the TwiML comes from: an address, or the text itself."""

    fetched: Callback | None = None
    twiml: str | None = None


@dataclass(frozen=True, slots=True)
class CreateCall:
    """A call to place. `warnings` are codes of alerts; the call is placed all the same."""

    to: str
    from_: str
    instructions: Instructions
    status_callback: Callback | None
    events: frozenset[Event]
    ring_limit_s: int
    call_limit_s: int
    machine_detection: Detection | None
    machine_callback: Callback | None  # None: the detection comes before the TwiML is fetched
    warnings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UpdateCall:
    status: Ending | None
    instructions: Instructions | None


def parse_create(form: Form) -> CreateCall:
    """Read the form of POST Calls.json. Raises RestError, To first, as Twilio does."""
    fields = {name: values[-1] for name, values in form.items() if values and values[-1]}
    to = _parse_endpoint(fields, "To", missing=21201, wrong=21211)
    from_ = _parse_endpoint(fields, "From", missing=21213, wrong=21212)
    instructions = _parse_instructions(fields)
    if instructions is None:
        raise RestError(21205, "one of Url, Twiml and ApplicationSid is required")
    warnings = [20001] if set(form) - CREATE_FIELDS else []
    events = frozenset(event for event in EVENTS if event in form.get("StatusCallbackEvent", ()))
    if set(form.get("StatusCallbackEvent", ())) - set(EVENTS):
        # Twilio answers 201 all the same, and then sends no status callback at all.
        warnings.append(21626)
        events = frozenset()
    elif not events:
        events = frozenset(("completed",))
    detection = _parse_choice(fields, "MachineDetection", _DETECTIONS)
    is_async = _parse_choice(fields, "AsyncAmd", ("true", "false")) == "true"
    machine_callback = _parse_callback(fields, "AsyncAmdStatusCallback", 20001)
    if detection is not None and is_async and machine_callback is None:
        warnings.append(21262)
    return CreateCall(
        to=to,
        from_=from_,
        instructions=instructions,
        status_callback=_parse_callback(fields, "StatusCallback", 21609),
        events=events,
        ring_limit_s=_parse_seconds(fields, "Timeout", DEFAULT_RING_S, RING_LIMIT_S, 21208),
        call_limit_s=_parse_seconds(fields, "TimeLimit", DEFAULT_CALL_S, 86400, 20001),
        machine_detection=detection,
        machine_callback=machine_callback if is_async else None,
        warnings=tuple(warnings),
    )


def parse_update(form: Form) -> UpdateCall:
    """Read the form of POST Calls/{Sid}.json."""
    fields = {name: values[-1] for name, values in form.items() if values and values[-1]}
    status = _parse_choice(fields, "Status", _ENDINGS)
    return UpdateCall(status, _parse_instructions(fields))


def _parse_endpoint(fields: Mapping[str, str], name: str, missing: int, wrong: int) -> str:
    value = fields.get(name)
    if value is None:
        raise RestError(missing, f"{name} is required")
    if re.fullmatch(r"\+[1-9][0-9]{6,14}|client:[A-Za-z0-9_.-]+|sips?:\S+@\S+", value) is None:
        raise RestError(wrong, f"{name} {value}: not a number in E.164 form")
    return value


def _parse_instructions(fields: Mapping[str, str]) -> Instructions | None:
    if "ApplicationSid" in fields:
        raise RestError(21218, "ApplicationSid: this account has no such application")
    fetched = _parse_callback(fields, "Url", 21205, method="Method")
    if fetched is not None:
        return Instructions(fetched)  # Twilio ignores Twiml beside it
    twiml = fields.get("Twiml")
    if twiml is None:
        return None
    if len(twiml) > TWIML_LIMIT:
        raise RestError(32018, f"Twiml has {len(twiml)} characters; {TWIML_LIMIT} are allowed")
    return Instructions(twiml=twiml)


def _parse_callback(
    fields: Mapping[str, str], name: str, wrong: int, method: str | None = None
) -> Callback | None:
    url = fields.get(name)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or "_" in host or parts.scheme not in ("http", "https") or re.search(r"\s", url):
        raise RestError(wrong, f"{name} is not the URL of a host: {url}")
    verb = fields.get(method or f"{name}Method", "POST").upper()
    if verb == "GET":
        return Callback(url, "GET")
    if verb == "POST":
        return Callback(url, "POST")
    raise RestError(21209, f"{method or name + 'Method'} {verb}: GET or POST")


def _parse_choice(fields: Mapping[str, str], name: str, allowed: tuple[T, ...]) -> T | None:
    value = fields.get(name)
    if value is None:
        return None
    for choice in allowed:
        if value == choice:
            return choice
    raise RestError(20001, f"{name} {value}: one of {', '.join(allowed)}")


def _parse_seconds(
    fields: Mapping[str, str], name: str, default: int, most: int, wrong: int
) -> int:
    value = fields.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,6}", value) is None or not 0 < int(value) <= most:
        raise RestError(wrong, f"{name} {value}: from 1 to {most} seconds")
    return int(value)
