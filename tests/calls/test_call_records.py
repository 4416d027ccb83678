"""What Twilio keeps of a call, asked by the real library of Twilio's stand-in."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from doctor.rest_api.alerts import Sent
from doctor.rest_api.placed_call import Failure
from doctor.rest_api.server import TwilioApi
from doctor.rest_api.shapes import RestError
from gateway.call_records import CallRecords, fetch_records, is_refusal_of_credentials
from gateway.dial_errors import TwilioError
from gateway.twilio_rest import Rest, RestHttp
from rest_peers import ACCOUNT, PATIENCE_S, Line, ask, callback_book, form, run

STREAM_SID = "MZ" + "5" * 32
SENT = Sent(
    "GET",
    "wss://voice.example.com/voice/stream",
    "token=s3cret",
    "X-Twilio-Signature=s3cret",
    404,
    "Server=nginx",
    "<html>",
)


def rest(api: TwilioApi, token: str = ACCOUNT.token, timeout_s: float = PATIENCE_S) -> Rest:
    return Rest(ACCOUNT.sid, token, None, None, RestHttp(timeout_s, api.url))


async def placed(api: TwilioApi, **changed: str) -> str:
    _, call = await ask(api, "POST", "Calls.json", form(**changed))
    await api.settled()
    return str(call["sid"])


async def fetched(api: TwilioApi, call_sid: str, **options: Any) -> CallRecords:
    return await fetch_records(rest(api), call_sid, **options)


def test_a_call_comes_with_what_went_wrong_and_with_its_events() -> None:
    async def work() -> None:
        line = Line(Failure(31920, "404", sent=SENT), Failure(31951, "", "warning"))
        async with callback_book() as book, TwilioApi(ACCOUNT, line) as api:
            other = await placed(api)
            call_sid = await placed(api, StatusCallback=f"{book.url}/voice/status")
            api.raise_alert(Failure(31924, "bad"), STREAM_SID)
            records = await fetched(api, call_sid, stream_sids=[STREAM_SID])
            assert other != call_sid
            assert records.call["status"] == "completed"
            assert records.call["ended_at"] >= records.call["created_at"]
            assert [alert["error_code"] for alert in records.alerts] == ["31924", "31951", "31920"]
            assert records.alerts[2]["response_headers"] == "Server=nginx"
            assert [entry["log"] for entry in records.notifications] == ["1", "0"]
            [event] = records.events
            assert event["response"]["response_code"] == 204
            assert records.problems == []
            assert "s3cret" not in repr(records)

    run(work)


def test_an_unknown_call_and_wrong_credentials_are_errors_with_their_codes() -> None:
    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            with pytest.raises(TwilioError) as unknown:
                await fetched(api, "CA" + "0" * 32)
            assert unknown.value.code == 20404
            assert not is_refusal_of_credentials(unknown.value)
            with pytest.raises(TwilioError) as wrong:
                await fetch_records(rest(api, "wrong"), "CA" + "0" * 32)
            assert is_refusal_of_credentials(wrong.value)

    run(work)


def test_what_cannot_be_had_is_a_problem_and_the_rest_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no_alerts(_api: TwilioApi, _request: object) -> None:
        raise RestError(20429, "too many", 429)

    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line(Failure(31920, sent=SENT))) as api:
            call_sid = await placed(api)
            records = await fetched(api, call_sid)
            assert records.alerts == []
            assert len(records.notifications) == 1
            [problem] = records.problems
            assert problem.startswith("alerts: ")

    monkeypatch.setattr(TwilioApi, "_list_alerts", no_alerts)
    run(work)


def test_alerts_of_another_time_are_not_looked_at() -> None:
    async def work() -> None:
        times = iter([datetime(2026, 1, 2, tzinfo=UTC).timestamp()] * 100)
        async with TwilioApi(ACCOUNT, Line(), now=lambda: next(times)) as api:
            call_sid = await placed(api)
            api._now = datetime(2026, 1, 3, tzinfo=UTC).timestamp
            api.raise_alert(Failure(31920), call_sid)
            records = await fetched(api, call_sid)
            assert records.alerts == []
            assert len(records.notifications) == 1

    run(work)


def test_a_slow_api_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    released = asyncio.Event()

    async def never(_api: TwilioApi, _request: object) -> None:
        await released.wait()

    async def work() -> None:
        async with TwilioApi(ACCOUNT, Line()) as api:
            call_sid = await placed(api)
            slow = rest(api)
            records = await fetch_records(slow, call_sid, total_s=3.0)
            assert "took longer than 3 s" in records.problems[-1]
            released.set()

    monkeypatch.setattr(TwilioApi, "_list_alerts", never)
    run(work)
