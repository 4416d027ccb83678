"""The calls of this gateway: who may call, what each call is for, and whose a stream is.

Pure: times are seconds on the caller's steady clock. A call takes a place from the moment it is
planned or admitted until its stream or Twilio says that it is over; `sweep` gives back the places
of calls that nothing more was heard of, so that no lost callback keeps the line busy.
"""

import hmac
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["conversation", "notify"]
Direction = Literal["inbound", "outbound"]
Policy = Literal["open", "allow_list", "off"]
Phase = Literal[
    "dialling",  # an outbound call that did not ask for its TwiML yet
    "waiting",  # a stream is advertised to Twilio and has not come
    "streaming",
    "saying",  # Twilio says a text by itself: none of our places is taken
    "ended",
]
Ending = Literal[
    "done",  # all was said and heard, or the agent hung up
    "said",  # Twilio was given a text to say, and nothing more is expected
    "caller_hung_up",
    "no_input",  # asked twice, the caller said nothing
    "time_limit",
    "completed",  # by Twilio's word alone
    "machine",  # an answering machine answered, and the settings say to hang up
    "drained",  # the gateway went down
    "provider_failed",
    "stream_failed",  # the socket broke, or Twilio says so
    "stream_never_came",
    "busy",
    "no_answer",
    "canceled",
    "failed",
    "stale",  # nothing was heard of it any more
]
CallRefused = Literal[
    "inbound_off",
    "not_allowed",
    "all_lines_busy",
    "caller_too_often",
    "unknown_plan",
    "plan_of_another_call",
    "unservable",
]
StreamRefused = Literal[
    "unknown_call",
    "no_token",
    "wrong_token",
    "used_token",
    "expired_token",
    "call_ended",
    "too_many_pending",
]

# Endings after which the caller needs no apology.
WELL_ENDED: frozenset[Ending] = frozenset(
    {"done", "said", "caller_hung_up", "no_input", "time_limit", "completed", "machine"}
)
# Twilio's words for a call that is over (docs: Call resource, Status), and ours.
FINAL_STATUSES: dict[str, Ending] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "canceled",
    "failed": "failed",
}
STATUSES = frozenset(FINAL_STATUSES) | {"queued", "initiated", "ringing", "in-progress"}

# From TwiML to `start`: Twilio gives a connection attempt 5 s, and may try twice.
TOKEN_S = 60.0
# How long a call may ring or wait in Twilio's queue without a word about it.
DIALLING_S = 150.0
# A plan may be fetched again after its call was given up, if Twilio dials late after all.
PLAN_S = 3600.0
SAYING_S = 600.0
# Past its time limit, or past Twilio's word that it ended, a stream has so long to end by itself.
OVERTIME_S = 60.0
# How long, and how many, ended calls are remembered for ?after=stream and GET /calls.
ENDED_S = 900.0
ENDED_LIMIT = 1000
CALLERS_LIMIT = 10_000
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")


def is_e164(text: str) -> bool:
    """Whether a number is written as ITU-T E.164 has it: + and at most 15 digits."""
    return _E164.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call is for. `text` is the message of a notify call, and greets in a conversation."""

    mode: Mode
    text: str = ""


@dataclass(slots=True)
class Call:
    """One call. `other` is the number at its far end, `status` Twilio's last word about it."""

    call_sid: str
    direction: Direction
    other: str
    plan: Plan
    started_at: float
    heard_at: float
    phase: Phase
    status: str = ""
    ending: Ending | None = None
    ended_at: float | None = None
    answered_by: str = ""
    stream_error: str = ""
    has_twiml: bool = False  # it was told what to do: from then on it counts as started
    is_past_stream: bool = False  # Twilio asked what comes behind it
    # What was said, {caller, agent} for each turn, for whoever placed the call.
    turns: list[dict[str, str]] = field(default_factory=list, repr=False)
    _token: str = field(default="", repr=False)
    _token_at: float = 0.0
    _is_token_used: bool = False

    @property
    def is_over(self) -> bool:
        """Whether we or Twilio say that it ended; a stream of it may still be closing."""
        return self.phase == "ended" or self.status in FINAL_STATUSES

    @property
    def went_well(self) -> bool:
        return self.ending in WELL_ENDED and not self.stream_error

    def duration_s(self, now: float) -> float:
        return (now if self.ended_at is None else self.ended_at) - self.started_at


@dataclass(frozen=True, slots=True)
class CallRefusal:
    reason: CallRefused


@dataclass(frozen=True, slots=True)
class StreamRefusal:
    reason: StreamRefused


