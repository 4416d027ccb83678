"""The HTTP side: what Twilio asks, and what it is answered.

Whatever breaks in here, a caller hears a sentence: Twilio says "application error" to anything but
TwiML with status 200. Nothing is awaited between looking for a kept answer and keeping one, so a
retried webhook cannot overtake its first try and become a second call.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gateway import twiml
from gateway.answers import Answers
from gateway.calls import STATUSES, Call, CallRefusal, CallRefused, Calls, Direction, Ending
from gateway.calls_api import CallsApi, Dial
from gateway.debugger import parse_incident
from gateway.events import Events
from gateway.exchange import (
    FORM_TYPE,
    Form,
    Refusal,
    answer,
    answer_json,
    check_method,
    field,
    parse_form,
    parse_query,
    read_body,
    target_of,
)
from gateway.sections import CALLS_PATH, HEALTH_PATH
from gateway.settings import GatewaySettings
from gateway.signatures import HEADER, SignatureChecker, Verdict

# What still comes of a body that was refused is read for so long: closed at once, the connection
# would be reset, and the answer with it (RFC 9112 section 9.6).
LINGER_S = 1.0
# A debugging event quotes a request and its answer, which is TwiML of up to 64 kB.
DEBUGGER_BYTES = 512 << 10
IDEMPOTENCY_HEADER = "I-Twilio-Idempotency-Token"
_CALL_SID = re.compile(r"[A-Za-z0-9]{1,64}")
# Caller hears the busy tone; anything else that refuses an inbound call is a plain refusal.
_BUSY: frozenset[CallRefused] = frozenset({"all_lines_busy", "caller_too_often"})

Handler = Callable[[web.BaseRequest, str], Awaitable[web.Response]]


class Webhooks:
    """Answers requests. `server()` gives aiohttp's side of it, a protocol for each connection.

    `unservable` tells, in a sentence for the caller, why no stream can be served now; None: it
    can. `warm` is called with each call that TwiML has promised one. `on_machine` is told of an
    outbound call that a machine answered, by Twilio's asynchronous detection. `clock` is a steady
    one, in seconds.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        calls: Calls,
        checker: SignatureChecker,
        events: Events,
        *,
        unservable: Callable[[], str | None],
        warm: Callable[[Call], None],
        dial: Dial | None = None,
        on_machine: Callable[[Call], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._calls, self._events = settings, calls, events
        self._checker = checker
        self._unservable, self._warm, self._on_machine = unservable, warm, on_machine
        self._clock = clock
        self._answers = Answers()
        self._calls_api = CallsApi(settings, calls, events, dial, unservable, clock)
        paths = settings.paths
        self._routes: dict[str, tuple[str, Handler]] = {
            paths.webhook: ("webhook", self._webhook),
            paths.status: ("status", self._status),
            paths.stream_status: ("stream_status", self._stream_status),
            paths.amd: ("amd", self._amd),
            paths.debugger: ("debugger", self._debugger),
            paths.stream: ("stream", self._stream),
            HEALTH_PATH: ("healthz", self._healthz),
        }

    def server(self) -> web.Server:
        # Without a logger of ours, each stranger who speaks no HTTP is a traceback on stderr.
        logger = logging.Logger("gateway")
        logger.addHandler(_Malformed(self._events))
        return web.Server(self.handle, access_log=None, logger=logger, lingering_time=LINGER_S)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = target_of(request)
        path = target.partition("?")[0]
        name, handler = (
            self._route(path)
            or self._route(self._settings.public.local(path))
            or ("other", self._unknown)
        )
        try:
            response = await handler(request, target)
        except Refusal as refusal:
            response = answer(refusal.status, refusal.text, headers=refusal.headers)
        except ConnectionError:
            raise  # the client left, and hears nothing whatever we say
        except Exception as error:  # noqa: BLE001 - whatever it is, Twilio is answered
            self._events.webhook_failed(name, error)
            response = _twiml(twiml.apology()) if name == "webhook" else answer(503, _BROKEN)
        self._events.webhook_answered(name, response.status)
        return response

    def sweep(self) -> None:
        """End the calls that nothing more will be heard of. To be called every few seconds."""
        for call in self._calls.sweep(self._clock()):
            self._events.call_ended(call)

    def _route(self, path: str) -> tuple[str, Handler] | None:
        if self._calls_api.exists and (path == CALLS_PATH or path.startswith(f"{CALLS_PATH}/")):
            return "calls", lambda request, _target: self._calls_api.handle(request, path)
        return self._routes.get(path)

    async def _webhook(self, request: web.BaseRequest, target: str) -> web.Response:
        hint = "Set the number's webhook, and the Url of a call, to HTTP POST."
        check_method(request, ("POST",), hint)
        form, call_sid = await self._signed_form(request, target)
        first_try = request.headers.get(IDEMPOTENCY_HEADER, "")[:128]
        key = (first_try, target, call_sid)
        document = self._answers.find(key, self._clock()) if first_try else None
        if document is None:
            document = self._document(call_sid, form, target)
            if first_try:
                self._answers.keep(key, document, self._clock())
        return _twiml(document)

    def _document(self, call_sid: str, form: Form, target: str) -> str:
        """What a call shall do now."""
        self.sweep()
        now = self._clock()
        query = parse_query(target)
        if field(query, "after") == "stream":
            return self._after_stream(call_sid, now)
        plan_id = field(query, "plan")
        is_outbound = bool(plan_id) or field(form, "Direction").startswith("outbound")
        other = field(form, "To" if is_outbound else "From")
        if plan_id:
            found = self._calls.admit_planned(plan_id, call_sid, now)
        else:
            direction: Direction = "outbound" if is_outbound else "inbound"
            plan = self._settings.inbound_plan
            found = self._calls.admit(call_sid, direction, other, plan, now)
        if isinstance(found, CallRefusal):
            self._events.call_refused(call_sid, other, found.reason)
            # <Reject> is for calls that were not answered yet.
            if is_outbound or field(form, "CallStatus") != "ringing":
                return twiml.apology()
            return twiml.refusal("busy" if found.reason in _BUSY else "rejected")
        try:
            return self._begin(found, form, now)
        except Exception:
            if found.phase != "streaming":
                self._end(found, "failed", now)
            raise

    def _begin(self, call: Call, form: Form, now: float) -> str:
        """Tell a call what it is for."""
        plan, on_machine = call.plan, self._settings.twilio.on_machine
        text = plan.text if plan.mode == "notify" else ""
        # With synchronous detection Twilio asks only once it knows who answered.
        if answered_by := field(form, "AnsweredBy"):
            self._answered(call, answered_by, form)
        if _is_machine(answered_by) and on_machine != "continue":
            text = plan.text if on_machine == "leave_message" else ""
            if not text:
                self._end(call, "machine", now)
                return twiml.hangup()
        because = self._unservable()
        if text and (because or self._settings.notify.via == "say"):
            document = twiml.say(text)
            self._start(call)
            self._calls.say(call, now)
            # Of an inbound call nobody tells us the end.
            if call.direction == "inbound":
                self._end(call, "said", now)
            return document
        if because:
            self._end(call, "failed", now)
            self._events.call_refused(call.call_sid, call.other, "unservable", because)
            return twiml.apology(because)
        public, paths = self._settings.public, self._settings.paths
        document = twiml.stream(
            public.stream_url(paths.stream),
            public.url(paths.stream_status),
            public.url(f"{paths.webhook}?after=stream"),
            self._calls.advertise(call, now),
        )
        self._start(call)
        self._warm(call)
        return document

    def _start(self, call: Call) -> None:
        if not call.has_twiml:
            call.has_twiml = True
            self._events.call_started(call)

    def _end(self, call: Call, ending: Ending, now: float) -> None:
        if ended := self._calls.end(call.call_sid, ending, now):
            self._events.call_ended(ended)

    def _after_stream(self, call_sid: str, now: float) -> str:
        """The stream is over for Twilio. If it is not for us, something between us broke it."""
        call = self._calls.get(call_sid)
        if call is None:  # from before a restart
            return twiml.after_stream(False)
        call.is_past_stream = True
        if call.phase == "streaming":
            self._calls.stream_failed(call_sid, call.stream_error or "ended at Twilio")
        elif call.phase == "waiting":
            self._end(call, "stream_never_came", now)
        if call.plan.mode == "notify" and not call.went_well:
            return twiml.say(call.plan.text)  # then at least in Twilio's voice
        return twiml.after_stream(call.went_well)

    async def _status(self, request: web.BaseRequest, target: str) -> web.Response:
        check_method(request, ("POST",))
        form, call_sid = await self._signed_form(request, target)
        plan_id = field(parse_query(target), "plan")
        status = field(form, "CallStatus")
        self._events.call_status(call_sid, status if status in STATUSES else "other")
        ended = self._calls.status_changed(call_sid, status, self._clock(), plan_id)
        if ended is not None:
            self._events.call_ended(ended)
        return answer(204)

    async def _stream_status(self, request: web.BaseRequest, target: str) -> web.Response:
        """The <Stream statusCallback>: the one place where Twilio says why a stream failed."""
        check_method(request, ("POST",))
        form, call_sid = await self._signed_form(request, target)
        event, error = field(form, "StreamEvent")[:40], field(form, "StreamError")[:300]
        self._events.stream_status(call_sid, field(form, "StreamSid")[:64], event, error)
        if event == "stream-error":
            self._calls.stream_failed(call_sid, error or "unknown")
        return answer(204)

    async def _amd(self, request: web.BaseRequest, target: str) -> web.Response:
        check_method(request, ("POST",))
        form, call_sid = await self._signed_form(request, target)
        call = self._calls.get(call_sid)
        answered_by = field(form, "AnsweredBy")
        if call is not None:
            self._answered(call, answered_by, form)
            is_wanted = self._settings.twilio.on_machine == "continue" or call.is_over
            if _is_machine(answered_by) and not is_wanted and self._on_machine is not None:
                self._on_machine(call)
        return answer(204)

    async def _debugger(self, request: web.BaseRequest, target: str) -> web.Response:
        """Twilio's debugger: what went wrong with any call of the account, also in front of us."""
        check_method(request, ("POST",))
        incident = parse_incident(await self._checked_form(request, target, DEBUGGER_BYTES))
        if incident is None:
            raise Refusal(400, "the form is no event of Twilio's debugger\n")
        self._events.twilio_error(incident)
        return answer(204)

    def _answered(self, call: Call, answered_by: str, form: Form) -> None:
        call.answered_by = answered_by[:40]
        ms = field(form, "MachineDetectionDuration")
        is_number = ms.isascii() and ms.isdigit() and len(ms) < 10
        self._events.amd(call.call_sid, answered_by, int(ms) if is_number else None)

    async def _stream(self, request: web.BaseRequest, _target: str) -> web.Response:
        """Upgrades of this path never come here (gateway/port.py)."""
        check_method(request, ("GET",))
        text = (
            "This is where Twilio opens its WebSocket, and the request was no upgrade: either its "
            "client does not speak WebSocket, or a proxy on the way removed the Upgrade header.\n"
        )
        return answer(426, text, headers={"Upgrade": "websocket"})

    async def _healthz(self, request: web.BaseRequest, _target: str) -> web.Response:
        check_method(request, ("GET", "HEAD"))
        if self._unservable():
            return answer_json(503, {"status": "unservable"})
        return answer_json(200, {"status": "ok"})

    async def _unknown(self, _request: web.BaseRequest, target: str) -> web.Response:
        path = target.partition("?")[0]
        known = [*self._routes, *([CALLS_PATH] if self._calls_api.exists else [])]
        near = [each for each in known if path.rstrip("/") == each]
        near += [each for each in known if each not in near and path.endswith(each)]
        near += [each for each in known if each.endswith(path)]
        hint = f" Did you mean {near[0]}? An ingress may have rewritten it." if near else ""
        text = (
            f"There is nothing at {path[:200]!a}.{hint}\n"
            "This is hopscope's voice gateway: the sidecar and the ingress have passed the request "
            f"on to it, and only the path is wrong. It answers at: {', '.join(known)}\n"
        )
        return answer(404, text)

    async def _signed_form(self, request: web.BaseRequest, target: str) -> tuple[Form, str]:
        """The form of a request that Twilio signed, and its CallSid. Raises Refusal."""
        form = await self._checked_form(request, target, self._settings.limits.body_bytes)
        call_sid = field(form, "CallSid")
        if _CALL_SID.fullmatch(call_sid) is None:
            raise Refusal(400, "the form has no CallSid\n")
        return form, call_sid

    async def _checked_form(self, request: web.BaseRequest, target: str, limit_bytes: int) -> Form:
        """The form of a request that Twilio signed. Raises Refusal."""
        limit_s = self._settings.limits.body_seconds
        body = await read_body(request, FORM_TYPE, limit_bytes, limit_s)
        form = parse_form(body)
        verdict = self._checker.check_webhook(
            target, request.headers.items(), form, now=self._clock()
        )
        if not verdict.is_valid:
            self._events.signature_refused("webhook", verdict)
            raise Refusal(403, refusal_text(verdict))
        return form


class _Malformed(logging.Handler):
    """Takes what aiohttp says of requests that it could not read."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.request_malformed(record.exc_info[1] if record.exc_info else None)


_BROKEN = "Something went wrong in the gateway; its log says what.\n"
_WRONG: Mapping[str, str] = {
    "missing": "is missing",
    "malformed": "is not a signature",
    "mismatch": "does not match the URL and the form",
}


def refusal_text(verdict: Verdict) -> str:
    """What a request without a right signature is told: enough to know where to look."""
    return (
        f"{HEADER} {_WRONG.get(verdict.reason, 'is wrong')}. The gateway's log "
        "(signature_refused) says what it would match.\n"
    )


def _twiml(document: str) -> web.Response:
    return answer(200, document, "text/xml")


def _is_machine(answered_by: str) -> bool:
    return answered_by.startswith("machine") or answered_by == "fax"
