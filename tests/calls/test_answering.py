"""Calls that Twilio's stand-in places and the simulated caller answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from twilio.request_validator import RequestValidator

from doctor.rest_api.answering import simulated_callers
from doctor.rest_api.placed_call import Scenario
from doctor.rest_api.server import TwilioApi
from gateway.outbound import Outbound
from rest_peers import ACCOUNT, FROM, PATIENCE_S, TO, rest_client, run

HANG_UP = "<Response><Hangup/></Response>"
WAIT = "<Response><Pause length='3600'/></Response>"


class Webhook:
    """Answers each path with a document, and keeps the forms that it was asked with."""

    def __init__(self) -> None:
        self.documents = {"/hang-up": HANG_UP, "/wait": WAIT}
        self.url = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._was_asked = asyncio.Condition()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        signature = request.headers.get("X-Twilio-Signature", "")
        if not RequestValidator(ACCOUNT.token).validate(str(request.url), form, signature):
            return web.Response(status=403, text="signature")
        async with self._was_asked:
            self.asked.append((request.path, form))
            self._was_asked.notify_all()
        if request.path not in self.documents:
            return web.Response(status=404, text="no such page")
        return web.Response(text=self.documents[request.path], content_type="text/xml")

    async def until_asked(self, path: str) -> None:
        async with asyncio.timeout(PATIENCE_S), self._was_asked:
            await self._was_asked.wait_for(lambda: path in [there for there, _ in self.asked])


@asynccontextmanager
async def placed(
    scenario: Scenario | None = None,
) -> AsyncIterator[tuple[TwilioApi, Outbound, Webhook]]:
    webhook = Webhook()
    runner = web.ServerRunner(web.Server(webhook.answer, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        webhook.url = "http://{}:{}".format(*runner.addresses[0][:2])
        scenarios = {TO: scenario or Scenario()}
        async with TwilioApi(ACCOUNT, simulated_callers(ACCOUNT), scenarios=scenarios) as api:
            outbound = Outbound(ACCOUNT.sid, ACCOUNT.token, api_url=api.url)
            yield api, outbound, webhook
    finally:
        await runner.cleanup()


async def create(outbound: Outbound, webhook: Webhook, path: str, **options: Any) -> str:
    url = webhook.url + path
    return await outbound.create(TO, url, f"{webhook.url}/hang-up", from_=FROM, **options)


def asked(webhook: Webhook, path: str) -> dict[str, str]:
    return next(form for there, form in webhook.asked if there == path)


def test_the_caller_fetches_the_twiml_as_the_call_that_was_placed_and_obeys_it() -> None:
    async def work() -> None:
        async with placed() as (api, outbound, webhook):
            webhook.documents["/twiml"] = HANG_UP
            call_sid = await create(outbound, webhook, "/twiml")
            await api.settled()
            form = asked(webhook, "/twiml")
            assert form["CallSid"] == call_sid
            assert (form["To"], form["From"]) == (TO, FROM)
            assert (form["Direction"], form["CallStatus"]) == ("outbound-api", "in-progress")
            assert "AnsweredBy" not in form
            assert (await outbound.fetch(call_sid)).status == "completed"
            assert api.alerts == []

    run(work)


def test_a_machine_that_was_waited_for_is_told_to_the_webhook() -> None:
    async def work() -> None:
        async with placed(Scenario(answered_by="machine")) as (api, outbound, webhook):
            webhook.documents["/twiml"] = HANG_UP
            await create(outbound, webhook, "/twiml", machine_detection="DetectMessageEnd")
            await api.settled()
            assert asked(webhook, "/twiml")["AnsweredBy"] == "machine_end_beep"

    run(work)


def test_a_webhook_that_answers_404_is_alert_11200_with_the_answer() -> None:
    async def work() -> None:
        async with placed() as (api, outbound, webhook):
            call_sid = await create(outbound, webhook, "/nothing-here")
            await api.settled()
            (alert,) = api.alerts
            assert (alert.code, alert.level, alert.resource_sid) == (11200, "error", call_sid)
            assert alert.resource()["request_url"] == f"{webhook.url}/nothing-here"
            assert "no such page" in alert.resource()["response_body"]

    run(work)


def test_hanging_up_by_rest_ends_the_callers_side() -> None:
    async def work() -> None:
        async with placed() as (api, outbound, webhook):
            call_sid = await create(outbound, webhook, "/wait")
            await webhook.until_asked("/wait")
            assert await outbound.hang_up(call_sid) is True
            await api.settled()
            assert (await outbound.fetch(call_sid)).status == "completed"
            assert await outbound.hang_up(call_sid) is False

    run(work)


def test_a_redirected_call_obeys_the_other_document() -> None:
    async def work() -> None:
        async with placed() as (api, outbound, webhook):
            webhook.documents["/twiml"] = WAIT
            webhook.documents["/other"] = HANG_UP
            call_sid = await create(outbound, webhook, "/twiml")
            await webhook.until_asked("/twiml")
            update = rest_client(api).calls(call_sid).update
            await asyncio.to_thread(update, url=f"{webhook.url}/other")
            await api.settled()
            assert asked(webhook, "/other")["CallSid"] == call_sid

    run(work)


def test_a_caller_takes_twiml_that_came_with_the_call() -> None:
    async def work() -> None:
        async with placed() as (api, _, _):
            calls = rest_client(api).calls
            call = await asyncio.to_thread(calls.create, to=TO, from_=FROM, twiml=HANG_UP)
            await api.settled()
            assert api.calls[call.sid].call.status == "completed"
            assert api.alerts == []

    run(work)
