"""Twilio's stand-in as an API: what it answers, refuses and lists."""

import asyncio
from base64 import b64encode
from datetime import UTC, datetime

import pytest

from doctor.rest_api.alerts import Sent
from doctor.rest_api.forms import Account
from doctor.rest_api.placed_call import Failure, Scenario
from doctor.rest_api.server import TwilioApi
from openapi_shapes import differences, read_facts
from rest_peers import (
    ACCOUNT,
    FROM,
    TO,
    Line,
    ask,
    callback_book,
    form,
    rest_client,
    run,
)

CALLS, ALERTS = read_facts("calls"), read_facts("alerts")
NOTIFICATIONS, EVENTS = read_facts("notifications"), read_facts("events")


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


def test_a_call_has_its_notifications_and_its_events() -> None:
    async def work() -> None:
        sent = Sent("POST", "https://a.example.com/", "", "", 404, "Server=x", "<html>")
        line = Line(Failure(11200, "failed", sent=sent), Failure(31951, "", "warning"))
        async with callback_book() as book, TwilioApi(ACCOUNT, line) as api:
            _, call = await ask(api, "POST", "Calls.json", form(StatusCallback=f"{book.url}/s"))
            await ask(api, "POST", "Calls.json", form())  # another call's are not among them
            await api.settled()
            for name, facts in (("Notifications", NOTIFICATIONS), ("Events", EVENTS)):
                status, body = await ask(api, "GET", f"Calls/{call['sid']}/{name}.json")
                assert status == 200
                assert list(differences(body, facts["list"]["answer"], facts)) == []
            client = rest_client(api).calls(call["sid"])
            told = await asyncio.to_thread(client.notifications.list)
            assert [entry.error_code for entry in told] == ["31951", "11200"]
            errors = await asyncio.to_thread(client.notifications.list, log=0)
            assert [entry.error_code for entry in errors] == ["11200"]
            whole = await asyncio.to_thread(client.notifications(errors[0].sid).fetch)
            assert (whole.response_headers, whole.response_body) == ("Server=x", "<html>")
            [event] = await asyncio.to_thread(client.events.list)
            assert event.request["url"] == f"{book.url}/s"
            assert event.request["parameters"]["call_status"] == "completed"
            assert event.response["response_code"] == 204

    run(work)


def test_each_alert_is_posted_to_the_debugger_signed() -> None:
    async def work() -> None:
        async with callback_book() as book:
            line = Line(Failure(11200))
            async with TwilioApi(ACCOUNT, line, debugger=f"{book.url}/debugger") as api:
                await ask(api, "POST", "Calls.json", form())
                await api.settled()
                [posted] = book.posted
                assert posted.has_valid_signature
                assert posted.form == api.alerts[0].debugger_form()

    run(work)


def test_a_debugger_that_does_not_answer_is_no_alert_of_its_own() -> None:
    async def work() -> None:
        async with callback_book() as book:
            book.status = 500
            async with TwilioApi(ACCOUNT, Line(Failure(11200)), debugger=book.url + "/d") as api:
                await ask(api, "POST", "Calls.json", form())
                await api.settled()
                assert len(api.alerts) == 1

    run(work)


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "code"),
    [
        ("POST", "Calls.json", form(To=""), 400, 21201),
        ("POST", "Calls.json", form(From="+14155550111"), 400, 21210),
        ("POST", "Calls.json", form(Twiml=""), 400, 21205),
        ("GET", f"Calls/CA{'0' * 32}.json", None, 404, 20404),
        ("POST", f"Calls/CA{'0' * 32}.json", [("Status", "completed")], 404, 20404),
        ("GET", f"Calls/CA{'0' * 32}/Events.json", None, 404, 20404),
        ("GET", f"Calls/CA{'0' * 32}/Notifications.json", None, 404, 20404),
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
