"""Twilio's stand-in, driven by the real twilio client and by plain HTTP."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import pytest
from twilio.base.exceptions import TwilioRestException

from doctor.addresses import Address, Detour
from doctor.placed_call import AnsweredCall, Failure, Scenario
from doctor.rest_alerts import Sent
from doctor.rest_forms import Account, Callback, Instructions
from doctor.twilio_api import TwilioApi
from openapi_shapes import differences, read_facts
from rest_peers import ACCOUNT, FROM, PATIENCE_S, TO, CallbackBook, Line, callback_book, rest_client

T = TypeVar("T")
EVENTS = ["initiated", "ringing", "answered", "completed"]
CALLS, ALERTS = read_facts("calls"), read_facts("alerts")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(2 * PATIENCE_S):
            return await work()

    return asyncio.run(bounded())


async def ask(
    api: TwilioApi, method: str, path: str, form: list[tuple[str, str]] | None = None, **more: Any
) -> tuple[int, Any]:
    """One request by hand; `path` is behind the account's where it starts with Calls."""
    if path.startswith("Calls"):
        path = f"/2010-04-01/Accounts/{ACCOUNT.sid}/{path}"
    token = b64encode(f"{ACCOUNT.sid}:{ACCOUNT.token}".encode()).decode()
    more.setdefault("headers", {"Authorization": f"Basic {token}"})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, api.url + path, data=form, **more) as response,
    ):
        return response.status, await response.json()


def form(**changed: str) -> list[tuple[str, str]]:
    fields = {"To": TO, "From": FROM, "Twiml": "<Response/>"} | changed
    return [(name, value) for name, value in fields.items() if value]


def create(client: Any, book: CallbackBook, **changed: Any) -> Any:
    """The arguments of the library's create, in a thread."""
    arguments = {
        "to": TO,
        "from_": FROM,
        "url": f"{book.url}/voice/webhook?plan=1",
        "status_callback": f"{book.url}/voice/status?plan=1",
        "status_callback_event": EVENTS,
    }
    return asyncio.to_thread(lambda: client.calls.create(**(arguments | changed)))


def test_a_call_goes_through_its_statuses_and_tells_each() -> None:
    async def work() -> None:
        line = Line()
        async with callback_book() as book, TwilioApi(ACCOUNT, line) as api:
            call = await create(rest_client(api), book)
            assert (call.status, call.direction, call.to) == ("queued", "outbound-api", TO)
            await api.settled()
            assert book.statuses() == ["initiated", "ringing", "in-progress", "completed"]
            assert [posted.form["SequenceNumber"] for posted in book.posted] == list("0123")
            assert {posted.path for posted in book.posted} == {"/voice/status?plan=1"}
            assert {posted.form["CallSid"] for posted in book.posted} == {call.sid}
            assert all(posted.has_valid_signature for posted in book.posted)
            url = Callback(f"{book.url}/voice/webhook?plan=1", "POST")
            assert line.answered == [
                AnsweredCall(api.calls[call.sid].call, Instructions(url), None)
            ]
            fetched = await asyncio.to_thread(rest_client(api).calls(call.sid).fetch)
            assert fetched.status == "completed"
            assert api.alerts == []

    run(work)


def test_a_wrong_signature_would_be_seen() -> None:
    async def work() -> None:
        async with callback_book() as book, TwilioApi(ACCOUNT, Line()) as api:
            book.public_url = "https://voice.example.com"
            await create(rest_client(api), book)
            await api.settled()
            assert not any(posted.has_valid_signature for posted in book.posted)

    run(work)


def test_callbacks_to_a_public_address_take_a_detour_and_keep_its_signature() -> None:
    async def work() -> None:
        async with callback_book() as book:
            book.public_url = "https://voice.example.com"
            port = int(book.url.rpartition(":")[2])
            detour = Detour("voice.example.com", Address("127.0.0.1", port), plain=True)
            async with TwilioApi(ACCOUNT, Line(), detour=detour) as api:
                callback = "https://voice.example.com/voice/status?plan=1"
                await create(rest_client(api), book, status_callback=callback)
                await api.settled()
            assert [posted.has_valid_signature for posted in book.posted] == [True] * 4

    run(work)


