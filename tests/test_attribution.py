"""Which hop an error of Twilio's is about."""

from dataclasses import replace
from typing import Any

import pytest

from doctor.evidence import Stamp
from doctor.incident.attribution import (
    ANSWERED,
    HOPS,
    OF_THE_GATEWAY,
    UNANSWERED,
    attribute,
    find_record,
)
from doctor.incident.incidents import Incident
from doctor.meanings import MEANINGS

URL = "wss://voice.example.com/voice/stream"
AT = 1_767_323_045.0  # 2026-01-02T03:04:05Z
REFUSED = Incident(("alert",), "NO1", AT, 31920, False, "GET", URL, 404)
STAMPED = replace(REFUSED, fields=(("Proxy-Status", "..."),), stamp=Stamp("a1", 404))


def row(**changes: Any) -> dict[str, Any]:
    known = {
        "kind": "handshake",
        "id": "a1",
        "at": "2026-01-02T03:04:04.900Z",
        "target": "/voice/stream",
        "outcome": "refused",
        "status": 404,
        "error": None,
        "session": None,
    }
    return known | changes


def hop(incident: Incident, *rows: dict[str, Any]) -> str | None:
    return attribute(incident, rows).hop


def test_an_answer_without_the_stamp_was_made_in_front() -> None:
    answered = replace(REFUSED, fields=(("Server", "cloudflare"),))
    told = attribute(answered, [])
    assert told.hop == "in_front"
    assert told.because == "it answered 404 (Server: cloudflare), without the stamp"


def test_the_words_of_a_program_name_it() -> None:
    body = "<html><center>nginx/1.22.1</center>"
    told = attribute(replace(REFUSED, fields=(("Server", "x"),), body=body), [])
    assert "nginx by its words" in told.because


def test_a_stamp_with_a_received_status_is_the_gateways_answer() -> None:
    told = attribute(STAMPED, [row()])
    assert (told.hop, told.record) == ("gateway", row())
    assert attribute(STAMPED, None).hop == "gateway"


def test_a_stamp_with_an_error_is_the_sidecars_answer() -> None:
    stamp = Stamp("a1", None, "connection_refused", "127.0.0.1:8081")
    told = attribute(replace(STAMPED, stamp=stamp), [])
    assert told.hop == "sidecar"
    assert told.because == "it answered itself, connection_refused: 127.0.0.1:8081"


def test_what_the_gateway_refused_for_a_lost_upgrade_is_about_a_hop_in_front() -> None:
    assert hop(STAMPED, row(outcome="not_an_upgrade")) == "in_front"


def test_a_record_of_the_same_status_shows_that_the_stamp_was_taken_off() -> None:
    unstamped = replace(REFUSED, fields=(("Server", "nginx"),))
    assert hop(unstamped, row()) == "gateway"
    assert hop(unstamped, row(status=101, outcome="upgraded")) == "in_front"


def test_the_gateways_own_name_tells_that_the_sidecar_was_passed_by() -> None:
    told = attribute(replace(REFUSED, fields=(("Server", "hopscope-gateway"),)), [])
    assert (told.hop, told.because) == ("gateway", "it answered, past the sidecar")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "gateway"),
        ({"outcome": "not_an_upgrade"}, "in_front"),
        ({"outcome": "unreachable", "error": "connection_refused"}, "gateway"),
        ({"outcome": "malformed", "error": "http_request_error"}, "sidecar"),
        ({"outcome": "upgraded", "status": 101}, "in_front"),
        ({"outcome": "client_left"}, "in_front"),
    ],
)
def test_without_headers_the_sidecars_record_tells(changes: dict[str, Any], expected: str) -> None:
    assert hop(REFUSED, row(**changes)) == expected


def test_without_headers_and_record_it_never_came() -> None:
    assert attribute(REFUSED, []).because == "it answered: nothing came to the sidecar"
    silent = replace(REFUSED, code=31901)
    assert attribute(silent, []).because == "nobody answered: nothing came to the sidecar"


def test_without_headers_and_history_nothing_can_be_told() -> None:
    assert attribute(REFUSED, None).hop is None
    assert attribute(replace(REFUSED, code=31901), None).hop is None


@pytest.mark.parametrize(
    ("by", "expected"), [("server", "gateway"), ("client", "in_front"), ("sidecar", "sidecar")]
)
def test_who_ended_an_open_stream_is_told_by_its_session(by: str, expected: str) -> None:
    session = {"ended_by": by, "ending": "eof_without_close", "close_code": None}
    ended = row(outcome="upgraded", status=101, session=session)
    for code in (31903, 31921):
        assert hop(replace(REFUSED, code=code), ended) == expected
    assert hop(replace(REFUSED, code=31903), row(session={"ending": None})) is None


def test_what_is_wrong_with_twiml_and_messages_is_the_gateways() -> None:
    for code in (31922, 31951, 12100):
        assert attribute(replace(REFUSED, code=code), None).hop == "gateway"


def test_a_record_is_that_of_the_stamp_or_the_last_before_on_its_path() -> None:
    rows = [
        row(id="a1"),
        row(id="a2"),
        row(id="b1", target="/other"),
        row(id="c1", at="2026-01-02T03:05:00Z"),
        row(id="a3", kind="request"),
    ]
    found = find_record(REFUSED, rows)
    assert found is not None
    assert found["id"] == "a2"
    assert find_record(replace(STAMPED, stamp=Stamp("zz", 404)), rows) is None
    webhook = replace(REFUSED, code=11200, url="https://voice.example.com/voice/stream")
    found = find_record(webhook, rows)
    assert found is not None
    assert found["id"] == "a3"


def test_a_prefix_that_an_ingress_strips_is_no_other_path() -> None:
    assert find_record(REFUSED, [row(target="/stream?x=1")]) is not None


def test_every_code_that_is_told_apart_has_a_meaning_and_every_hop_a_name() -> None:
    assert set(MEANINGS) >= UNANSWERED | ANSWERED | OF_THE_GATEWAY
    assert not UNANSWERED & ANSWERED
    assert not OF_THE_GATEWAY & (ANSWERED | UNANSWERED)
    assert set(HOPS) == {"in_front", "sidecar", "gateway"}
