"""`hopscope proxy` and a collector: spans, metrics and log lines arrive, and no secret does."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode

from collector import Collector, point_of
from peers import SWITCH, UPGRADE, RawSocket, RawUpstream
from programs import HopscopeProcess, dial, free_port

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALL, STREAM = "CA" + "0" * 30 + "1f", "MZ" + "0" * 30 + "2f"
SECRETS = {
    "query": "q-hunter2-query",
    "path": "pathtoken0123456789abcdef",
    "authorization": "a-hunter2-bearer",
    "signature": "s1gnature+hunter2=",
    "cookie": "c-hunter2-cookie",
    "parameter": "p-hunter2-parameter",
    "header": "h-hunter2-collector",
}
HEAD = (
    UPGRADE.replace(
        b"/voice/stream", f"/voice/{SECRETS['path']}?token={SECRETS['query']}".encode()
    ).removesuffix(b"\r\n")
    + f"traceparent: 00-{TRACE}-{PARENT}-01\r\n"
    f"TraceState: vendor={SECRETS['cookie']}\r\n"
    f"Authorization: Bearer {SECRETS['authorization']}\r\n"
    f"X-Twilio-Signature: {SECRETS['signature']}\r\n"
    f"Cookie: session={SECRETS['cookie']}\r\n\r\n".encode()
)
START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": STREAM,
    "start": {
        "callSid": CALL,
        "streamSid": STREAM,
        "customParameters": {"token": SECRETS["parameter"]},
    },
}
Start = Callable[..., HopscopeProcess]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def start(
    upstream: RawUpstream, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Start a sidecar with these variables; it ends before the collector does."""
    running: list[HopscopeProcess] = []

    def start(**environment: str) -> HopscopeProcess:
        soon = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50"}
        for name, value in (soon | environment).items():
            monkeypatch.setenv(name, value)
        port = int(upstream.url.rpartition(":")[2])
        running.append(HopscopeProcess(port, "--no-history"))
        return running[-1]

    yield start
    for hopscope in running:
        hopscope.close()


def _text(message: object, *, mask: bool) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=mask, extensions=[])


def _close(*, mask: bool) -> bytes:
    return Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=mask, extensions=[])


def _hold_a_call(hopscope: HopscopeProcess, upstream: RawUpstream, head: bytes = HEAD) -> None:
    """A Twilio stream from its handshake to the Close of both; every byte arrives as it was."""
    with RawSocket(dial(hopscope.port)) as client:
        client.send(head)
        with upstream.accept() as server:
            assert server.receive_head() == head
            server.send(SWITCH)
            client.receive_head()
            for message in ({"event": "connected", "protocol": "Call", "version": "1.0.0"}, START):
                data = _text(message, mask=True)
                client.send(data)
                assert server.receive(len(data)) == data
            client.send(_close(mask=True))
            server.receive(8)
            server.send(_close(mask=False))
            assert client.receive(4) == _close(mask=False)


def test_a_handshake_and_its_session_are_spans_of_the_callers_trace(
    start: Start, collector: Collector, upstream: RawUpstream
) -> None:
    hopscope = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    assert hopscope.line("otel")["signals"] == ["traces", "metrics", "logs"]
    _hold_a_call(hopscope, upstream)
    line = hopscope.line("handshake")
    handshake = collector.span("GET default")
    assert (handshake.trace_id, handshake.parent_id) == (TRACE, PARENT)
    assert (handshake.kind, handshake.is_error) == ("server", False)
    told = handshake.attributes
    assert told["http.request.method"] == "GET"
    assert told["url.path"] == "/voice/[hidden]"
    assert told["url.query"] == "token=[hidden]"
    assert told["http.response.status_code"] == 101
    assert told["server.address"] == "voice.example.com"
    assert told["client.address"] == "127.0.0.1"
    assert told["user_agent.original"] == "Twilio.TmeWs/1.0"
    assert (told["hopscope.id"], told["hopscope.outcome"]) == (line["id"], "upgraded")
    for name in ("head", "connect", "response"):
        phase = collector.span(name)
        assert (phase.trace_id, phase.parent_id) == (TRACE, handshake.span_id)
        assert handshake.start_ns <= phase.start_ns <= phase.end_ns <= handshake.end_ns
    session = collector.span("session default")
    assert (session.trace_id, session.parent_id) == (TRACE, handshake.span_id)
    assert session.attributes["hopscope.frames.client.text"] == 2
    assert session.attributes["hopscope.call_sid"] == CALL
    assert session.attributes["hopscope.stream_sid"] == STREAM
    assert session.attributes["hopscope.ending"] == "close_handshake"
    assert session.attributes["hopscope.close_code"] == 1000
    [resource, *_] = collector.resources()
    assert resource["service.name"] == "hopscope"
    assert resource["deployment.environment.name"] == "test"
    assert ("/v1/traces", "gzip") in {
        (path, fields.get("content-encoding")) for path, fields, _ in collector.bodies
    }


@pytest.mark.parametrize(
    "field",
    [
        pytest.param("", id="none"),
        pytest.param(f"traceparent: 00-{TRACE.upper()}-{PARENT}-01\r\n", id="upper case"),
        pytest.param(f"traceparent: 00-{TRACE}-{PARENT}-01\r\n" * 2, id="two"),
    ],
)
def test_without_a_traceparent_to_go_by_a_new_trace_begins(
    field: str, start: Start, collector: Collector, upstream: RawUpstream
) -> None:
    hopscope = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    _hold_a_call(hopscope, upstream, UPGRADE.removesuffix(b"\r\n") + f"{field}\r\n".encode())
    handshake = collector.span("GET default")
    assert handshake.parent_id == ""
    assert int(handshake.trace_id, 16)
    assert handshake.trace_id != TRACE
    assert collector.span("session default").trace_id == handshake.trace_id