@pytest.mark.parametrize(
    ("scenario", "statuses"),
    [
        (Scenario("busy"), ["initiated", "ringing", "busy"]),
        (Scenario("no-answer"), ["initiated", "ringing", "no-answer"]),
        (Scenario("failed"), ["initiated", "failed"]),
    ],
)
def test_a_number_has_the_fate_that_its_scenario_says(
    scenario: Scenario, statuses: list[str]
) -> None:
    async def work() -> None:
        line = Line()
        scenarios = {TO: scenario}
        async with callback_book() as book, TwilioApi(ACCOUNT, line, scenarios=scenarios) as api:
            await create(rest_client(api), book)
            await api.settled()
            assert book.statuses() == statuses
            assert line.answered == []

    run(work)


def test_a_telephone_that_rings_longer_than_its_timeout_is_not_answered() -> None:
    async def work() -> None:
        scenarios = {TO: Scenario(ring_s=PATIENCE_S)}
        async with callback_book() as book, TwilioApi(ACCOUNT, Line(), scenarios=scenarios) as api:
            await create(rest_client(api), book, timeout=1)
            await api.settled()
            assert book.statuses() == ["initiated", "ringing", "no-answer"]

    run(work)


def test_only_the_events_that_were_asked_for_are_told() -> None:
    async def work() -> None:
        async with callback_book() as book, TwilioApi(ACCOUNT, Line()) as api:
            await create(rest_client(api), book, status_callback_event=["ringing", "completed"])
            await api.settled()
            await create(rest_client(api), book, status_callback_event=[])
            await api.settled()
            assert book.statuses() == ["ringing", "completed", "completed"]

    run(work)


def test_events_in_one_field_silence_every_callback_and_raise_21626() -> None:
    async def work() -> None:
        async with callback_book() as book, TwilioApi(ACCOUNT, Line()) as api:
            await create(rest_client(api), book, status_callback_event=["initiated ringing"])
            await api.settled()
            assert book.posted == []
            assert [alert.code for alert in api.alerts] == [21626]

    run(work)


def test_a_call_is_hung_up_while_it_is_up_and_canceled_before() -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        scenarios = {"+14155550199": Scenario(ring_s=PATIENCE_S)}
        async with callback_book() as book, TwilioApi(ACCOUNT, line, scenarios=scenarios) as api:
            client = rest_client(api)
            first = await create(client, book)
            await book.until("in-progress")
            await asyncio.to_thread(client.calls(first.sid).update, status="canceled")
            assert api.calls[first.sid].call.status == "in-progress"
            await asyncio.to_thread(client.calls(first.sid).update, status="completed")
            await book.until("completed")
            for ending in ("canceled", "completed"):
                book.posted.clear()
                ringing = await create(client, book, to="+14155550199")
                await book.until("ringing")
                await asyncio.to_thread(client.calls(ringing.sid).update, status=ending)
                await book.until("canceled")

    run(work)


def test_a_call_that_is_up_can_be_redirected_and_no_other() -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        scenarios = {"+14155550199": Scenario("busy")}
        async with callback_book() as book, TwilioApi(ACCOUNT, line, scenarios=scenarios) as api:
            client = rest_client(api)
            call = await create(client, book)
            await book.until("in-progress")
            await asyncio.to_thread(client.calls(call.sid).update, twiml="<Response/>")
            assert line.redirected == [Instructions(None, "<Response/>")]
            busy = await create(client, book, to="+14155550199")
            await book.until("busy")
            with pytest.raises(TwilioRestException) as refused:
                await asyncio.to_thread(client.calls(busy.sid).update, twiml="<Response/>")
            assert (refused.value.status, refused.value.code) == (400, 21220)

    run(work)


@pytest.mark.parametrize(("code", "status"), [(20404, 404), (21220, 400)])
def test_hanging_up_an_ended_call_is_refused_with_either_code(code: int, status: int) -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            api.ended_code = code
            _, call = await ask(api, "POST", "Calls.json", form())
            await api.settled()
            path = f"Calls/{call['sid']}.json"
            got, body = await ask(api, "POST", path, [("Status", "completed")])
            assert (got, body["code"]) == (status, code)

    run(work)


