"""What Twilio's debugger posts, read; and what the gateway tells of it."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from doctor.rest_api.alerts import Alert, Sent
from gateway.debugger import Incident, parse_incident
from gateway.events import Events
from gateway.stamp import Answerer

CALL_SID, STREAM_SID = "CA" + "2" * 32, "MZ" + "3" * 32
STAMP = 'hopscope; received-status=403; id="0a"'


def form(
    resource_sid: str = CALL_SID, headers: str = "", level: Any = "error", **sent: Any
) -> dict[str, list[str]]:
    """As Twilio's stand-in posts it."""
    url = "https://voice.example.com/voice/webhook?plan=secret"
    request = Sent(url=url, response_status=403, response_headers=headers, **sent)
    account, sid = "AC" + "1" * 32, "NO" + "4" * 32
    alert = Alert(account, 11200, level, "403", resource_sid, 1000.0, sid, request)
    return {name: [value] for name, value in alert.debugger_form().items()}


def incident(**changes: Any) -> Incident:
    found = parse_incident(form(**changes))
    assert found is not None
    return found


def test_an_error_is_read_with_who_answered() -> None:
    assert incident(headers=f"Proxy-Status={STAMP}&Server=x".replace(" ", "+")) == Incident(
        sid="NO" + "4" * 32,
        code=11200,
        severity="error",
        call_sid=CALL_SID,
        resource_sid=CALL_SID,
        occurred_at="1970-01-01T00:16:40Z",
        method="POST",
        url="https://voice.example.com/voice/webhook?plan=secret",
        status=403,
        answered_by=Answerer("gateway", "0a"),
        answer_fields=(("Proxy-Status", STAMP), ("Server", "x")),
    )


def test_an_error_of_a_stream_names_the_call_of_the_request() -> None:
    found = incident(resource_sid=STREAM_SID, variables=f"CallSid={CALL_SID}")
    assert (found.call_sid, found.resource_sid) == (CALL_SID, STREAM_SID)
    assert incident(resource_sid=STREAM_SID).call_sid is None


def test_a_warning_is_one() -> None:
    assert incident(level="warning").severity == "warning"


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"error_code": "soon"}',
        '{"error_code": null}',
        "[" * 100_000,
    ],
)
def test_what_is_no_event_is_none(payload: str) -> None:
    assert parse_incident({"Payload": [payload]}) is None
    assert parse_incident({}) is None


@pytest.mark.parametrize("odd", [None, 1, "x", [], {"headers": 1, "url": 2, "method": {}}])
def test_odd_parts_are_left_out(odd: object) -> None:
    payload = {"error_code": 31920, "resource_sid": odd, "webhook": {"request": odd}}
    payload["webhook"]["response"] = odd  # type: ignore[index]
    found = parse_incident({"Payload": [json.dumps(payload)], "Sid": ["?"], "Timestamp": ["now"]})
    assert found is not None
    assert (found.code, found.sid, found.call_sid, found.occurred_at) == (31920, "", None, None)
    assert (found.method, found.url, found.status) == (None, None, None)
    assert found.answered_by == Answerer(None)


def test_it_is_logged_counted_and_told_without_secrets() -> None:
    events, told = Events(), []
    events.listen(lambda event, fields: told.append((event, dict(fields))))
    headers = "Proxy-Status=hopscope%3B+error%3Dconnection_refused%3B+id%3D%220b%22&Set-Cookie=s3"
    with capture_logs() as logs:
        events.twilio_error(incident(headers=headers))
    [line] = logs
    assert line == {
        "event": "twilio_error",
        "log_level": "error",
        "call_sid": CALL_SID,
        "code": 11200,
        "name": "HTTP retrieval failure",
        "severity": "error",
        "sid": "NO" + "4" * 32,
        "resource_sid": CALL_SID,
        "occurred_at": "1970-01-01T00:16:40Z",
        "method": "POST",
        "url": "https://voice.example.com/voice/webhook?plan=[hidden]",
        "status": 403,
        "hop": "sidecar",
        "stamp": "0b",
        "answered_by": {"proxy-status": 'hopscope; error=connection_refused; id="0b"'},
    }
    assert told == [("twilio_error", {name: line[name] for name in told[0][1]})]
    assert events.registry.get_sample_value("hopscope_twilio_errors_total", {"code": "11200"}) == 1
