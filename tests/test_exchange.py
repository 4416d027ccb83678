"""The record of an exchange: its outcome, its stamp, and a log line that keeps every secret."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.exchange import OUTCOMES, RAW_LIMIT, Exchange, Outcome, call_sid_in, iso, new_id
from proxy.http1 import RequestHead, parse_request_head, parse_response_head
from proxy.redact import HIDDEN

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC).timestamp()
CALL = "CA" + "0123456789abcdef" * 2
SECRET = "s3cretS3cretS3cretS3cret"
UPGRADE = (
    b"GET /voice/stream HTTP/1.1\r\nHost: voice.example.com\r\nUser-Agent: Twilio.TmeWs/1.0\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LOST = UPGRADE.replace(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"")
PLAIN = b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n\r\n"
# DESIGN's list of what a `handshake` line has at least.
PROMISED = set(
    """
    id at client ingress method target http_version host upgrade connection ws_version
    ws_key_present subprotocols extensions user_agent route upstream outcome status violations
    phases_ms probe_id call_sid headers
    """.split()
)


def exchange(raw: bytes = UPGRADE) -> Exchange:
    return Exchange("01jtest", NOON, "127.0.0.1", "192.0.2.7", request=parse_request_head(raw))


def unreadable(raw: bytes) -> Exchange:
    return Exchange("01jtest", NOON, "127.0.0.1", "127.0.0.1", raw=raw)


def answered(raw: bytes, status: int) -> Exchange:
    told = exchange(raw)
    told.answer(parse_response_head(f"HTTP/1.1 {status} Words\r\nA: b\r\n\r\n".encode()))
    return told


def written(told: Exchange) -> str:
    """All that leaves the process about an exchange."""
    return json.dumps([told.line(), told.detail(), told.stamp])


# Names and times


def test_an_id_is_milliseconds_and_chance_in_characters_that_nobody_misreads() -> None:
    name = new_id(NOON)
    assert len(name) == 18
    number = 0
    for character in name:
        number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert number >> 40 == int(NOON * 1000)


def test_ids_sort_by_time() -> None:
    times = [0.0, 1.0, NOON, NOON + 0.001, NOON + 0.002, NOON + 1, NOON + 86400 * 365 * 50]
    ids = [new_id(at) for at in times]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ() -> None:
    assert len({new_id(NOON) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "2026-03-01T12:00:00.250Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1.9996, "1970-01-01T00:00:01.999Z"),
    ],
)
def test_times_are_written_in_utc_with_milliseconds(at: float, text: str) -> None:
    assert iso(at) == text


@pytest.mark.parametrize(
    ("target", "sid"),
    [
        (f"/voice/stream/{CALL}", CALL),
        (f"/voice/stream?call={CALL}&x=1", CALL),
        (f"/{CALL}/{CALL.replace('0', '1')}", CALL),
        ("/voice/stream", None),
        (f"/{CALL[:-1]}", None),
        (f"/{CALL.upper()}", None),
        (f"/{CALL.replace('CA', 'MZ')}", None),
    ],
)
def test_a_call_is_named_where_the_target_names_it(target: str, sid: str | None) -> None:
    assert call_sid_in(target) == sid


# Outcomes


@pytest.mark.parametrize(
    ("raw", "status", "event", "outcome"),
    [
        (UPGRADE, 101, "handshake", "upgraded"),
        (UPGRADE, 200, "handshake", "refused"),
        (UPGRADE, 404, "handshake", "refused"),
        (LOST, 426, "handshake", "not_an_upgrade"),
        (LOST, 200, "handshake", "not_an_upgrade"),
        (PLAIN, 200, "request", "answered"),
        (PLAIN, 500, "request", "answered"),
    ],
)
def test_an_answer_decides_the_outcome(
    raw: bytes, status: int, event: str, outcome: Outcome
) -> None:
    told = answered(raw, status)
    assert (told.event, told.outcome, told.status) == (event, outcome, status)
    assert (told.error, told.reason) == (None, None)


def test_before_anything_happens_nothing_is_said() -> None:
    assert (exchange().outcome, exchange().status) == (None, None)


def test_a_head_that_cannot_be_read_may_have_been_a_handshake() -> None:
    assert unreadable(b"GET / HTTP/1.1\n").event == "handshake"


@pytest.mark.parametrize("raw", [UPGRADE, LOST, PLAIN])
def test_a_failure_before_an_answer_is_the_outcome(raw: bytes) -> None:
    told = exchange(raw)
    told.fail("unreachable", "connection_refused", "nobody listens", 503)
    assert (told.outcome, told.status) == ("unreachable", 503)
    assert (told.error, told.reason) == ("connection_refused", "nobody listens")


@pytest.mark.parametrize(
    ("raw", "status", "outcome"),
    [
        (UPGRADE, 404, "refused"),
        (UPGRADE, 101, "upgraded"),
        (LOST, 200, "not_an_upgrade"),
        (PLAIN, 200, "upstream_closed"),
    ],
)
def test_a_failure_within_an_answer_leaves_its_status_and_what_it_decided(
    raw: bytes, status: int, outcome: Outcome
) -> None:
    told = answered(raw, status)
    told.fail("upstream_closed", "http_response_incomplete", "cut", None)
    assert (told.outcome, told.status) == (outcome, status)
    assert (told.error, told.reason) == ("http_response_incomplete", "cut")


def test_every_outcome_of_the_design_is_known() -> None:
    promised = "upgraded refused not_an_upgrade unreachable timeout upstream_closed malformed"
    assert {*promised.split(), "client_left"} == {*OUTCOMES} - {"answered"}


# The stamp

_KEY, _TOKEN = r"[a-z*][a-z0-9_\-.*]*", r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_PARAMETER = re.compile(rf"; *({_KEY})=({_STRING}|-?[0-9]{{1,15}}|{_TOKEN})")


def parse_item(text: str) -> tuple[str, dict[str, str]]:
    """A token and its parameters, by the grammar of RFC 8941 section 3.3 and nothing beyond it."""
    token = re.match(_TOKEN, text)
    assert token is not None
    parameters, at = {}, token.end()
    while at < len(text):
        found = _PARAMETER.match(text, at)
        assert found is not None, f"not an item: {text[at:]!r}"
        parameters[found[1]], at = found[2], found.end()
    return token[0], parameters


@pytest.mark.parametrize("raw", [UPGRADE, PLAIN])
def test_the_stamp_of_an_answer_tells_the_status_that_was_received(raw: bytes) -> None:
    assert parse_item(answered(raw, 404).stamp) == (
        "hopscope",
        {"received-status": "404", "id": '"01jtest"'},
    )


def test_the_stamp_of_a_failure_tells_why() -> None:
    told = exchange()
    told.fail("unreachable", "connection_refused", "127.0.0.1:8081 refused", 503)
    assert parse_item(told.stamp) == (
        "hopscope",
        {
            "error": "connection_refused",
            "details": '"127.0.0.1:8081 refused"',
            "id": '"01jtest"',
        },
    )


def test_the_stamp_holds_a_real_id_which_starts_with_a_digit() -> None:
    told = answered(UPGRADE, 101)
    told.id = new_id(NOON)
    assert told.id[0].isdigit()
    assert parse_item(told.stamp)[1]["id"] == f'"{told.id}"'


@given(st.text("a;=\"\\' \t\r\n\0\x7f\x80\xe9\u20ac", max_size=20))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_no_reason_breaks_out_of_the_quotes_of_the_stamp(reason: str) -> None:
    told = exchange()
    told.fail("malformed", "http_request_error", reason, 400)
    name, parameters = parse_item(told.stamp)
    assert name == "hopscope"
    assert list(parameters) == ["error", "details", "id"]
    assert len(parameters["details"]) == len(reason) + 2


def test_a_long_reason_does_not_make_a_long_head() -> None:
    told = exchange()
    told.fail("malformed", "http_request_error", "x" * 100_000, 400)
    assert len(told.stamp) < 2000


# Violations


def test_a_handshake_brings_the_violations_of_both_heads() -> None:
    assert [violation.field for violation in exchange(LOST).violations()] == [
        "Upgrade",
        "Connection",
    ]
    assert [violation.field for violation in answered(UPGRADE, 101).violations()] == [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
    ]


def test_a_plain_request_and_an_unreadable_head_violate_nothing() -> None:
    assert answered(PLAIN, 200).violations() == []
    assert unreadable(b"junk").violations() == []


# The log line


@pytest.mark.parametrize("told", [exchange(), answered(UPGRADE, 101), unreadable(b"junk")])
def test_a_handshake_line_has_every_field_of_the_design(told: Exchange) -> None:
    assert set(told.line()) >= PROMISED
    json.dumps([told.line(), told.detail()])


def test_a_handshake_line_tells_what_came() -> None:
    told = answered(
        UPGRADE.replace(
            b"Host:",
            b"X-Twilio-Signature: abc=\r\nSec-WebSocket-Protocol: mqtt\r\n"
            b"Sec-WebSocket-Extensions: x-a\r\nHost:",
        ),
        101,
    )
    told.request_number = 3
    told.phases = {"head": 0.12345, "total": 10.0}
    told.route, told.upstream, told.ingress = "stream", "http://127.0.0.1:8081", "nginx"
    told.forwarded_target = f"/in/stream?token={SECRET}"
    line = told.line()
    assert line["headers"] == {
        "X-Twilio-Signature": "present",
        "Sec-WebSocket-Protocol": "mqtt",
        "Sec-WebSocket-Extensions": "x-a",
        "Host": "voice.example.com",
        "User-Agent": "Twilio.TmeWs/1.0",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    wanted = {
        "id": "01jtest",
        "at": "2026-03-01T12:00:00.250Z",
        "peer": "127.0.0.1",
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/voice/stream",
        "forwarded_target": f"/in/stream?token={HIDDEN}",
        "http_version": "1.1",
        "host": "voice.example.com",
        "user_agent": "Twilio.TmeWs/1.0",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "ws_version": "13",
        "ws_key_present": True,
        "subprotocols": "mqtt",
        "extensions": "x-a",
        "request_number": 3,
        "route": "stream",
        "upstream": "http://127.0.0.1:8081",
        "ingress": "nginx",
        "outcome": "upgraded",
        "status": 101,
        "error": None,
        "reason": None,
        "phases_ms": {"head": 0.123, "connect": None, "response": None, "total": 10.0},
        "raw_head": None,
    }
    assert {name: line[name] for name in wanted} == wanted
    assert [violation["field"] for violation in line["violations"]] == [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
    ]


def test_a_request_line_tells_its_sizes_and_nothing_of_websockets() -> None:
    told = answered(PLAIN, 200)
    told.received_bytes, told.sent_bytes = 3, 5
    told.fail("upstream_closed", "http_response_incomplete", "cut", None)
    line = told.line()
    assert (line["error"], line["reason"]) == ("http_response_incomplete", "cut")
    assert (line["received_bytes"], line["sent_bytes"]) == (3, 5)
    assert (line["outcome"], line["status"]) == ("upstream_closed", 200)
    assert not {"ws_version", "violations", "headers", "raw_head"} & set(line)


def test_an_unreadable_head_is_kept_as_evidence_up_to_a_limit() -> None:
    line = unreadable(b"GET /a HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n").line()
    assert line["raw_head"] == "GET /a HTTP/1.1\r\nHost: a\r\n[8 bytes]\r\n\r\n"
    assert (line["method"], line["target"], line["host"], line["headers"]) == (None, None, None, {})
    assert line["ws_key_present"] is False
    assert len(unreadable(b"GET /" + b"a\n" * RAW_LIMIT).line()["raw_head"]) < 10 * RAW_LIMIT


def test_the_detail_has_both_heads_in_order_with_null_for_what_is_hidden() -> None:
    told = exchange(b"GET / HTTP/1.1\r\nhost: a\r\nCookie: b\r\nVIA: c\r\nvia: d\r\n\r\n")
    assert told.detail() == {
        "request_head": [["host", "a"], ["Cookie", None], ["VIA", "c"], ["via", "d"]],
        "response_head": [],
    }
    told.answer(parse_response_head(b"HTTP/1.1 200 OK\r\nServer: e\r\nSet-Cookie: f\r\n\r\n"))
    assert told.detail()["response_head"] == [["Server", "e"], ["Set-Cookie", None]]


# Secrets

PLACES = {
    "query value": UPGRADE.replace(b"stream ", b"stream?token=%b " % SECRET.encode()),
    "query name": UPGRADE.replace(b"stream ", b"stream?%b= " % SECRET.encode()),
    "path": UPGRADE.replace(b"stream ", b"stream/%b/a " % SECRET.encode()),
    **{
        name: UPGRADE.replace(b"Upgrade:", f"{name}: {value}\r\nUpgrade:".encode(), 1)
        for name, value in {
            "Cookie": f"session={SECRET}",
            "Authorization": f"Bearer {SECRET}",
            "Proxy-Authorization": f"Basic {SECRET}",
            "X-Twilio-Signature": SECRET,
            "X-Api-Key": SECRET,
            "Referer": f"https://a/?token={SECRET}",
            "Sec-WebSocket-Protocol": f"realtime, {SECRET}",
        }.items()
    },
}
SWITCH = (
    f"HTTP/1.1 101 Switching\r\nSet-Cookie: {SECRET}\r\nLocation: /?a={SECRET}\r\n"
    f"Sec-WebSocket-Protocol: {SECRET}\r\nX-Token: {SECRET}\r\n\r\n"
).encode()


@pytest.mark.parametrize("raw", PLACES.values(), ids=PLACES)
def test_a_secret_is_not_written_down_wherever_it_stands(raw: bytes) -> None:
    assert SECRET in raw.decode()
    # The same head once more, as what could not be read.
    for evidence in (raw, b"\r\n" + raw, raw.replace(b"\r\n", b"\n"), raw.replace(b"\r\n", b"\r")):
        assert SECRET not in written(unreadable(evidence))
    told = exchange(raw)
    told.forwarded_target = raw.split(b" ")[1].decode()
    told.answer(parse_response_head(SWITCH))
    assert SECRET not in written(told)
    assert SECRET not in repr(told.violations())
    told.answer(parse_response_head(SWITCH.replace(b"101", b"403")))
    assert SECRET not in written(told)


def test_a_plain_request_keeps_its_secrets_too() -> None:
    told = exchange(PLAIN.replace(b"webhook", b"webhook?%b=1&a=%b" % (2 * (SECRET.encode(),))))
    told.answer(parse_response_head(SWITCH.replace(b"101", b"200")))
    assert SECRET not in written(told)


def test_the_name_of_a_call_stays_visible() -> None:
    told = exchange(UPGRADE.replace(b"stream ", f"stream/{CALL} ".encode()))
    assert isinstance(told.request, RequestHead)
    assert told.line()["target"] == f"/voice/stream/{CALL}"
    told.call_sid = call_sid_in(told.request.target)
    assert told.line()["call_sid"] == CALL
