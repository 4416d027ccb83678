"""What one simulated call came to: the facts, and Twilio's code for what failed."""

from dataclasses import dataclass, field
from typing import Any, Literal

from doctor.caller.requested import Requested
from doctor.caller.stream import StreamReport
from doctor.errors import Objection
from doctor.meanings import meaning

EVENTS_LIMIT = 500
EndedBy = Literal[
    "agent",  # the TwiML ended, or said so
    "caller",  # the caller had said everything
    "limit",  # the caller's time was up
    "error",  # Twilio says "an application error has occurred" and hangs up
    "rejected",  # <Reject>
    "api",  # hang_up(), as by REST
    "interrupted",  # the program was
]


@dataclass(slots=True)
class Webhook:
    """The first request of a call, as `hopscope call --json` prints it."""

    url: str
    status: int | None
    ms: float
    answered_by: dict[str, str] = field(default_factory=dict)  # telling fields of a refusal
    answer_fields: tuple[tuple[str, str], ...] = ()  # all fields of a refusal

    def as_json(self) -> dict[str, Any]:
        names = ("url", "status", "ms", "answered_by")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class CallReport:
    """`as_json` is the contract of `hopscope call --json`, and more."""

    call_sid: str
    is_signed: bool
    webhook: Webhook | None = None
    twiml: str | None = None
    streams: list[StreamReport] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    twilio_error: int | None = None
    error_saw: str = ""
    warnings: list[Objection] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    ended_by: EndedBy = "interrupted"
    duration_s: float = 0.0
    recording: str | None = None
    requests: list[Requested] = field(default_factory=list)

    @property
    def stream(self) -> StreamReport | None:
        """The two-way stream of the call, or any, the first of its kind."""
        two_way = [stream for stream in self.streams if stream.is_two_way]
        return next(iter(two_way or self.streams), None)

    @property
    def turns(self) -> list[dict[str, Any]]:
        return self.stream.turns if self.stream is not None else []

    @property
    def answered_by(self) -> dict[str, str]:
        """What the answer that raised the error tells of the hop that made it."""
        for stream in self.streams:
            if stream.error_code == self.twilio_error:
                return stream.answered_by
        return self.webhook.answered_by if self.webhook is not None else {}

    def fail(self, code: int, saw: str) -> None:
        """Keep the first error: what comes behind it is its consequence."""
        if self.twilio_error is None:
            self.twilio_error, self.error_saw = code, saw

    def warn(self, *objections: Objection) -> None:
        self.warnings += [known for known in objections if known not in self.warnings]

    def as_json(self) -> dict[str, Any]:
        stream = self.stream
        error = None
        if self.twilio_error is not None:
            known = meaning(self.twilio_error)
            error = {
                "code": known.code,
                "name": known.name,
                "saw": self.error_saw,
                "answered_by": self.answered_by,
                "cause": known.cause,
                "look_at": known.look_at,
            }
        return {
            "call_sid": self.call_sid,
            "ended_by": self.ended_by,
            "duration_s": self.duration_s,
            "is_signed": self.is_signed,
            "webhook": None if self.webhook is None else self.webhook.as_json(),
            "twiml": self.twiml,
            "said": self.said,
            "stream": None if stream is None else stream.as_json(),
            "media": None if stream is None else stream.media(),
            "turns": self.turns,
            "twilio_error": self.twilio_error,
            "error": error,
            "warnings": [{"code": known.code, "saw": known.saw} for known in self.warnings],
            "recording": self.recording,
            "streams": [known.as_json() | {"media": known.media()} for known in self.streams],
            "events": self.events,
        }
