"""A call on one time line: what Twilio says, what the sidecar saw."""

import io
from typing import Any

import pytest
from rich.console import Console

from doctor.incident.timeline import tell
from doctor.incident.views import as_json, print_story
from test_incidents import ALERT, ROW

CALL_SID = "CA" + "1" * 32
CALL = {
    "status": "completed",
    "direction": "outbound-api",
    "duration": "3",
    "created_at": 96.0,
    "started_at": 96.0,
    "ended_at": 101.0,
}
EVENT = {
    "request": {
        "method": "POST",
        "url": "https://voice.example.com/voice/webhook?plan=s3cret",
        "parameters": {"token": "s3cret"},
    },
    "response": {
        "date_created": "Thu, 01 Jan 1970 00:01:39 +0000",
        "request_duration": 500,
        "response_code": 200,
        "response_body": "<Parameter name='token' value='s3cret'/>",
    },
}
SESSION = {"ending": "close_handshake", "ended_by": "server", "close_code": 1000, "duration_s": 1}


def handshake(**changes: Any) -> dict[str, Any]:
    known = {
        "kind": "handshake",
        "id": "a1",
        "at": "1970-01-01T00:01:39.500Z",
        "method": "GET",
        "target": "/voice/stream",
        "outcome": "refused",
        "status": 404,
        "ingress": "nginx",
        "session": None,
    }
    return known | changes


def records(**changes: Any) -> dict[str, Any]:
    return {"call": CALL, "alerts": [], "notifications": [], "events": []} | changes


def printed(*args: Any) -> str:
    out = io.StringIO()
    print_story(Console(file=out, width=40), tell(CALL_SID, *args))
    return out.getvalue()


def test_both_sides_lie_on_one_time_line_in_order() -> None:
    story = tell(CALL_SID, records(alerts=[ALERT], events=[EVENT]), [handshake()])
    assert [(moment.at, moment.who, moment.what) for moment in story.moments] == [
        (96.0, "twilio", "call"),
        (99.0, "twilio", "request"),
        (99.5, "sidecar", "handshake"),
        (100.0, "twilio", "error"),
        (101.0, "twilio", "end"),
    ]
    assert (story.verdict, story.hop) == ("broken", "gateway")


def test_one_line_has_the_code_the_handshake_and_the_hop_however_narrow_the_terminal() -> None:
    text = printed(records(alerts=[ALERT]), [handshake()])
    [line] = [line for line in text.splitlines() if "twilio  31920" in line]
    assert line == (
        "   +4     s  twilio  31920 Stream - WebSocket - Handshake Error: "
        "GET wss://voice.example.com/voice/[hidden]/stream?token=[hidden] answered 404; "
        "handshake a1 at the sidecar: refused 404; "
        "hop: the gateway (it answered 404, the stamp says)"
    )
    assert "s3cret" not in text


def test_a_handshake_that_is_not_there_is_told_as_absent() -> None:
    bare = ALERT | {"response_headers": "Server=x", "request_url": "wss://a/voice/stream"}
    assert "no handshake came to the sidecar" in printed(records(alerts=[bare]), [])
    assert "the sidecar was not asked" in printed(records(alerts=[bare]), None)
    assert "handshake a1: not in this history" in printed(records(alerts=[ALERT]), [])


def test_within_a_second_twilios_requests_come_first_and_its_errors_last() -> None:
    late = handshake(at="1970-01-01T00:01:40.700Z")
    asked = EVENT | {"response": {"date_created": "Thu, 01 Jan 1970 00:01:40 +0000"}}
    story = tell(CALL_SID, records(alerts=[ALERT], events=[asked]), [late])
    assert [(moment.at, moment.what) for moment in story.moments[1:4]] == [
        (100.0, "request"),
        (100.7, "handshake"),
        (100.0, "error"),
    ]
    text = printed(records(alerts=[ALERT]), [late])
    assert "   +4     s  twilio  31920" in text
    assert "   +4.700 s  sidecar handshake" in text


def test_a_handshake_that_failed_names_a_hop_where_twilio_tells_nothing() -> None:
    story = tell(CALL_SID, None, [handshake(id="a2", outcome="upgraded"), handshake()])
    assert (story.verdict, story.hop) == ("broken", "gateway")
    assert story.sentence == (
        "a handshake failed: the gateway: it answered 404, the sidecar's record says"
    )
    warned = ALERT | {"error_code": "31951", "response_headers": ""}
    story = tell(CALL_SID, records(alerts=[warned]), [handshake()])
    assert story.sentence.startswith("a handshake failed")
    story = tell(CALL_SID, records(alerts=[warned]), [])
    assert story.sentence.startswith("31951 ")


def test_secrets_of_events_are_never_shown() -> None:
    told = as_json(tell(CALL_SID, records(events=[EVENT]), []))
    assert "s3cret" not in repr(told)
    texts = [line["text"] for line in told["timeline"]]
    assert "POST https://voice.example.com/voice/webhook?plan=[hidden] answered 200 in 500 ms" in (
        texts
    )


def test_what_the_debugger_told_is_enough_without_twilios_api() -> None:
    story = tell(CALL_SID, None, [ROW, handshake(outcome="upgraded", status=101)])
    assert (story.verdict, story.hop) == ("broken", "gateway")
    assert [moment.code for moment in story.moments] == [None, 31920]


def test_the_first_error_is_the_one_that_counts() -> None:
    later = ALERT | {"sid": "NO2", "error_code": "31903", "at": 110.0, "response_headers": ""}
    warned = ALERT | {"sid": "NO3", "error_code": "31951", "at": 90.0, "response_headers": ""}
    story = tell(CALL_SID, records(alerts=[later, ALERT, warned]), [handshake()])
    assert story.sentence.startswith("31920 ")


def test_a_stream_that_was_open_has_an_end_of_its_own() -> None:
    upgraded = handshake(outcome="upgraded", status=101, session=SESSION)
    story = tell(CALL_SID, records(), [upgraded])
    assert story.verdict == "healthy"
    assert "stream ended: close_handshake 1000 by server" in [m.text for m in story.moments]
    assert story.moments[-2].at == 100.5


@pytest.mark.parametrize(
    ("records_", "rows", "verdict"),
    [
        (records(), [], "healthy"),
        (records(), None, "healthy"),
        (records(call=CALL | {"status": "failed"}), [], "broken"),
        (records(), [handshake()], "broken"),
        (None, [handshake(outcome="upgraded")], "cannot_tell"),
        (None, None, "cannot_tell"),
    ],
)
def test_the_verdict(records_: Any, rows: Any, verdict: str) -> None:
    story = tell(CALL_SID, records_, rows, ["a note"])
    assert story.verdict == verdict
    assert story.sentence
    assert "note: a note" in printed(records_, rows, ["a note"])


def test_each_code_is_explained_once() -> None:
    again = ALERT | {"sid": "NO9", "at": 300.0}
    text = printed(records(alerts=[ALERT, again]), [])
    assert text.count("look at the hop that answered") == 1


def test_what_a_peer_wrote_cannot_steer_the_terminal() -> None:
    rude = handshake(target="/voice/\x1b[2Jstream\n+0 s  twilio fine")
    text = printed(records(), [rude])
    assert "\x1b[2J" not in text
    assert not any(line.startswith("+0 s") for line in text.splitlines())


def test_an_event_of_no_date_is_left_out() -> None:
    odd = [{"request": None, "response": None}, {}]
    assert len(tell(CALL_SID, records(events=odd), []).moments) == 2
