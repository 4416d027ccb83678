"""Twilio's errors about one call, from each of the places that tell of them."""

from typing import Any

import pytest

from doctor.evidence import Stamp
from doctor.incident.incidents import (
    Incident,
    from_alert,
    from_notification,
    from_row,
    merged,
    shown_url,
)

STAMP = 'hopscope; received-status=404; id="a1"'
ALERT: dict[str, Any] = {
    "sid": "NO1",
    "error_code": "31920",
    "log_level": "error",
    "alert_text": "ErrorCode=31920&httpResponse=404",
    "request_method": "GET",
    "request_url": "wss://user:pw@voice.example.com/voice/abcdefghij1234567890x/stream?token=1",
    "response_headers": "Proxy-Status=hopscope%3B+received-status%3D404%3B+id%3D%22a1%22"
    "&Set-Cookie=s3cret",
    "response_body": "no",
    "at": 100.0,
}
NOTIFICATION = {name: ALERT[name] for name in ALERT if name != "log_level"} | {
    "log": "0",
    "message_text": "Msg=Got+HTTP+404+response+to+wss",
}
ROW: dict[str, Any] = {
    "kind": "twilio_error",
    "sid": "NO1",
    "at": "1970-01-01T00:01:45Z",
    "occurred_at": "1970-01-01T00:01:40Z",
    "code": 31920,
    "severity": "error",
    "method": "GET",
    "url": "wss://voice.example.com/voice/stream",
    "status": 404,
    "answered_by": {"proxy-status": STAMP},
}


def alert(**changes: Any) -> Incident:
    found = from_alert(ALERT | changes)
    assert found is not None
    return found


def test_an_alert_is_read_without_its_secrets() -> None:
    found = alert()
    assert found.url == "wss://voice.example.com/voice/[hidden]/stream?token=[hidden]"
    assert found.fields == (("Proxy-Status", STAMP), ("Set-Cookie", None))
    assert (found.stamp, found.status, found.code) == (Stamp("a1", 404), 404, 31920)
    assert "s3cret" not in repr(found)


def test_a_notification_and_a_row_of_the_history_tell_the_same() -> None:
    for found in (from_notification(NOTIFICATION), from_row(ROW)):
        assert found is not None
        assert (found.code, found.status, found.is_warning) == (31920, 404, False)
        assert (found.stamp, found.at) == (Stamp("a1", 404), 100.0)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"Proxy-Status": "{STAMP}"}}'.replace('"a1"', '\\"a1\\"'),
        f"Proxy-Status: {STAMP}\r\nServer: x\r\n",
    ],
)
def test_headers_may_be_written_as_an_object_or_as_lines(text: str) -> None:
    assert alert(response_headers=text).stamp == Stamp("a1", 404)


@pytest.mark.parametrize("text", [None, "", "{", "[", "x", "{" * 5000])
def test_headers_that_cannot_be_read_are_none(text: str | None) -> None:
    assert alert(response_headers=text).stamp is None


@pytest.mark.parametrize("code", [None, "", "soon", "0", "123456"])
def test_what_has_no_code_is_no_incident(code: str | None) -> None:
    assert from_alert(ALERT | {"error_code": code}) is None
    assert from_row(ROW | {"code": code}) is None


def test_levels_below_error_and_codes_that_are_warnings_are_warnings() -> None:
    assert alert(log_level="warning").is_warning
    assert alert(error_code="31951").is_warning
    found = from_notification(NOTIFICATION | {"log": "1"})
    assert found is not None
    assert found.is_warning


def test_views_of_one_error_become_one() -> None:
    known = merged([from_alert(ALERT), from_notification(NOTIFICATION), from_row(ROW)])
    assert [found.sources for found in known] == [("alert", "notification", "debugger")]
    other = from_notification(NOTIFICATION | {"sid": "NO2", "at": 103.0})
    [joined] = merged([alert(response_headers=""), other])
    assert joined.stamp == Stamp("a1", 404)


def test_errors_that_are_apart_stay_apart_in_order_of_time() -> None:
    later = from_notification(NOTIFICATION | {"sid": "NO2", "at": 200.0})
    other = from_notification(NOTIFICATION | {"sid": "NO3", "error_code": "11200", "at": 99.0})
    twice = alert(sid="NO4", at=101.0)
    known = merged([alert(), later, other, twice, None])
    assert [found.sid for found in known] == ["NO3", "NO1", "NO4", "NO2"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("https://a.example-tailnet12.ts.net:8443/p", "https://a.example-tailnet12.ts.net:8443/p"),
        ("https://[::1/x", "[hidden]"),
        ("/p?a=b", "/p?a=[hidden]"),
    ],
)
def test_a_url_is_shown_with_its_host_and_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
