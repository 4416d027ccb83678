"""POST /calls and GET /calls/{sid}: outbound calls for whoever has the token.

They are on the port that Twilio calls, so they stand in the internet: without HOPSCOPE_CALLS_TOKEN
they do not exist.
"""

import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from gateway.calls import Call, Calls, DialError, Plan
from gateway.events import Events, shown_number
from gateway.exchange import Refusal, answer_json, check_method, read_body
from gateway.sections import CALLS_PATH, Number, Spoken
from gateway.settings import GatewaySettings

Detection = Literal["off", "enable", "detect_message_end"]


class Dial(Protocol):
    """Place a call for a plan; the call once Twilio has named it. Raises DialError."""

    def __call__(self, to: str, plan: Plan, machine_detection: Detection) -> Awaitable[Call]: ...


class NewCall(BaseModel):
    """The body of POST /calls."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to: Number
    say: Spoken | None = None
    converse: bool = False
    machine_detection: Detection | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if bool(self.say) == self.converse:
            raise ValueError("should have either say, a text, or converse, true")
        return self


class CallsApi:
    """Answers in JSON; failures as {"error", "hint"}."""

    def __init__(
        self,
        settings: GatewaySettings,
        calls: Calls,
        events: Events,
        dial: Dial | None,
        unservable: Callable[[], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._calls, self._events = settings, calls, events
        self._dial, self._unservable, self._clock = dial, unservable, clock
        self._token = settings.credentials.calls_token

    @property
    def exists(self) -> bool:
        return bool(self._token)

    async def handle(self, request: web.BaseRequest, path: str) -> web.Response:
        """`path` is CALLS_PATH or begins with it and a slash."""
        given = request.headers.get("Authorization", "")
        scheme, _, token = given.partition(" ")
        # aiohttp hands over bytes that are no UTF-8 as surrogates.
        given_bytes = token.strip().encode(errors="surrogateescape")
        is_right = hmac.compare_digest(given_bytes, self._token.encode())
        if scheme.lower() != "bearer" or not is_right:
            return _failure(
                401,
                "the Authorization header is missing or wrong",
                "send Authorization: Bearer and the token HOPSCOPE_CALLS_TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            if path != CALLS_PATH:
                check_method(request, ("GET", "HEAD"))
                return self._show(path.removeprefix(f"{CALLS_PATH}/"))
            check_method(request, ("POST",), f"GET {CALLS_PATH}/CALLSID asks how a call is doing.")
            return await self._create(request)
        except Refusal as refusal:
            return _failure(refusal.status, refusal.text.strip(), "", refusal.headers)

    async def _create(self, request: web.BaseRequest) -> web.Response:
        limits = self._settings.limits
        body = await read_body(request, "application/json", limits.body_bytes, limits.body_seconds)
        try:
            wanted = NewCall.model_validate_json(body)
        except ValidationError as error:
            return _failure(
                400, _explain(error), 'for example {"to": "+15551234567", "say": "Hi."}'
            )
        if self._dial is None:
            return _failure(
                503,
                "this gateway cannot place calls",
                "set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and gateway.twilio.from_number",
            )
        if because := self._unservable():
            return _failure(503, because, "try again when the gateway is ready again")
        if wanted.say:
            plan = Plan("notify", wanted.say)
        else:
            plan = Plan("conversation", self._settings.greeting)
        detection = wanted.machine_detection or self._settings.twilio.machine_detection
        try:
            call = await self._dial(wanted.to, plan, detection)
        except DialError as error:
            number = shown_number(wanted.to)
            self._events.say(
                "dial_failed", "warning", number=number, error=error.error, status=error.status
            )
            return _failure(error.status, error.error, error.hint)
        location = {"Location": f"{CALLS_PATH}/{call.call_sid}"}
        return answer_json(201, self._shown(call), location)

    def _show(self, call_sid: str) -> web.Response:
        call = self._calls.get(call_sid)
        if call is None:
            hint = "calls are remembered for a quarter of an hour after their end"
            return _failure(404, "no call of this CallSid is known here", hint)
        return answer_json(200, self._shown(call))

    def _shown(self, call: Call) -> dict[str, object]:
        return {
            "call_sid": call.call_sid,
            "direction": call.direction,
            "mode": call.plan.mode,
            "number": call.other,
            "status": call.status or "queued",
            "answered_by": call.answered_by or None,
            "ending": call.ending,
            "stream_error": call.stream_error or None,
            "turns": call.turns,
            "duration_s": round(call.duration_s(self._clock()), 1),
        }


def _failure(
    status: int, error: str, hint: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    return answer_json(status, {"error": error, "hint": hint}, headers)


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong with a body, which is not quoted."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(json.dumps(part) if isinstance(part, int) else part for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