def test_a_time_limit_ends_the_call() -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        async with callback_book() as book, TwilioApi(ACCOUNT, line) as api:
            await create(rest_client(api), book, time_limit=1)
            await api.settled()
            assert book.statuses()[-1] == "completed"
            assert book.posted[-1].form["CallDuration"] in ("1", "2")

    run(work)


@pytest.mark.parametrize(
    ("answered_by", "mode", "word"),
    [
        ("human", "Enable", "human"),
        ("machine", "Enable", "machine_start"),
        ("machine", "DetectMessageEnd", "machine_end_beep"),
        ("fax", "DetectMessageEnd", "fax"),
    ],
)
def test_detection_beside_the_call_is_told_to_its_own_callback(
    answered_by: Any, mode: str, word: str
) -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        scenarios = {TO: Scenario(answered_by=answered_by)}
        async with callback_book() as book, TwilioApi(ACCOUNT, line, scenarios=scenarios) as api:
            client = rest_client(api)
            call = await create(
                client,
                book,
                machine_detection=mode,
                async_amd="true",
                async_amd_status_callback=f"{book.url}/voice/amd?plan=1",
                status_callback_event=["completed"],
            )
            async with asyncio.timeout(PATIENCE_S), book.changed:
                await book.changed.wait_for(lambda: book.posted)
            (told,) = book.posted
            assert told.path == "/voice/amd?plan=1"
            assert told.has_valid_signature
            assert (told.form["CallSid"], told.form["AnsweredBy"]) == (call.sid, word)
            assert line.answered[0].answered_by is None
            await asyncio.to_thread(client.calls(call.sid).update, status="completed")
            await book.until("completed")
            assert book.posted[-1].form["AnsweredBy"] == word

    run(work)


def test_detection_ends_with_the_call() -> None:
    async def work() -> None:
        scenarios = {TO: Scenario(detect_s=3600)}
        async with callback_book() as book, TwilioApi(ACCOUNT, Line(), scenarios=scenarios) as api:
            amd = f"{book.url}/voice/amd"
            detect = {"machine_detection": "Enable", "async_amd": "true"}
            await create(rest_client(api), book, **detect, async_amd_status_callback=amd)
            await api.settled()
            assert book.statuses()[-1] == "completed"
            assert "/voice/amd" not in [posted.path for posted in book.posted]

    run(work)


def test_detection_without_its_own_callback_comes_before_the_twiml() -> None:
    async def work() -> None:
        line = Line()
        scenarios = {TO: Scenario(answered_by="machine")}
        async with callback_book() as book, TwilioApi(ACCOUNT, line, scenarios=scenarios) as api:
            await create(rest_client(api), book, machine_detection="DetectMessageEnd")
            await api.settled()
            assert line.answered[0].answered_by == "machine_end_beep"

    run(work)


def test_a_callback_that_is_refused_is_a_warning_and_the_call_goes_on() -> None:
    async def work() -> None:
        async with callback_book() as book, TwilioApi(ACCOUNT, Line()) as api:
            book.status = 403
            call = await create(rest_client(api), book)
            await api.settled()
            assert api.calls[call.sid].call.status == "completed"
            assert [(alert.code, alert.level) for alert in api.alerts] == [(15003, "warning")] * 4
            assert api.alerts[0].sent.response_status == 403

    run(work)


def test_a_callback_that_nobody_takes_is_an_error() -> None:
    async def work() -> None:
        async with callback_book() as book:
            nobody = book.url
        async with TwilioApi(ACCOUNT, Line()) as api:
            status = f"{nobody}/voice/status"
            await ask(api, "POST", "Calls.json", form(StatusCallback=status))
            await api.settled()
            assert [(alert.code, alert.level) for alert in api.alerts] == [(11202, "error")]

    run(work)


