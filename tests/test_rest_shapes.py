"""The Call resource and the callbacks' forms, at each point of a call's life."""

import pytest

from doctor.rest_api.shapes import ENDED, Call, CallStatus, RestError
from openapi_shapes import differences, read_facts

ACCOUNT = "AC" + "1" * 32
CALLS = read_facts("calls")
LIFE: list[CallStatus] = ["initiated", "ringing", "in-progress", "completed"]


def call_at(*statuses: CallStatus) -> Call:
    """A call that entered these statuses at 1000, 1010, 1020, ..."""
    call = Call(ACCOUNT, "+14155550100", "+15005550006", "CA" + "2" * 32, created_at=990.0)
    for index, status in enumerate(statuses):
        call.move(status, 1000.0 + 10 * index)
    return call


@pytest.mark.parametrize("steps", range(5))
def test_the_resource_has_the_published_shape_at_every_step(steps: int) -> None:
    assert list(differences(call_at(*LIFE[:steps]).resource(), "call", CALLS)) == []


@pytest.mark.parametrize("ending", sorted(ENDED))
def test_the_resource_has_the_published_shape_however_the_call_ended(ending: CallStatus) -> None:
    assert (
        list(differences(call_at("initiated", "ringing", ending).resource(), "call", CALLS)) == []
    )


def test_a_completed_call_tells_its_times_and_its_duration() -> None:
    resource = call_at(*LIFE).resource()
    assert resource["date_created"] == "Thu, 01 Jan 1970 00:16:30 +0000"
    assert resource["start_time"] == "Thu, 01 Jan 1970 00:16:40 +0000"
    assert resource["end_time"] == resource["date_updated"] == "Thu, 01 Jan 1970 00:17:10 +0000"
    assert resource["duration"] == "10"


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_a_call_that_nobody_took_has_neither_end_nor_duration(status: CallStatus) -> None:
    resource = call_at("initiated", "ringing", status).resource()
    assert (resource["end_time"], resource["duration"]) == (None, None)


def test_a_begun_second_counts() -> None:
    call = call_at("initiated", "ringing", "in-progress")
    call.move("completed", 1020.2)
    assert call.resource()["duration"] == "1"


def test_the_resource_calls_queued_what_the_callback_calls_initiated() -> None:
    call = call_at("initiated")
    assert call.resource()["status"] == "queued"
    assert call.progress_form(0, 1000.0)["CallStatus"] == "initiated"


def test_numbers_of_north_america_are_formatted_and_others_are_not() -> None:
    call = Call(ACCOUNT, "+442071838750", "+14155550100", "CA" + "2" * 32, created_at=0.0)
    assert call.resource()["to_formatted"] == "+442071838750"
    assert call.resource()["from_formatted"] == "(415) 555-0100"


def test_a_status_callback_says_what_captured_ones_say() -> None:
    form = call_at(*LIFE[:2]).progress_form(1, 1010.0)
    assert {name: value for name, value in form.items() if value} == {
        "AccountSid": ACCOUNT,
        "ApiVersion": "2010-04-01",
        "CallSid": "CA" + "2" * 32,
        "CallStatus": "ringing",
        "CallbackSource": "call-progress-events",
        "Called": "+14155550100",
        "CalledCountry": "US",
        "Caller": "+15005550006",
        "CallerCountry": "US",
        "Direction": "outbound-api",
        "From": "+15005550006",
        "FromCountry": "US",
        "SequenceNumber": "1",
        "Timestamp": "Thu, 01 Jan 1970 00:16:50 +0000",
        "To": "+14155550100",
        "ToCountry": "US",
    }


def test_a_status_callback_has_empty_fields_which_are_signed_like_others() -> None:
    form = call_at("initiated").progress_form(0, 1000.0)
    assert {name for name, value in form.items() if not value} == {
        who + what
        for who in ("Called", "To", "Caller", "From")
        for what in ("City", "State", "Zip")
    }


def test_only_the_last_callback_tells_durations() -> None:
    assert "CallDuration" not in call_at(*LIFE[:3]).progress_form(2, 1020.0)
    form = call_at(*LIFE).progress_form(3, 1030.0)
    assert (form["CallDuration"], form["Duration"], form["SipResponseCode"]) == ("10", "1", "200")
    form = call_at("initiated", "ringing", "busy").progress_form(2, 1020.0)
    assert (form["CallDuration"], form["Duration"], form["SipResponseCode"]) == ("0", "0", "486")


def test_callbacks_tell_who_answered_once_that_is_known() -> None:
    call = call_at(*LIFE)
    assert "AnsweredBy" not in call.progress_form(0, 0)
    call.answered_by = "human"
    assert call.progress_form(0, 0)["AnsweredBy"] == "human"
    assert call.machine_form("human", 2400) == {
        "AccountSid": ACCOUNT,
        "AnsweredBy": "human",
        "CallSid": call.sid,
        "MachineDetectionDuration": "2400",
    }


def test_an_error_names_the_page_that_explains_it() -> None:
    assert RestError(20404, "gone", 404).body() == {
        "code": 20404,
        "message": "gone",
        "more_info": "https://www.twilio.com/docs/errors/20404",
        "status": 404,
    }
