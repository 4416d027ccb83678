"""The exports as a part of the process: what they say of failures, and what they never do."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from collector import Collector
from proxy import otel, otlp
from proxy.exchange import Exchange
from proxy.http1 import parse_request_head, parse_response_head
from proxy.otel import REPEAT_S, Complaints, Heard, exported, shown_reason
from proxy.otlp import CALLS_LIMIT, Exports

SECRET = "s3cret0123456789abcdefghijk"
ALL = "OTEL_EXPORTER_OTLP_ENDPOINT"
_exporter = logging.getLogger("opentelemetry.exporter.otlp.common.http")
_parser = logging.getLogger("opentelemetry.util.re")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """What times complaints, which are listened to meanwhile."""
    clock = Clock()
    complaints = Complaints(clock)
    complaints.open()
    yield clock
    complaints.close()


def test_failures_are_one_line_a_while_and_counted(clock: Clock) -> None:
    with capture_logs() as logged:
        for _ in range(5):
            _exporter.error("Failed to export %s batch code: %s, reason: %s", "spans", 401, "no")
        _exporter.info("nothing to speak of")
        clock.now += REPEAT_S
        _exporter.warning("again")
    assert [(line["event"], line["reason"], line["unsaid"]) for line in logged] == [
        ("otel_export_failed", "Failed to export spans batch code: 401, reason: no", 0),
        ("otel_export_failed", "again", 4),
    ]


@pytest.mark.usefixtures("clock")
def test_a_header_that_cannot_be_parsed_is_not_quoted() -> None:
    with capture_logs() as logged:
        _parser.warning("Header format invalid! Must be key=value: %s", f"token:{SECRET}")
    assert logged[0]["reason"] == "Header format invalid! Must be key=value: [hidden]"


@pytest.mark.usefixtures("clock")
def test_an_exception_is_told_by_its_kind() -> None:
    with capture_logs() as logged:
        try:
            raise ValueError(SECRET)
        except ValueError:
            _exporter.exception("no span")
    assert logged[0]["reason"] == "no span: ValueError"


def test_a_reason_shows_no_secret_of_the_collectors_url() -> None:
    text = (
        f"HTTPConnectionPool(host='c', port=1): Max retries exceeded with url: /{SECRET}/v1/traces"
        "?key=x (Caused by New('<urllib3.connection.HTTPConnection object at 0x7f00aa>: "
        "[Errno 111] Connection refused')) http://me:pw@c/"
    )
    shown = shown_reason(text)
    assert shown == (
        "HTTPConnectionPool(host='c', port=1): Max retries exceeded with url: /[hidden]/v1/traces"
        "?[hidden] (Caused by New('[Errno 111] Connection refused')) http://[hidden]@c/"
    )


def run(environ: Mapping[str, str]) -> list[Any]:
    """The log of exports that begin and end, and have nothing to do."""

    async def main() -> None:
        async with exported(environ):
            pass

    with capture_logs() as logged:
        asyncio.run(main())
    return logged


def test_without_an_endpoint_there_is_nothing() -> None:
    assert run({}) == []


def test_a_protocol_that_is_not_spoken_is_said_and_nothing_more_happens() -> None:
    [line] = run({ALL: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert (line["event"], line["log_level"]) == ("otel_off", "warning")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in line["because"]


def test_a_value_that_the_sdk_refuses_is_no_reason_to_stay_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    [line] = run({ALL: "http://127.0.0.1:1"})
    assert line["event"] == "otel_off"
    assert "max_queue_size" in line["because"]


class Stuck:
    """Exports whose end does not come before it is let go."""

    has_metrics = False

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self, _logger: object, _name: str, event: Any) -> Any:
        return event

    def closing(self) -> list[Any]:
        return [self.let_go.wait]


def test_the_end_waits_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    monkeypatch.setattr(otel, "FLUSH_S", 0.05)
    monkeypatch.setattr(otlp, "Exports", lambda *_: stuck)
    logged = run({ALL: "http://127.0.0.1:1"})
    assert not stuck.let_go.is_set()
    stuck.let_go.set()
    assert [line["event"] for line in logged] == ["otel", "otel_export_failed"]


def exports(collector: Collector, monkeypatch: pytest.MonkeyPatch, *signals: str) -> Exports:
    monkeypatch.setenv(ALL, collector.url)
    return Exports(signals, "1")


def end(exports: Exports) -> None:
    for close in exports.closing():
        close()


def test_a_call_is_a_span_with_its_turns(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = exports(collector, monkeypatch, "traces")
    told.shown("turn", {"call_sid": "CA1", "number": 1})  # of a call that began before
    told.shown("call_started", {"call_sid": "CA1", "mode": "conversation"})
    told.shown("turn", {"call_sid": "CA1", "number": 1, "caller": SECRET, "agent": SECRET})
    told.shown("call_status", {"call_sid": "CA1", "status": "completed"})
    told.shown("call_ended", {"call_sid": "CA1", "mode": "conversation", "ending": "hung_up"})
    told.shown("call_ended", {"call_sid": "CA1", "ending": "stale"})
    end(told)
    [call] = collector.spans()
    assert call.name == "call"
    assert call.attributes["hopscope.ending"] == "hung_up"
    assert call.events == [("turn", {"hopscope.call_sid": "CA1", "hopscope.number": 1})]
    assert SECRET.encode() not in b"".join(body for _, _, body in collector.bodies)


def test_calls_that_never_end_are_bounded(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = exports(collector, monkeypatch, "traces")
    for number in range(CALLS_LIMIT + 1):
        told.shown("call_started", {"call_sid": f"CA{number}"})
    told.shown("call_ended", {"call_sid": f"CA{CALLS_LIMIT}"})
    told.shown("call_ended", {"call_sid": f"CA{CALLS_LIMIT - 1}"})
    end(told)
    assert len(collector.spans()) == 1


@pytest.mark.parametrize(("sampler", "spans"), [("", 0), ("always_on", 4), ("always_off", 0)])
def test_a_caller_who_samples_not_decides_unless_the_sampler_is_told_otherwise(
    sampler: str, spans: int, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler or "parentbased_always_on")
    told = exports(collector, monkeypatch, "traces", "logs")
    head = f"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace}-{parent}-00\r\n\r\n".encode()
    record = Exchange("id", 1e9, "", "", parse_request_head(head))
    record.phases = {"head": 1.0, "connect": 1.0, "response": 1.0, "total": 3.0}
    record.answer(parse_response_head(b"HTTP/1.1 200 OK\r\n\r\n"))
    told.exchange_ended(record, record.line())
    told(None, "", {"event": "request", "id": "id", "level": "info"})
    end(told)
    assert [span.trace_id for span in collector.spans()] == [trace] * spans
    assert collector.log("request").trace_id == trace


@pytest.mark.usefixtures("clock")
def test_a_record_that_cannot_be_told_is_a_line_and_raises_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = exports(collector, monkeypatch, "traces", "logs")
    record = Exchange("id", 0.0, "", "")
    with capture_logs() as logged:
        told.exchange_ended(record, {})
        told.session_ended({})
    assert [line["event"] for line in logged] == ["otel_export_failed"]
    assert "KeyError" in logged[0]["reason"]
    end(told)
    assert collector.spans() == []


def test_a_log_line_is_passed_on_as_it_was_and_its_own_failure_is_not_exported(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = exports(collector, monkeypatch, "logs")
    line = {
        "event": "draining",
        "level": "warning",
        "none": None,
        "list": [1, None],
        "big": 1 << 70,
    }
    assert told(None, "", dict(line)) == line
    told(None, "", {"event": "otel_export_failed", "level": "warning"})
    end(told)
    [log] = collector.logs()
    assert (log.body, log.severity) == ("draining", "warning")
    assert log.attributes == {"list": [1], "big": str(1 << 70)}


def test_what_is_followed_is_let_go_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALL, collector.url)
    heard = Heard()

    async def main() -> None:
        async with exported({ALL: collector.url}) as follow:
            follow(heard, [])
            heard.shown("call_started", {"call_sid": "CA1"})
            heard.shown("call_ended", {"call_sid": "CA1"})
        heard.shown("call_started", {"call_sid": "CA2"})

    with capture_logs():
        asyncio.run(main())
    assert heard.followers == []
    assert [span.attributes for span in collector.spans()] == [{"hopscope.call_sid": "CA1"}]