def test_what_went_wrong_on_a_call_is_an_alert_with_its_request_and_answer() -> None:
    async def work() -> None:
        sent = Sent("POST", "https://a.example.com/", "CallSid=CA", "", 404, "Server=x", "<html>")
        line = Line(
            Failure(11200, "HTTP retrieval failure", sent=sent), Failure(31951, "", "warning")
        )
        async with TwilioApi(ACCOUNT, line) as api:
            client = rest_client(api)
            _, call = await ask(api, "POST", "Calls.json", form())
            await api.settled()
            alerts = await asyncio.to_thread(client.monitor.v1.alerts.list)
            assert [alert.error_code for alert in alerts] == ["31951", "11200"]
            assert {alert.resource_sid for alert in alerts} == {call["sid"]}
            errors = await asyncio.to_thread(client.monitor.v1.alerts.list, log_level="error")
            assert [alert.error_code for alert in errors] == ["11200"]
            alert = await asyncio.to_thread(client.monitor.v1.alerts(errors[0].sid).fetch)
            assert (alert.response_body, alert.request_variables) == ("<html>", "CallSid=CA")

    run(work)


def test_alerts_are_listed_within_dates() -> None:
    async def work() -> None:
        at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
        line = Line(Failure(11200))
        async with TwilioApi(ACCOUNT, line, now=at.timestamp) as api:
            await ask(api, "POST", "Calls.json", form())
            await api.settled()
            alerts = rest_client(api).monitor.v1.alerts
            for dates, found in [
                ({"start_date": datetime(2026, 3, 4, tzinfo=UTC)}, 1),
                ({"start_date": datetime(2026, 3, 5, tzinfo=UTC)}, 0),
                ({"end_date": datetime(2026, 3, 5, tzinfo=UTC)}, 1),
                ({"end_date": datetime(2026, 3, 4, tzinfo=UTC)}, 0),
            ]:
                assert len(await asyncio.to_thread(alerts.list, **dates)) == found

    run(work)


def test_the_client_walks_through_pages_of_both_kinds() -> None:
    async def work() -> None:
        line = Line(Failure(11200))
        async with TwilioApi(ACCOUNT, line) as api:
            client = rest_client(api)
            sids = [(await ask(api, "POST", "Calls.json", form()))[1]["sid"] for _ in range(5)]
            await api.settled()
            calls = await asyncio.to_thread(client.calls.list, page_size=2)
            assert [call.sid for call in calls] == sids[::-1]
            alerts = await asyncio.to_thread(client.monitor.v1.alerts.list, page_size=2)
            assert len({alert.sid for alert in alerts}) == 5

    run(work)


def test_calls_are_listed_by_number_and_status() -> None:
    async def work() -> None:
        scenarios = {"+14155550199": Scenario("busy")}
        async with TwilioApi(ACCOUNT, Line(), scenarios=scenarios) as api:
            calls = rest_client(api).calls
            for to in (TO, "+14155550199"):
                await ask(api, "POST", "Calls.json", form(To=to))
            await api.settled()
            assert [call.to for call in await asyncio.to_thread(calls.list, to=TO)] == [TO]
            busy = await asyncio.to_thread(calls.list, status="busy", from_=FROM)
            assert [call.to for call in busy] == ["+14155550199"]

    run(work)


