"""What the sidecar saw reaches log, metrics, history and listeners; a slow one delays nobody."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from proxy import telemetry as telemetry_module
from proxy.exchange import Exchange
from proxy.history import Book, History, Query
from proxy.http1 import parse_request_head, parse_response_head
from proxy.logs import LogWriter
from proxy.metrics import Metrics
from proxy.promises import ARRIVAL_S, Promises, Webhook
from proxy.relay import RELAY_BOUNDS, Relay
from proxy.session import Session
from proxy.telemetry import (
    LISTENER_QUEUE,
    LISTENERS_LIMIT,
    Telemetry,
    as_server_sent_event,
)
from proxy.twiml import AdvertisedStream

UPGRADE = b"GET /voice/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"


class Bench:
    """A telemetry with all its ends at hand."""

    def __init__(self) -> None:
        relay = SimpleNamespace(pairs={}, times=[0] * (len(RELAY_BOUNDS) + 1), times_sum=0.0)
        self.metrics = Metrics(cast(Relay, relay))
        self.history = History(Book(None, rows=1000, days=1))
        self.log = SimpleNamespace(dropped=0)
        self.telemetry = Telemetry(self.metrics, self.history, cast(LogWriter, self.log))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.history.close()


def handshake(number: int = 1) -> Exchange:
    record = Exchange(f"{number:018}", 9e9, "127.0.0.1", "192.0.2.1", parse_request_head(UPGRADE))
    record.answer(parse_response_head(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"))
    return record


def test_a_handshake_is_logged_counted_and_kept(bench: Bench) -> None:
    with capture_logs() as logged:
        bench.telemetry.exchange_ended(handshake())
    line = handshake().line()
    assert logged == [line | {"event": "handshake", "log_level": "info"}]
    labels = {"route": "none", "ingress": "unknown", "outcome": "upgraded", "status": "101"}
    assert bench.value("hopscope_handshakes_total", **labels) == 1
    assert asyncio.run(bench.history.find(Query())) == [
        line | {"kind": "handshake", "session": None}
    ]


def test_a_plain_request_goes_by_its_own_name(bench: Bench) -> None:
    record = handshake()
    record.request = parse_request_head(b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n\r\n")
    with capture_logs() as logged:
        bench.telemetry.exchange_ended(record)
    assert logged[0]["event"] == "request"
    assert asyncio.run(bench.history.find(Query())) == []
    assert len(asyncio.run(bench.history.find(Query(kind="request")))) == 1


def test_a_session_is_logged_counted_and_joined_to_its_handshake(bench: Bench) -> None:
    session = Session(f"{1:018}", "voice", "nginx", 10.0)
    session.end_reset("server", 12.5)
    with capture_logs() as logged:
        bench.telemetry.exchange_ended(handshake())
        bench.telemetry.session_ended(session)
    told = logged[1]
    assert (told["event"], told["ending"], told["ended_by"]) == ("session", "reset", "server")
    assert told["duration_s"] == 2.5
    labels = {"sender": "none", "code": "none", "ending": "reset"}
    assert bench.value("hopscope_closes_total", **labels) == 1
    [row] = asyncio.run(bench.history.find(Query()))
    assert row["session"] == session.line(0.0)


def test_a_stream_that_never_arrived_is_told_with_its_call(bench: Bench) -> None:
    promises = Promises()
    webhook = Webhook("webhook", "CA1", ("a",), is_signed=True)
    promises.expect([AdvertisedStream("wss://a/voice/stream?token=x", 0.0)], webhook, 0.0)
    [missing] = promises.overdue(ARRIVAL_S + 0.04, ())
    with capture_logs() as logged:
        bench.telemetry.stream_never_arrived(missing)
    assert logged == [
        missing.line() | {"event": "stream_never_arrived", "log_level": "warning"},
    ]
    assert (logged[0]["call_sid"], logged[0]["waited_s"]) == ("CA1", ARRIVAL_S)
    assert bench.value("hopscope_streams_never_arrived_total") == 1


def test_a_reader_that_went_blind_is_told_with_the_place(bench: Bench) -> None:
    session = Session("id", "voice", "nginx", 0.0)
    with capture_logs() as logged:
        bench.telemetry.went_blind(session, "client", "why", 42)
    assert logged == [
        {
            "event": "went_blind",
            "id": "id",
            "sender": "client",
            "reason": "why",
            "offset": 42,
            "log_level": "warning",
        }
    ]


def test_refused_connections_are_all_counted_and_told_once_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(telemetry_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with capture_logs() as logged:
        for _ in range(5):
            bench.telemetry.connection_refused("192.0.2.1", "connections")
        bench.telemetry.connection_refused("192.0.2.1", "files")
        now[0] += telemetry_module.REPEAT_S
        bench.telemetry.connection_refused("192.0.2.2", "connections")
    assert [(line["reason"], line["client"], line["unsaid"]) for line in logged] == [
        ("connections", "192.0.2.1", 0),
        ("files", "192.0.2.1", 0),
        ("connections", "192.0.2.2", 4),
    ]
    assert bench.value("hopscope_connections_refused_total", reason="connections") == 6
    assert bench.value("hopscope_connections_refused_total", reason="files") == 1


def test_records_that_were_lost_are_counted_and_told_once(bench: Bench) -> None:
    bench.log.dropped = 3
    bench.history.dropped, bench.history.error = 2, "disk I/O error"
    with capture_logs() as logged:
        bench.telemetry.flush()
        bench.telemetry.flush()
        bench.log.dropped = 4
        bench.telemetry.flush()
    assert [(line["what"], line["in_all"], line["error"]) for line in logged] == [
        ("history", 2, "disk I/O error"),
        ("log", 3, None),
        ("log", 4, None),
    ]
    assert bench.value("hopscope_records_dropped_total", what="history") == 2
    assert bench.value("hopscope_records_dropped_total", what="log") == 4


class Following:
    """A follower that notes what it is told, and how many lines were logged by then."""

    def __init__(self, logged: list[Any]) -> None:
        self._logged = logged
        self.told: list[tuple[str, Any, int]] = []

    def exchange_ended(self, exchange: Exchange, line: Mapping[str, Any]) -> None:
        self.told.append((exchange.event, line, len(self._logged)))

    def session_ended(self, line: Mapping[str, Any]) -> None:
        self.told.append(("session", line, len(self._logged)))

    def shown(self, event: str, fields: Mapping[str, Any]) -> None:
        self.told.append((f"shown {event}", fields, len(self._logged)))


def test_a_follower_is_told_before_the_line_is_written_and_of_the_gateway_too(
    bench: Bench,
) -> None:
    session = Session(f"{1:018}", "voice", "nginx", 10.0)
    session.end_reset("server", 12.5)
    with capture_logs() as logged:
        following = Following(logged)
        bench.telemetry.followers.append(following)
        bench.telemetry.exchange_ended(handshake())
        bench.telemetry.session_ended(session)
        bench.telemetry.show("call_started", {"call_sid": "CA1"})
    assert following.told == [
        ("handshake", handshake().line(), 0),
        ("shown handshake", handshake().line(), 1),
        ("session", session.line(0.0), 1),
        ("shown session", session.line(0.0), 2),
        ("shown call_started", {"call_sid": "CA1"}, 2),
    ]


def taken(queue: "asyncio.Queue[tuple[str, dict[str, Any]]]") -> list[tuple[str, dict[str, Any]]]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


def test_listeners_hear_what_happens_while_they_listen(bench: Bench) -> None:
    with capture_logs():
        bench.telemetry.say("before")
        with bench.telemetry.listen() as first, bench.telemetry.listen() as second:
            bench.telemetry.say("meanwhile", number=1)
            bench.telemetry.exchange_ended(handshake())
        bench.telemetry.say("after")
    heard = [("meanwhile", {"number": 1}), ("handshake", handshake().line())]
    assert taken(first) == taken(second) == heard


def test_a_slow_listener_loses_the_oldest_events_and_delays_nobody(bench: Bench) -> None:
    with capture_logs(), bench.telemetry.listen() as queue:
        for number in range(LISTENER_QUEUE + 5):
            bench.telemetry.say("event", number=number)
    numbers = [fields["number"] for _, fields in taken(queue)]
    assert numbers == list(range(5, LISTENER_QUEUE + 5))


def test_listeners_are_bounded_and_leave_their_place(bench: Bench) -> None:
    listening = [bench.telemetry.listen() for _ in range(LISTENERS_LIMIT)]
    for listener in listening:
        assert bench.telemetry.has_room_to_listen
        listener.__enter__()
    assert not bench.telemetry.has_room_to_listen
    listening[0].__exit__(None, None, None)
    assert bench.telemetry.has_room_to_listen
    for listener in listening[1:]:
        listener.__exit__(None, None, None)


def test_an_event_of_the_stream_is_one_data_line_whatever_it_holds() -> None:
    fields = {"reason": "two\nlines\r\n\r\nevent: forged", "other": "\u2028é"}
    text = as_server_sent_event("session", fields)
    name, data, *rest = text.split(b"\n")
    assert name == b"event: session"
    assert json.loads(data.removeprefix(b"data: ")) == fields
    assert rest == [b"", b""]
    assert b"\r" not in text
