"""The life of a call that Twilio's stand-in places, and the callbacks that tell of it."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.base.exceptions import TwilioRestException

from doctor.addresses import Address, Detour
from doctor.rest_api.forms import Callback, Instructions
from doctor.rest_api.placed_call import AnsweredCall, Failure, Scenario
from doctor.rest_api.server import TwilioApi
from rest_peers import (
    ACCOUNT,
    FROM,
    PATIENCE_S,
    TO,
    CallbackBook,
    Line,
    ask,
    callback_book,
    form,
    rest_client,
    run,
)

EVENTS = ["initiated", "ringing", "answered", "completed"]


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