def test_every_answer_has_the_published_shape_and_status() -> None:
    async def work() -> None:
        line = Line(Failure(11200, "failed", sent=Sent(response_status=404)), hang_up_now=False)
        async with callback_book() as book, TwilioApi(ACCOUNT, line) as api:
            status = f"{book.url}/voice/status"
            fields = [*form(StatusCallback=status), ("StatusCallbackEvent", "answered")]
            answers = {"create": await ask(api, "POST", "Calls.json", fields)}
            sid = answers["create"][1]["sid"]
            await book.until("in-progress")
            answers["fetch"] = await ask(api, "GET", f"Calls/{sid}.json")
            answers["update"] = await ask(
                api, "POST", f"Calls/{sid}.json", [("Status", "completed")]
            )
            await api.settled()
            answers["list"] = await ask(api, "GET", "Calls.json?PageSize=1")
            for name, (status_code, body) in answers.items():
                assert status_code == CALLS[name]["status"]
                assert list(differences(body, CALLS[name]["answer"], CALLS)) == []
            status_code, body = await ask(api, "GET", "/v1/Alerts")
            assert status_code == ALERTS["list"]["status"]
            assert list(differences(body, ALERTS["list"]["answer"], ALERTS)) == []
            status_code, body = await ask(api, "GET", f"/v1/Alerts/{body['alerts'][0]['sid']}")
            assert status_code == ALERTS["fetch"]["status"]
            assert list(differences(body, ALERTS["fetch"]["answer"], ALERTS)) == []

    run(work)


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "code"),
    [
        ("POST", "Calls.json", form(To=""), 400, 21201),
        ("POST", "Calls.json", form(From="+14155550111"), 400, 21210),
        ("POST", "Calls.json", form(Twiml=""), 400, 21205),
        ("GET", f"Calls/CA{'0' * 32}.json", None, 404, 20404),
        ("POST", f"Calls/CA{'0' * 32}.json", [("Status", "completed")], 404, 20404),
        ("GET", f"/v1/Alerts/NO{'0' * 32}", None, 404, 20404),
        ("GET", "/v1/Nothing", None, 404, 20404),
        ("DELETE", "Calls.json", None, 405, 20004),
        ("GET", "Calls.json?StartTime=2026-01-01", None, 400, 20001),
        ("GET", "Calls.json?PageSize=1001", None, 400, 20001),
        ("GET", "Calls.json?Page=x", None, 400, 20001),
        ("GET", "/v1/Alerts?StartDate=soon", None, 400, 20001),
    ],
)
def test_a_refusal_is_json_with_the_code_and_the_status(
    method: str, path: str, fields: list[tuple[str, str]] | None, status: int, code: int
) -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            got, body = await ask(api, method, path, fields)
            assert (got, body["status"], body["code"]) == (status, status, code)
            assert set(body) == {"code", "message", "more_info", "status"}
            assert api.calls == {}

    run(work)


def test_a_json_body_is_no_form() -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            assert (await ask(api, "POST", "Calls.json", json={"To": TO}))[0] == 400

    run(work)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer x", "Basic !", "Basic " + b64encode(b"AC:x").decode()]
)
def test_who_does_not_know_the_token_gets_nothing(authorization: str) -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            headers = {"Authorization": authorization}
            for method, path in [("POST", "Calls.json"), ("GET", "/v1/Alerts"), ("GET", "/x")]:
                status, body = await ask(api, method, path, headers=headers)
                assert (status, body["code"]) == (401, 20003)

    run(work)


def test_one_account_does_not_see_another() -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            other = f"/2010-04-01/Accounts/AC{'9' * 32}/Calls.json"
            assert (await ask(api, "GET", other))[1]["code"] == 20003

    run(work)


def test_a_trial_account_is_told_of_its_limits() -> None:
    async def work() -> None:
        trial = Account(ACCOUNT.sid, ACCOUNT.token, verified=frozenset())
        async with TwilioApi(trial, Line()) as api:
            assert (await ask(api, "POST", "Calls.json", form()))[1]["code"] == 21219

    run(work)


def test_calls_under_way_end_with_the_stand_in() -> None:
    async def work() -> None:
        scenarios = {TO: Scenario(ring_s=3600)}
        async with TwilioApi(ACCOUNT, Line(), scenarios=scenarios) as api:
            await ask(api, "POST", "Calls.json", form())

    run(work)


def test_a_caller_that_breaks_is_not_hidden() -> None:
    class Broken(Line):
        async def run(self) -> list[Failure]:
            raise ZeroDivisionError

    async def work() -> None:
        async with TwilioApi(ACCOUNT, Broken()) as api:
            await ask(api, "POST", "Calls.json", form())
            await api.settled()

    with pytest.raises(BaseExceptionGroup) as raised:
        run(work)
    assert raised.group_contains(ZeroDivisionError)


def test_a_get_callback_carries_its_form_in_the_query_and_is_signed_as_such() -> None:
    async def work() -> None:
        async with callback_book() as book, TwilioApi(ACCOUNT, Line()) as api:
            await create(
                rest_client(api),
                book,
                status_callback_method="GET",
                status_callback_event=["completed"],
            )
            await api.settled()
            (posted,) = book.posted
            assert posted.path.startswith("/voice/status?plan=1&")
            assert urlencode({"CallStatus": "completed"}) in posted.path
            assert posted.has_valid_signature

    run(work)
