"""Log lines as spans: conventional names, phases in their order, and what counts as an error."""

from typing import Any

import pytest

from proxy.exchange import Exchange, Outcome
from proxy.http1 import parse_request_head, parse_response_head
from proxy.session import Ending, Session
from proxy.spans import Event, Span, Value, call_span, exchange_span, session_span

AT = 1_700_000_000.5
HEAD = b"GET /voice/stream?a=1 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n\r\n"


def exchange(head: bytes = HEAD % b"voice.example.com:8443", status: int = 101) -> Exchange:
    record = Exchange("id", AT, "10.0.0.2", "192.0.2.1", parse_request_head(head))
    record.route, record.ingress = "voice", "nginx"
    record.phases = {"head": 1.0, "connect": 2.0, "response": 20.0, "total": 30.0}
    record.answer(parse_response_head(b"HTTP/1.1 %d Whatever\r\n\r\n" % status))
    return record


def span_of(record: Exchange) -> Span:
    return exchange_span(record.line(), record.at)


def session(ending: Ending = "close_handshake") -> Session:
    ended = Session("id", "voice", "nginx", 10.0)
    ended.receive_data("client", b"\x81\x82\0\0\0\0hi", 11.0)
    ended.end(ending, "client", 12.5)
    return ended


def test_a_handshake_has_the_names_of_the_conventions() -> None:
    span = span_of(exchange())
    conventional = {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/voice/stream",
        "url.query": "a=[hidden]",
        "http.response.status_code": 101,
        "server.address": "voice.example.com",
        "server.port": 8443,
        "client.address": "192.0.2.1",
        "network.peer.address": "10.0.0.2",
        "network.protocol.name": "http",
        "network.protocol.version": "1.1",
    }
    ours = {name for name in span.attributes if name.startswith("hopscope.")}
    assert {n: v for n, v in span.attributes.items() if n not in ours} == conventional
    assert span.name == "GET voice"
    assert span.attributes["hopscope.outcome"] == "upgraded"
    assert span.attributes["hopscope.route"] == "voice"


def test_violations_are_told_as_json() -> None:
    told = span_of(exchange()).attributes["hopscope.violations"]
    assert isinstance(told, tuple)
    assert '"field": "Sec-WebSocket-Key"' in "".join(told)


def test_phases_lie_one_behind_the_other_from_the_first_byte() -> None:
    span = span_of(exchange())
    start = int(AT * 1e9)
    assert (span.start_ns, span.end_ns) == (start, start + 30_000_000)
    assert [
        (phase.name, phase.start_ns - start, phase.end_ns - start) for phase in span.phases
    ] == [
        ("head", 0, 1_000_000),
        ("connect", 1_000_000, 3_000_000),
        ("response", 3_000_000, 23_000_000),
    ]


def test_a_phase_that_was_never_reached_is_no_span() -> None:
    record = exchange()
    record.phases = {"head": 1.0, "total": 2.0}
    assert [phase.name for phase in span_of(record).phases] == ["head"]


def test_a_made_up_method_makes_up_no_name() -> None:
    span = span_of(exchange(b"BREW /voice/stream HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert span.name == "HTTP voice"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_a_head_that_could_not_be_read_is_a_span_all_the_same() -> None:
    record = Exchange("id", AT, "10.0.0.2", "192.0.2.1", raw=b"\x16\x03\x01")
    record.fail("malformed", "http_request_error", "TLS on the plain port", 400)
    span = span_of(record)
    assert (span.name, span.error, span.end_ns) == ("HTTP", "http_request_error", span.start_ns)
    assert "url.path" not in span.attributes


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        (b"voice.example.com", "voice.example.com", None),
        (b"[2001:db8::1]", "2001:db8::1", None),
        (b"[2001:db8::1]:8080", "2001:db8::1", 8080),
        (b"a:http", "a", None),
    ],
)
def test_the_server_is_the_one_that_host_names(host: bytes, address: str, port: int | None) -> None:
    told = span_of(exchange(HEAD % host)).attributes
    assert (told["server.address"], told.get("server.port")) == (address, port)


def test_a_target_in_the_form_for_proxies_has_a_path_too() -> None:
    told = span_of(exchange(b"GET http://a/voice?b HTTP/1.1\r\nHost: a\r\n\r\n", 200)).attributes
    assert (told["url.path"], told["url.query"]) == ("/voice", "[hidden]")


@pytest.mark.parametrize(
    ("upgrade", "status", "error"),
    [
        (True, 101, None),
        (True, 404, "404"),
        (True, 200, "200"),
        (False, 200, None),
        (False, 404, None),
        (False, 503, "503"),
    ],
)
def test_a_handshake_without_101_failed_and_a_request_only_with_5xx(
    upgrade: bool, status: int, error: str | None
) -> None:
    plain = b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    span = span_of(exchange(HEAD % b"a" if upgrade else plain, status))
    assert (span.error, span.attributes.get("error.type")) == (error, error)


@pytest.mark.parametrize(
    ("outcome", "error", "status", "told"),
    [
        ("unreachable", "connection_refused", 503, "connection_refused"),
        ("client_left", None, None, "client_left"),
    ],
)
def test_an_ending_that_the_sidecar_saw_is_the_error(
    outcome: Outcome, error: str | None, status: int | None, told: str
) -> None:
    record = exchange()
    record.response = record.outcome = record.status = None
    record.fail(outcome, error, "why", status)
    assert span_of(record).attributes["error.type"] == told


def test_a_session_is_told_in_dotted_names() -> None:
    span = session_span(session().line(0.0), AT)
    assert (span.name, span.error) == ("session voice", None)
    assert span.end_ns - span.start_ns == 2_500_000_000
    assert span.attributes["hopscope.frames.client.text"] == 1
    assert span.attributes["hopscope.bytes.client.text"] == 2
    assert span.attributes["hopscope.ended_by"] == "client"
    assert "hopscope.close_code" not in span.attributes


@pytest.mark.parametrize("ending", ["reset", "timeout", "eof_without_close"])
def test_a_session_without_close_is_an_error(ending: Ending) -> None:
    span = session_span(session(ending).line(0.0), AT)
    assert (span.error, span.attributes["error.type"]) == (ending, ending)


def test_a_drain_is_no_error() -> None:
    assert session_span(session("drain").line(0.0), AT).error is None


def test_a_call_has_its_turns_as_events_and_not_their_words() -> None:
    ended: dict[str, Any] = {"call_sid": "CA1", "ending": "hung_up", "duration_s": 4.0, "turns": 1}
    turn = {
        "call_sid": "CA1",
        "number": 1,
        "caller": "My PIN",
        "agent": "Thanks",
        "ms": {"pause": 3},
    }
    span = call_span(ended, [(AT + 1, turn)], AT, AT + 4)
    assert (span.name, span.end_ns - span.start_ns) == ("call", 4_000_000_000)
    assert span.attributes == {
        "hopscope.call_sid": "CA1",
        "hopscope.ending": "hung_up",
        "hopscope.turns": 1,
    }
    attributes: dict[str, Value] = {
        "hopscope.call_sid": "CA1",
        "hopscope.number": 1,
        "hopscope.ms.pause": 3,
    }
    assert span.events == [Event("turn", int((AT + 1) * 1e9), attributes)]
