"""An entry of the debugger in its three forms: Alert, Notification, what a webhook is posted."""

import json
from urllib.parse import parse_qs

from doctor.rest_api.alerts import Alert, Sent
from openapi_shapes import differences, read_facts

ALERTS, NOTIFICATIONS = read_facts("alerts"), read_facts("notifications")
ALERT = Alert(
    account_sid="AC" + "1" * 32,
    code=11200,
    level="error",
    text="HTTP retrieval failure",
    resource_sid="CA" + "2" * 32,
    at=1000.0,
    sid="NO" + "3" * 32,
    sent=Sent(
        url="https://voice.example.com/voice/webhook?plan=1",
        variables="CallSid=CA",
        headers="Host=voice.example.com",
        response_status=404,
        response_headers="Server=nginx",
        response_body="<html>",
    ),
)


def test_an_entry_and_its_listing_have_the_published_shapes() -> None:
    listed = ALERTS["list"]["answer"]["properties"]["alerts"]["items"]
    assert list(differences(ALERT.listed(), listed, ALERTS)) == []
    assert list(differences(ALERT.resource(), ALERTS["fetch"]["answer"], ALERTS)) == []


def test_only_the_entry_itself_holds_the_request_and_the_answer() -> None:
    more = ALERT.resource().keys() - ALERT.listed().keys()
    assert more == {"request_variables", "request_headers", "response_headers", "response_body"}
    assert ALERT.resource()["response_body"] == "<html>"


def test_the_text_is_a_form_that_tells_status_and_address() -> None:
    assert parse_qs(ALERT.listed()["alert_text"]) == {
        "ErrorCode": ["11200"],
        "LogLevel": ["ERROR"],
        "Msg": ["HTTP retrieval failure"],
        "httpResponse": ["404"],
        "url": ["https://voice.example.com/voice/webhook?plan=1"],
    }


def test_a_notification_has_the_published_shapes() -> None:
    listed = NOTIFICATIONS["list"]["answer"]["properties"]["notifications"]["items"]
    assert list(differences(ALERT.notification_listed(), listed, NOTIFICATIONS)) == []
    whole = ALERT.notification()
    assert list(differences(whole, NOTIFICATIONS["fetch"]["answer"], NOTIFICATIONS)) == []
    assert (whole["log"], whole["response_headers"]) == ("0", "Server=nginx")


def test_the_debugger_is_told_the_answer_with_its_headers() -> None:
    form = ALERT.debugger_form()
    assert (form["Sid"], form["Level"]) == (ALERT.sid, "ERROR")
    payload = json.loads(form["Payload"])
    assert (payload["error_code"], payload["resource_sid"]) == ("11200", ALERT.resource_sid)
    assert payload["webhook"]["response"] == {
        "status_code": 404,
        "headers": {"Server": "nginx"},
        "body": "<html>",
    }
    assert payload["more_info"]["Msg"] == "HTTP retrieval failure"