@dataclass(frozen=True, slots=True)
class CallLimits:
    calls: int = 20
    calls_per_caller_per_minute: int = 10
    pending_streams: int = 32
    call_seconds: float = 3600.0


class DialError(Exception):
    """A call could not be placed. `status` is the HTTP status that POST /calls answers with."""

    def __init__(self, error: str, hint: str = "", *, status: int = 502) -> None:
        super().__init__(f"{error}{f' ({hint})' if hint else ''}")
        self.error, self.hint, self.status = error, hint, status


@dataclass(slots=True)
class _Planned:
    plan: Plan
    to: str
    at: float
    call_sid: str = ""
    has_place: bool = True


class Calls:
    """Every call that is known. `make_token` makes 128 random bits or more, as text."""

    def __init__(
        self,
        limits: CallLimits | None = None,
        policy: Policy = "open",
        allow: Sequence[str] = (),
        *,
        make_token: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self.limits = limits or CallLimits()
        self._policy, self._allow = policy, frozenset(allow)
        self._make_token = make_token
        self._live: dict[str, Call] = {}
        self._ended: OrderedDict[str, Call] = OrderedDict()
        self._plans: dict[str, _Planned] = {}
        self._callers: OrderedDict[str, deque[float]] = OrderedDict()
        self._pending = 0

    @property
    def places_taken(self) -> int:
        calls = sum(call.phase != "saying" and not call.is_over for call in self._live.values())
        return calls + sum(planned.has_place for planned in self._plans.values())

    def get(self, call_sid: str) -> Call | None:
        """A call that is running, or ended a while ago."""
        return self._live.get(call_sid) or self._ended.get(call_sid)

    def has_promised(self, since: float) -> bool:
        """Whether a stream that was promised after this time did not come yet."""
        return any(x.phase == "waiting" and x.heard_at > since for x in self._live.values())

    def plan(self, plan: Plan, to: str, now: float) -> str | CallRefusal:
        """Take a place for an outbound call; the id of its plan, which is a secret of the call."""
        self._forget(now)
        if self.places_taken >= self.limits.calls:
            return CallRefusal("all_lines_busy")
        plan_id = self._make_token()
        self._plans[plan_id] = _Planned(plan, to, now)
        return plan_id

    def forget_plan(self, plan_id: str) -> None:
        """The call was not placed after all."""
        self._plans.pop(plan_id, None)

    def dialled(self, plan_id: str, call_sid: str, now: float) -> Call | None:
        """Twilio named the call of a plan. None: the plan is unknown, or another call's."""
        planned = self._plans.get(plan_id)
        if planned is None or planned.call_sid not in ("", call_sid):
            return None
        planned.call_sid, planned.has_place = call_sid, False
        call = self.get(call_sid)
        if call is None:
            call = Call(call_sid, "outbound", planned.to, planned.plan, now, now, "dialling")
            self._live[call_sid] = call
        return call

    def admit_planned(self, plan_id: str, call_sid: str, now: float) -> Call | CallRefusal:
        """An outbound call asks what it is for."""
        if plan_id not in self._plans:
            return CallRefusal("unknown_plan")
        call = self.dialled(plan_id, call_sid, now)
        if call is None:
            return CallRefusal("plan_of_another_call")
        if call.phase != "ended":
            call.heard_at = now
            return call
        if self.places_taken >= self.limits.calls:
            return CallRefusal("all_lines_busy")
        return self._begin(call_sid, "outbound", call.other, call.plan, now)

    def admit(
        self, call_sid: str, direction: Direction, other: str, plan: Plan, now: float
    ) -> Call | CallRefusal:
        """A call without a plan of ours. One that is already known is not counted again."""
        self._forget(now)
        known = self._live.get(call_sid)
        if known is not None:
            known.heard_at = now
            return known
        if direction == "inbound":
            if self._policy == "off":
                return CallRefusal("inbound_off")
            if self._policy == "allow_list" and other not in self._allow:
                return CallRefusal("not_allowed")
            if not self._may_call_again(other, now):
                return CallRefusal("caller_too_often")
        if self.places_taken >= self.limits.calls:
            return CallRefusal("all_lines_busy")
        return self._begin(call_sid, direction, other, plan, now)

    def advertise(self, call: Call, now: float) -> str:
        """The token of the stream that TwiML is about to promise; unused, it is given again."""
        if not call._token or call._is_token_used or now - call._token_at >= TOKEN_S:
            call._token, call._is_token_used = self._make_token(), False
        call._token_at = call.heard_at = now
        if call.phase != "streaming":
            call.phase = "waiting"
        call.stream_error = ""
        return call._token

    def say(self, call: Call, now: float) -> None:
        """Twilio says the text by itself."""
        call.phase, call.heard_at = "saying", now

    def open_stream(self, call_sid: str, token: str, now: float) -> Call | StreamRefusal:
        """A stream's `start` names its call. Its token is good for that call, and once."""
        call = self.get(call_sid)
        if call is None:
            return StreamRefusal("unknown_call")
        if not token:
            return StreamRefusal("no_token")
        if not hmac.compare_digest(token.encode(errors="replace"), call._token.encode()):
            return StreamRefusal("wrong_token")
        if call._is_token_used:
            return StreamRefusal("used_token")
        if now - call._token_at >= TOKEN_S:
            return StreamRefusal("expired_token")
        if call.is_over:
            return StreamRefusal("call_ended")
        call._is_token_used = True
        call.phase, call.heard_at = "streaming", now
        return call

    def take_pending(self) -> StreamRefusal | None:
        """A socket was opened that did not say yet whose it is. None: it may stay."""
        if self._pending >= self.limits.pending_streams:
            return StreamRefusal("too_many_pending")
        self._pending += 1
        return None

    def release_pending(self) -> None:
        """It said so, or is gone."""
        self._pending -= 1

    def stream_failed(self, call_sid: str, error: str) -> None:
        """Twilio reports a StreamError. It also does after a stream that ended as it should."""
        call = self._live.get(call_sid)
        if call is not None:
            call.stream_error = error

    def status_changed(
        self, call_sid: str, status: str, now: float, plan_id: str = ""
    ) -> Call | None:
        """Twilio tells how a call is doing; the call, if that ended it.

        A call with a running stream is left to its stream, which knows more about its ending.
        """
        call = self.dialled(plan_id, call_sid, now) if plan_id else None
        call = call or self.get(call_sid)
        # Callbacks may overtake each other: after a final one, nothing is news.
        if call is None or status not in STATUSES or call.status in FINAL_STATUSES:
            return None
        call.status, call.heard_at = status, now
        if status not in FINAL_STATUSES or call.phase == "streaming":
            return None
        return self.end(call_sid, FINAL_STATUSES[status], now)

    def end(self, call_sid: str, ending: Ending, now: float) -> Call | None:
        """The call is over; the call if it was not yet, so that an ending is told once."""
        call = self._live.pop(call_sid, None)
        if call is None:
            return None
        if call.phase == "saying" and ending == "stale":
            ending = "said"
        call.phase, call.ending, call.ended_at = "ended", ending, now
        self._ended[call_sid] = call
        while len(self._ended) > ENDED_LIMIT:
            self._ended.popitem(last=False)
        return call

    def sweep(self, now: float) -> list[Call]:
        """End the calls that nothing more will be heard of; those that it ended."""
        self._forget(now)
        return [
            ended
            for call in list(self._live.values())
            if (ending := self._overdue(call, now))
            and (ended := self.end(call.call_sid, ending, now))
        ]

    def _begin(
        self, call_sid: str, direction: Direction, other: str, plan: Plan, now: float
    ) -> Call:
        self._ended.pop(call_sid, None)
        call = Call(call_sid, direction, other, plan, now, now, "waiting")
        self._live[call_sid] = call
        return call

    def _overdue(self, call: Call, now: float) -> Ending | None:
        silent_s = now - call.heard_at
        if call.phase == "streaming":
            limit_s = OVERTIME_S if call.is_over else self.limits.call_seconds + OVERTIME_S
            return "stale" if silent_s >= limit_s else None
        if call.phase == "waiting":
            return "stream_never_came" if silent_s >= TOKEN_S else None
        limit_s = SAYING_S if call.phase == "saying" else DIALLING_S
        return "stale" if silent_s >= limit_s else None

    def _may_call_again(self, caller: str, now: float) -> bool:
        times = self._callers.setdefault(caller, deque())
        self._callers.move_to_end(caller)
        while len(self._callers) > CALLERS_LIMIT:
            self._callers.popitem(last=False)
        while times and now - times[0] >= 60:
            times.popleft()
        if len(times) >= self.limits.calls_per_caller_per_minute:
            return False
        times.append(now)
        return True

    def _forget(self, now: float) -> None:
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if now - (oldest.ended_at or now) < ENDED_S:
                break
            del self._ended[oldest.call_sid]
        for plan_id, planned in list(self._plans.items()):
            if now - planned.at >= DIALLING_S:
                planned.has_place = False
            if now - planned.at >= PLAN_S:
                del self._plans[plan_id]