def test_log_lines_arrive_with_their_fields_and_their_span(
    start: Start, collector: Collector, upstream: RawUpstream
) -> None:
    hopscope = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    crooked = HEAD.replace(b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version: 8\r\n")
    _hold_a_call(hopscope, upstream, crooked)
    line = hopscope.line("handshake")
    told = collector.log("handshake")
    assert (told.event, told.severity) == ("hopscope.handshake", "info")
    assert (told.trace_id, told.span_id) == (TRACE, collector.span("GET default").span_id)
    assert told.attributes["id"] == line["id"]
    assert told.attributes["phases_ms"] == line["phases_ms"]
    assert told.attributes["headers"] == line["headers"]
    [violation] = told.attributes["violations"]
    assert violation == line["violations"][0]
    session = collector.log("session")
    assert session.span_id == collector.span("session default").span_id
    assert session.attributes["frames"]["client"] == {"text": 2, "close": 1}


def test_metrics_arrive_under_their_names_on_slash_metrics(
    start: Start, collector: Collector, upstream: RawUpstream
) -> None:
    hopscope = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_METRIC_EXPORT_INTERVAL="100",
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
    )
    _hold_a_call(hopscope, upstream)
    labels = {"sender": "client", "code": "1000", "ending": "close_handshake"}
    collector.wait_for("the end", lambda: "hopscope_closes_total" in collector.metrics())
    metrics = collector.metrics()
    assert point_of(metrics["hopscope_closes_total"], **labels).as_double == 1
    assert metrics["hopscope_closes_total"].sum.is_monotonic
    frames = {"route": "default", "sender": "client", "opcode": "text"}
    assert point_of(metrics["hopscope_frames_total"], **frames).as_double == 2
    assert point_of(metrics["hopscope_sessions_active"]).as_double == 0
    seconds = metrics["hopscope_handshake_seconds"]
    total = point_of(seconds, phase="total")
    assert (total.count, sum(total.bucket_counts), seconds.unit) == (1, 1, "s")
    assert len(total.bucket_counts) == len(total.explicit_bounds) + 1
    assert {path for path, _, _ in collector.bodies} == {"/v1/metrics"}


def test_nothing_secret_leaves(start: Start, collector: Collector, upstream: RawUpstream) -> None:
    hopscope = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"x-key={SECRETS['header']}",
    )
    _hold_a_call(hopscope, upstream)
    collector.log("session")
    collector.span("session default")
    assert hopscope.close() == 0  # which sends the metrics, too
    assert {path for path, _, _ in collector.bodies} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    everything = b"".join(body for _, _, body in collector.bodies)
    assert {what for what, secret in SECRETS.items() if secret.encode() in everything} == set()
    assert all(fields["x-key"] == SECRETS["header"] for _, fields, _ in collector.bodies)
    assert SECRETS["header"] not in json.dumps(hopscope.rest())


def test_what_happens_last_is_sent_before_the_process_ends(
    start: Start, collector: Collector, upstream: RawUpstream
) -> None:
    hopscope = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="60000",
        OTEL_BLRP_SCHEDULE_DELAY="60000",
    )
    _hold_a_call(hopscope, upstream)
    hopscope.line("session")
    assert hopscope.close() == 0
    assert {"GET default", "session default"} <= {span.name for span in collector.spans()}
    assert {"listening", "handshake", "session", "drained"} <= {
        log.body for log in collector.logs()
    }
    assert "hopscope_closes_total" in collector.metrics()


@pytest.mark.parametrize("way", ["refuses", "never answers"])
def test_a_dead_collector_costs_a_line_and_no_call(
    way: str, start: Start, upstream: RawUpstream
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = free_port() if way == "refuses" else silent.getsockname()[1]
        hopscope = start(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            OTEL_METRIC_EXPORT_INTERVAL="50",
        )
        for _ in range(3):
            _hold_a_call(hopscope, upstream)
            assert hopscope.line("session")["ending"] == "close_handshake"
        failed = hopscope.line("otel_export_failed")
        assert "export" in failed["reason"]
        assert hopscope.close() == 0
    last = [line["reason"] for line in hopscope.rest() if line["event"] == "otel_export_failed"]
    assert all(reason.startswith("the last records were not taken") for reason in last)


def test_without_the_extra_the_log_says_how_to_install_it(
    start: Start, upstream: RawUpstream, tmp_path: Path
) -> None:
    package = tmp_path / "opentelemetry"
    package.mkdir()
    missing = "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')"
    (package / "__init__.py").write_text(missing)
    hopscope = start(PYTHONPATH=str(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    because = hopscope.line("otel_off")["because"]
    assert because == "OpenTelemetry is not installed: pip install 'hopscope[otel]'"
    _hold_a_call(hopscope, upstream)
    assert hopscope.line("session")["close_code"] == 1000


def test_without_an_endpoint_nothing_is_exported_or_said(
    start: Start, upstream: RawUpstream
) -> None:
    hopscope = start()
    _hold_a_call(hopscope, upstream)
    hopscope.line("session")
    assert hopscope.close() == 0
    assert [line["event"] for line in hopscope.rest() if line["event"].startswith("otel")] == []
