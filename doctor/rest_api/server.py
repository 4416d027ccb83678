"""A stand-in for api.twilio.com and monitor.twilio.com on loopback: Calls and what went wrong.

    async with TwilioApi(account, answer) as api:
        Client(account.sid, account.token, http_client=...)  # sent to api.url

It refuses what Twilio refuses, with Twilio's codes, places the calls it takes (placed_call.py),
and keeps what went wrong as alerts, which are the notifications of their calls, too, and are posted
to a debugger webhook where there is one. A filter that it does not know is refused, never ignored.
"""

import asyncio
import ssl
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from doctor.addresses import Detour
from doctor.caller.forms import API_VERSION
from doctor.caller.webhooks import FetchFailed, Webhooks
from doctor.dial import Patience
from doctor.rest_api.alerts import Alert
from doctor.rest_api.events import event_resource
from doctor.rest_api.forms import Account, Form, parse_create, parse_update
from doctor.rest_api.lists import Page, alert_list, call_list, list_2010
from doctor.rest_api.placed_call import Answer, Failure, PlacedCall, Scenario
from doctor.rest_api.shapes import Call, RestError
from doctor.signing import Signer, new_sid

PAGE_LIMIT = 1000
_PAGING = {"PageSize", "Page", "PageToken"}


class TwilioApi:
    """The two hosts on one port.

    `scenarios` says what happens at a number, by To; `debugger` is told each alert.
    """

    def __init__(
        self,
        account: Account,
        answer: Answer,
        *,
        scenarios: Mapping[str, Scenario] | None = None,
        detour: Detour | None = None,
        patience: Patience | None = None,
        debugger: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self.scenarios = dict(scenarios or {})
        self.calls: dict[str, PlacedCall] = {}
        self.alerts: list[Alert] = []
        self.url = ""
        # What the next requests to create a call get in place of a call, in this order.
        self.refusals: list[RestError] = []
        # Awaited between placing a call and answering 201: where answers get lost.
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        # What is said of a call that has ended, when it is to be hung up: 20404 or 21220.
        self.ended_code = 20404
        self._answer = answer
        self._debugger = debugger
        self._webhooks = Webhooks(
            Signer(account.token),
            detour or Detour(""),
            ssl.create_default_context(),
            patience or Patience(),
        )
        self._now = now
        self._stack = AsyncExitStack()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._check])
        calls = f"/{API_VERSION}/Accounts/{{account}}/Calls"
        app.router.add_post(f"{calls}.json", self._create)
        app.router.add_get(f"{calls}.json", self._list_calls)
        app.router.add_get(f"{calls}/{{sid}}.json", self._fetch)
        app.router.add_post(f"{calls}/{{sid}}.json", self._update)
        app.router.add_get(f"{calls}/{{sid}}/Events.json", self._list_events)
        app.router.add_get(f"{calls}/{{sid}}/Notifications.json", self._list_notifications)
        app.router.add_get(f"{calls}/{{sid}}/Notifications/{{entry}}.json", self._notification)
        app.router.add_get("/v1/Alerts", self._list_alerts)
        app.router.add_get("/v1/Alerts/{sid}", self._fetch_alert)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        async with AsyncExitStack() as stack:
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(self._cancel_calls)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.__aexit__(*raised)  # type: ignore[arg-type]

    async def settled(self) -> None:
        """Wait until no call is under way and every callback was answered."""
        while pending := [task for task in self._running if not task.done()]:
            await asyncio.wait(pending)

    def _cancel_calls(self) -> None:
        for task in self._running:
            task.cancel()

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Basic authentication first, then the answer; refusals as Twilio's JSON."""
        try:
            self._authenticate(request)
            return await handler(request)
        except RestError as error:
            refusal = error
        except web.HTTPMethodNotAllowed:
            refusal = RestError(20004, f"{request.method} is not allowed here", 405)
        except web.HTTPNotFound:
            refusal = _not_found(request)
        return web.json_response(refusal.body(), status=refusal.status)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            given = b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            given = b""
        wanted = f"{self.account.sid}:{self.account.token}".encode()
        named = request.match_info.get("account", self.account.sid)
        if not compare_digest(given, wanted) or named != self.account.sid:
            raise RestError(20003, "the account and the token do not belong together", 401)

    async def _create(self, request: web.Request) -> web.Response:
        wanted = parse_create(await _read_form(request))
        self.account.check(wanted.to, wanted.from_)
        if self.refusals:
            raise self.refusals.pop(0)
        now = self._now()
        call = Call(self.account.sid, wanted.to, wanted.from_, new_sid("CA"), now)
        shown = call.resource()  # as it is at this moment: queued
        placed = PlacedCall(
            call,
            wanted,
            self.scenarios.get(wanted.to, Scenario()),
            self._answer,
            self._webhooks,
            self.raise_alert,
            self._now,
        )
        self.calls[call.sid] = placed
        for code in wanted.warnings:
            self.raise_alert(Failure(code, level="warning"), call.sid)
        self._running.append(self._group.create_task(placed.run()))
        if self.before_answer is not None:
            await self.before_answer()
        return web.json_response(shown, status=201)

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._placed(request).call.resource())

    async def _update(self, request: web.Request) -> web.Response:
        wanted = parse_update(await _read_form(request))
        placed = self._placed(request)
        if placed.call.has_ended and wanted.status is not None:
            raise _not_found(request) if self.ended_code == 20404 else _ended()
        placed.update(wanted)
        return web.json_response(placed.call.resource())

    async def _list_calls(self, request: web.Request) -> web.Response:
        query, page = _read_query(request, {"To", "From", "Status"})
        asked = {name.lower(): value for name, value in query.items()}
        newest_first = [placed.call.resource() for placed in reversed(self.calls.values())]
        shown = [
            call
            for call in newest_first
            if all(call[name] == value for name, value in asked.items())
        ]
        return web.json_response(call_list(shown, page, self.account.sid, query))

    async def _list_alerts(self, request: web.Request) -> web.Response:
        query, page = _read_query(request, {"LogLevel", "StartDate", "EndDate"})
        level = query.get("LogLevel")
        first, last = (_parse_date(query.get(name)) for name in ("StartDate", "EndDate"))
        shown = [
            alert.listed()
            for alert in reversed(self.alerts)
            if (level is None or alert.level == level)
            and (first is None or alert.at >= first)
            and (last is None or alert.at <= last)
        ]
        return web.json_response(alert_list(shown, page, query))

    async def _fetch_alert(self, request: web.Request) -> web.Response:
        for alert in self.alerts:
            if alert.sid == request.match_info["sid"]:
                return web.json_response(alert.resource())
        raise _not_found(request)

    async def _list_events(self, request: web.Request) -> web.Response:
        query, page = _read_query(request, set())
        shown = [event_resource(requested) for requested in self._placed(request).requests]
        path = f"{self._path(request)}/Events.json"
        return web.json_response(list_2010("events", path, shown, page, query))

    async def _list_notifications(self, request: web.Request) -> web.Response:
        query, page = _read_query(request, {"Log"})
        shown = [alert.notification_listed() for alert in reversed(self._alerts_of(request))]
        shown = [entry for entry in shown if query.get("Log", entry["log"]) == entry["log"]]
        path = f"{self._path(request)}/Notifications.json"
        return web.json_response(list_2010("notifications", path, shown, page, query))

    async def _notification(self, request: web.Request) -> web.Response:
        for alert in self._alerts_of(request):
            if alert.sid == request.match_info["entry"]:
                return web.json_response(alert.notification())
        raise _not_found(request)

    def _alerts_of(self, request: web.Request) -> list[Alert]:
        call_sid = self._placed(request).call.sid
        return [alert for alert in self.alerts if alert.resource_sid == call_sid]

    def _path(self, request: web.Request) -> str:
        return f"Accounts/{self.account.sid}/Calls/{self._placed(request).call.sid}"

    def raise_alert(self, failure: Failure, resource_sid: str) -> None:
        """Keep a failure as an alert about a call or a stream, and tell the debugger."""
        alert = Alert(
            account_sid=self.account.sid,
            code=failure.code,
            level=failure.level,
            text=failure.text,
            resource_sid=resource_sid,
            at=self._now(),
            sid=new_sid("NO"),
            sent=failure.sent,
        )
        self.alerts.append(alert)
        if self._debugger is not None:
            self._running.append(self._group.create_task(self._tell(self._debugger, alert)))

    async def _tell(self, debugger: str, alert: Alert) -> None:
        # A debugger that does not answer is no alert: it would be told of it, and so on.
        with suppress(FetchFailed):
            await self._webhooks.fetch(debugger, "POST", alert.debugger_form())

    def _placed(self, request: web.Request) -> PlacedCall:
        placed = self.calls.get(request.match_info["sid"])
        if placed is None:
            raise _not_found(request)
        return placed


def _not_found(request: web.Request) -> RestError:
    return RestError(20404, f"there is no {request.path}", 404)


def _ended() -> RestError:
    return RestError(21220, "the call is not in progress any more")


async def _read_form(request: web.Request) -> Form:
    if request.content_type != "application/x-www-form-urlencoded":
        raise RestError(20001, f"a form is expected, not {request.content_type}")
    form = await request.post()
    return {name: [str(value) for value in form.getall(name)] for name in form}


def _read_query(request: web.Request, filters: set[str]) -> tuple[dict[str, str], Page]:
    """The filters that were set, and the page that is asked for."""
    query = dict(request.query)
    if unknown := set(query) - filters - _PAGING:
        raise RestError(20001, f"not simulated: {', '.join(sorted(unknown))}")
    try:
        page = Page(int(query.get("Page", "0")), int(query.get("PageSize", "50")))
    except ValueError:
        raise RestError(20001, "Page and PageSize are numbers") from None
    if page.number < 0 or not 1 <= page.size <= PAGE_LIMIT:
        raise RestError(20001, f"PageSize is from 1 to {PAGE_LIMIT}")
    return {name: value for name, value in query.items() if name not in _PAGING}, page


def _parse_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RestError(20001, f"not a date: {text}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
