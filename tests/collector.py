"""An OpenTelemetry collector: what is posted to it over OTLP on HTTP, decoded and kept."""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

PATIENCE_S = 20.0


class SpanSeen(NamedTuple):
    """One span as it arrived; ids in hex, "" for a span without parent."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    is_error: bool
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


class LogSeen(NamedTuple):
    event: str
    body: Any
    severity: str
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class Collector:
    """Listens on a port of its own. `bodies` are what came, uncompressed, with path and fields."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, dict[str, str], bytes]] = []
        self._news = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.headers["Content-Type"] == "application/x-protobuf"
                fields = {name.lower(): value for name, value in self.headers.items()}
                with collector._news:
                    collector.bodies.append((self.path, fields, body))
                    collector._news.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()

    def wait_for(self, what: str, find: Callable[[], Any]) -> Any:
        """What `find` finds, as soon as it finds anything in what has come."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while not (found := find()):
                left = deadline - time.monotonic()
                assert left > 0, f"waited in vain for {what}; came: {self._summary()}"
                self._news.wait(left)
            return found

    def span(self, name: str, **attributes: Any) -> SpanSeen:
        """The one span of that name, once it has come."""

        def find() -> list[SpanSeen]:
            return [
                span
                for span in self.spans()
                if span.name == name and attributes.items() <= span.attributes.items()
            ]

        [span] = self.wait_for(f"the span {name}", find)
        assert isinstance(span, SpanSeen)
        return span

    def log(self, event: str) -> LogSeen:
        """The first log record of an event, once it has come."""
        found = self.wait_for(
            f"the log record {event}", lambda: [log for log in self.logs() if log.body == event]
        )
        assert isinstance(found[0], LogSeen)
        return found[0]

    def spans(self) -> list[SpanSeen]:
        return [
            SpanSeen(
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                span.status.code == span.status.STATUS_CODE_ERROR,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
                _pairs(span.attributes),
                [(event.name, _pairs(event.attributes)) for event in span.events],
            )
            for body in self._bodies_of("/v1/traces")
            for of_resource in _parsed(trace_service_pb2.ExportTraceServiceRequest(), body)
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def logs(self) -> list[LogSeen]:
        return [
            LogSeen(
                record.event_name,
                _value(record.body),
                record.severity_text,
                record.trace_id.hex(),
                record.span_id.hex(),
                _pairs(record.attributes),
            )
            for body in self._bodies_of("/v1/logs")
            for of_resource in _parsed(logs_service_pb2.ExportLogsServiceRequest(), body)
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def metrics(self) -> dict[str, Any]:
        """Each metric as it came last, as OTLP's own message."""
        return {
            metric.name: metric
            for body in self._bodies_of("/v1/metrics")
            for of_resource in _parsed(metrics_service_pb2.ExportMetricsServiceRequest(), body)
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }

    def resources(self) -> list[dict[str, Any]]:
        """Who sent what, by request."""
        return [
            _pairs(of_resource.resource.attributes)
            for body in self._bodies_of("/v1/traces")
            for of_resource in _parsed(trace_service_pb2.ExportTraceServiceRequest(), body)
        ]

    def _bodies_of(self, path: str) -> list[bytes]:
        return [body for came, _, body in self.bodies if came == path]

    def _summary(self) -> str:
        spans = [span.name for span in self.spans()]
        return f"spans {spans}, logs {[log.body for log in self.logs()]}"


def point_of(metric: Any, **labels: str) -> Any:
    """The one data point with these labels."""
    data = getattr(metric, metric.WhichOneof("data"))
    [point] = [point for point in data.data_points if _pairs(point.attributes) == labels]
    return point


def _parsed(request: Any, body: bytes) -> Any:
    """The one repeated field that each of the three requests has."""
    request.ParseFromString(body)
    [(_, parts)] = request.ListFields()
    return parts


def _pairs(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values)
    return kind and getattr(value, kind)
