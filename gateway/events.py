"""What happens in calls, told to everyone who asked: log, metrics, and listeners such as a history.

Never waits, and never raises unless a listener does. Numbers are shown by their last digits alone,
transcripts only where the settings allow it; tokens and signatures never come here.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.calls import FINAL_STATUSES, Call, CallRefused
from gateway.debugger import Incident
from gateway.meanings import meaning
from gateway.signatures import Verdict
from gateway.speech import ProviderError

PHASES = ("pause", "transcript", "reply", "voice", "first_audio")
SHOWN_DIGITS = 3
URL_LIMIT = 300
# Of what strangers can cause, so many lines are logged in so long; the rest is counted.
REPEAT_S = 10.0
REPEAT_LIMIT = 5
# Header fields of an answer that tell who made it, and hold no secrets.
TELLING = frozenset(
    "proxy-status server via cf-ray cf-mitigated ngrok-error-code content-type".split()
)
_TURN_BOUNDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10)
_ANSWERED_BY = frozenset(
    "human machine_start machine_end_beep machine_end_silence machine_end_other fax unknown".split()
)

# The call that a task works for, where whoever tells of a failure does not know it.
CALL_SID: ContextVar[str | None] = ContextVar("call_sid", default=None)

Listener = Callable[[str, Mapping[str, Any]], None]
Level = Literal["info", "warning", "error"]


class Events:
    """Metrics are on a registry of their own. `clock` is a steady one, in seconds."""

    def __init__(
        self, *, log_transcripts: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self._log_transcripts = log_transcripts
        self._clock = clock
        self._log = structlog.get_logger()
        self._listeners: list[Listener] = []
        self._running: set[str] = set()
        self._repeated: dict[str, tuple[float, int, int]] = {}
        self._calls = Counter(
            "hopscope_calls",
            "Ended calls by how they ended.",
            ["direction", "mode", "ending"],
            registry=registry,
        )
        active = Gauge("hopscope_calls_active", "Running calls.", registry=registry)
        active.set_function(lambda: len(self._running))
        self._turn_seconds = Histogram(
            "hopscope_turn_seconds",
            "From the end of the caller's speech to each phase of the answer.",
            ["phase"],
            buckets=_TURN_BOUNDS,
            registry=registry,
        )
        self._barge_ins = Counter(
            "hopscope_barge_ins", "Times that a caller interrupted the agent.", registry=registry
        )
        self._speech_failures = Counter(
            "hopscope_speech_failures",
            "Failures of voices, ears and agents.",
            ["kind", "provider", "reason"],
            registry=registry,
        )
        self._webhooks = Counter(
            "hopscope_webhooks",
            "Answers to Twilio's requests, and to those on the same port.",
            ["path", "status"],
            registry=registry,
        )
        self._signatures_refused = Counter(
            "hopscope_signatures_refused",
            "Requests whose signature was missing or wrong.",
            ["what"],
            registry=registry,
        )
        self._streams_refused = Counter(
            "hopscope_streams_refused",
            "Streams that were not accepted.",
            ["reason"],
            registry=registry,
        )
        self._calls_refused = Counter(
            "hopscope_calls_refused", "Calls that were not accepted.", ["reason"], registry=registry
        )
        self._twilio_errors = Counter(
            "hopscope_twilio_errors",
            "Errors and warnings that Twilio's debugger told of.",
            ["code"],
            registry=registry,
        )

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with each (event, fields); returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def call_started(self, call: Call) -> None:
        """It was told what to do."""
        self._running.add(call.call_sid)
        self._tell(
            "call_started",
            call_sid=call.call_sid,
            direction=call.direction,
            mode=call.plan.mode,
            number=shown_number(call.other),
        )

    def call_ended(self, call: Call, turns: int = 0) -> None:
        """It has an ending, of which only this is told."""
        self._running.discard(call.call_sid)
        ending = call.ending or "stale"
        self._calls.labels(call.direction, call.plan.mode, ending).inc()
        self._tell(
            "call_ended",
            "info" if call.went_well else "warning",
            call_sid=call.call_sid,
            direction=call.direction,
            mode=call.plan.mode,
            ending=ending,
            duration_s=round(call.duration_s(self._clock()), 1),
            turns=turns,
        )

    def turn(
        self,
        call_sid: str,
        number: int,
        *,
        caller: str,
        agent: str,
        was_interrupted: bool,
        ms: Mapping[str, float],
    ) -> None:
        """One turn of a conversation. `ms`: since the speech ended, by phase."""
        for phase in PHASES:
            if phase in ms:
                self._turn_seconds.labels(phase).observe(ms[phase] / 1000)
        words: dict[str, Any] = {"caller": caller, "agent": agent}
        if not self._log_transcripts:
            words = {"caller_chars": len(caller), "agent_chars": len(agent)}
        self._tell(
            "turn",
            call_sid=call_sid,
            number=number,
            **words,
            was_interrupted=was_interrupted,
            ms={phase: round(value) for phase, value in ms.items()},
        )

    def barge_in(self, call_sid: str, clear_ms: float) -> None:
        """The caller interrupted; `clear` was sent so long after their speech was detected."""
        self._barge_ins.inc()
        self._tell("barge_in", call_sid=call_sid, clear_ms=round(clear_ms, 1))

    def speech_failed(
        self,
        kind: Literal["voice", "ears", "agent"],
        error: ProviderError,
        *,
        call_sid: str | None = None,
        fallback: str | None = None,
    ) -> None:
        """A provider failed. `fallback` takes its place; None: there is none left."""
        self._speech_failures.labels(kind, error.provider, error.reason).inc()
        self._tell(
            "speech_failed",
            "warning",
            call_sid=call_sid or CALL_SID.get(),
            kind=kind,
            provider=error.provider,
            reason=error.reason,
            status=error.status,
            fallback=fallback,
            detail=str(error)[:300],
        )

    def signature_refused(self, what: Literal["webhook", "stream"], verdict: Verdict) -> None:
        self._signatures_refused.labels(what).inc()
        self._tell_bounded(
            "signature_refused",
            what=what,
            url=shown_url(verdict.url),
            reason=verdict.reason,
            matches=list(verdict.matches),
        )

    def stream_refused(
        self,
        reason: str,
        *,
        call_sid: str | None = None,
        code: int | None = None,
        status: int | None = None,
    ) -> None:
        """`code` closed the socket, or `status` answered its upgrade. Reasons are of our own."""
        self._streams_refused.labels(reason).inc()
        answer = {"code": code} if code is not None else {"status": status}
        self._tell_bounded("stream_refused", reason=reason, call_sid=call_sid, **answer)

    def call_refused(
        self, call_sid: str, other: str, reason: CallRefused, detail: str = ""
    ) -> None:
        self._calls_refused.labels(reason).inc()
        about = {"detail": detail} if detail else {}
        number = shown_number(other)
        self._tell(
            "call_refused", "warning", call_sid=call_sid, number=number, reason=reason, **about
        )

    def call_status(self, call_sid: str, status: str) -> None:
        is_bad = FINAL_STATUSES.get(status, "completed") != "completed"
        self._tell("call_status", "warning" if is_bad else "info", call_sid=call_sid, status=status)

    def stream_status(self, call_sid: str, stream_sid: str, status: str, error: str) -> None:
        """What Twilio says of a stream: stream-started, stream-stopped, or stream-error and why."""
        self._tell(
            "stream_status",
            "warning" if error else "info",
            call_sid=call_sid,
            stream_sid=stream_sid,
            status=status,
            error=error or None,
        )

    def amd(self, call_sid: str, answered_by: str, ms: int | None) -> None:
        """Who answered an outbound call, by Twilio's answering machine detection."""
        known = answered_by if answered_by in _ANSWERED_BY else "other"
        self._tell("amd", call_sid=call_sid, answered_by=known, ms=ms)

    def twilio_error(self, incident: Incident) -> None:
        """What Twilio's debugger says of a call, and which hop made the answer that it is about."""
        self._twilio_errors.labels(str(incident.code)).inc()
        answer = dict(incident.answer_fields)
        self._tell(
            "twilio_error",
            "error" if incident.severity == "error" else "warning",
            call_sid=incident.call_sid,
            code=incident.code,
            name=meaning(incident.code).name,
            severity=incident.severity,
            sid=incident.sid,
            resource_sid=incident.resource_sid,
            occurred_at=incident.occurred_at,
            method=incident.method,
            url=incident.url and shown_url(incident.url),
            status=incident.status,
            hop=incident.answered_by.hop,
            stamp=incident.answered_by.stamp or None,
            answered_by={
                name.lower(): answer[name][:URL_LIMIT] for name in answer if name.lower() in TELLING
            },
        )

    def webhook_answered(self, path: str, status: int) -> None:
        """`path` is the name of one of ours, or "other"."""
        self._webhooks.labels(path, str(status)).inc()

    def request_malformed(self, error: BaseException | None) -> None:
        """What came was no HTTP. It is not quoted: it may be anything."""
        self._webhooks.labels("other", "400").inc()
        self._tell_bounded("request_malformed", error=type(error).__name__ if error else None)

    def webhook_failed(self, path: str, error: Exception) -> None:
        """Something broke inside; the caller heard an apology."""
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        self._tell(
            "webhook_failed",
            "error",
            path=path,
            error=type(error).__name__,
            detail=str(error)[:200],
            where=[f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        )

    def say(self, event: str, level: Level = "info", **fields: Any) -> None:
        """A line about the gateway itself."""
        self._tell(event, level, **fields)

    def _tell_bounded(self, event: str, **fields: Any) -> None:
        now = self._clock()
        since, told, unsaid = self._repeated.get(event, (now, 0, 0))
        if now - since >= REPEAT_S:
            since, told = now, 0
        if told == REPEAT_LIMIT:
            self._repeated[event] = since, told, unsaid + 1
            return
        self._repeated[event] = since, told + 1, 0
        self._tell(event, "warning", **fields, **({"unsaid": unsaid} if unsaid else {}))

    def _tell(self, event: str, level: Level = "info", **fields: Any) -> None:
        getattr(self._log, level)(event, **fields)
        for listener in self._listeners:
            listener(event, fields)


def shown_number(text: str) -> str:
    """A number by its last digits; of another address, its kind: client:, sip:."""
    if not text or text == "anonymous":
        return text
    digits = text.removeprefix("+")
    if not digits.isascii() or not digits.isdigit():
        kind, colon, _ = text.partition(":")
        return f"{kind}:[hidden]" if colon and kind in ("client", "sip", "sips") else "[hidden]"
    hidden = max(len(digits) - SHOWN_DIGITS, SHOWN_DIGITS)
    return text[: len(text) - len(digits)] + "*" * min(hidden, len(digits)) + digits[hidden:]


def shown_url(url: str) -> str:
    """A URL with the values of its query hidden: the id of a plan is a secret of its call."""
    path, question, query = url.partition("?")
    pairs = [part.partition("=") for part in query.split("&")] if query else []
    shown = "&".join(f"{name[:40]}=[hidden]" if eq else "[hidden]" for name, eq, _ in pairs)
    return (path + question + shown)[:URL_LIMIT]
