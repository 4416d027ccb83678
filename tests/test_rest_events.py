"""The Events of a call: a request and its answer, in the published form."""

from doctor.caller.requested import BODY_LIMIT, Requested
from doctor.rest_api.events import event_resource
from doctor.rest_api.lists import Page, list_2010
from openapi_shapes import differences, read_facts

EVENTS = read_facts("events")
REQUESTED = Requested(
    1000.0,
    "POST",
    "https://voice.example.com/voice/webhook",
    {"CallSid": "CA1", "CallStatus": "ringing", "From": "+1"},
    200,
    "text/xml",
    "<Response/>",
    2500.0,
)


def test_a_list_of_events_has_the_published_shape() -> None:
    listed = list_2010("events", "Accounts/AC1/E.json", [event_resource(REQUESTED)], Page(), {})
    assert list(differences(listed, EVENTS["list"]["answer"], EVENTS)) == []


def test_an_event_tells_the_request_and_when_and_how_it_was_answered() -> None:
    assert event_resource(REQUESTED) == {
        "request": {
            "method": "POST",
            "url": "https://voice.example.com/voice/webhook",
            "parameters": {"call_sid": "CA1", "call_status": "ringing", "from": "+1"},
        },
        "response": {
            "content_type": "text/xml",
            "date_created": "Thu, 01 Jan 1970 00:16:42 +0000",
            "request_duration": 2500,
            "response_body": "<Response/>",
            "response_code": 200,
        },
    }


def test_a_long_answer_is_cut() -> None:
    long = Requested(0.0, "GET", "https://a/", body="x" * (BODY_LIMIT + 1))
    told = event_resource(long)
    assert len(told["response"]["response_body"]) == BODY_LIMIT
