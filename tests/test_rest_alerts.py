"""The Alert resource: what a list shows and what only the entry itself does."""

from urllib.parse import parse_qs

from doctor.rest_alerts import Alert, Sent
from openapi_shapes import differences, read_facts

ALERTS = read_facts("alerts")
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
