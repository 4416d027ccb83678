"""Spans, metrics and log lines to an OpenTelemetry collector, over OTLP on HTTP.

Only `proxy.otel` imports this, where the extra is installed. On the sidecar's loop a record is
made and put into a bounded queue, once an exchange, a session or a log line and never a frame;
encoding, sending and trying again are the work of threads. A full queue loses records.
"""

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from proxy.exchange import Exchange
from proxy.otlp_metrics import metrics_data
from proxy.spans import Span, call_span, exchange_span, session_span
from proxy.trace_context import trace_parent_of

NAME = "hopscope"
FAILED = "otel_export_failed"  # the one event that is not exported: it would feed itself
# Sessions whose handshake's span is remembered; of an upgrade without a session the oldest goes.
SESSIONS_LIMIT = 50_000
CALLS_LIMIT = 10_000
_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
_SERVER, _INTERNAL = SpanKind.SERVER, SpanKind.INTERNAL
_log = logging.getLogger("opentelemetry.exporter.hopscope")

Turns = list[tuple[float, Mapping[str, Any]]]


class Exports:
    """A follower of Telemetry, and a processor of structlog's. Raises only when it is made."""

    def __init__(self, signals: Sequence[str], version: str) -> None:
        self._resource = _resource(version)
        self._started_ns = time.time_ns()
        self._contexts: OrderedDict[str, Context] = OrderedDict()  # of upgraded handshakes
        self._latest: tuple[str, Context] | None = None  # whose log line is about to be written
        self._calls: dict[str, tuple[float, Turns]] = {}
        self._closing: list[Callable[[], object]] = []
        self._tracer: trace.Tracer | None = None
        self._logger: Any = None
        self._sender: MetricSender | None = None
        if "traces" in signals:
            traces = TracerProvider(resource=self._resource, shutdown_on_exit=False)
            traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            self._tracer = traces.get_tracer(NAME, version)
            self._closing.append(traces.shutdown)
        if "logs" in signals:
            logs = LoggerProvider(resource=self._resource, shutdown_on_exit=False)
            logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
            self._logger = logs.get_logger(NAME, version)
            self._closing.append(logs.shutdown)
        if "metrics" in signals:
            self._sender = MetricSender()
            self._closing.append(self._sender.close)

    # -- told by Telemetry -------------------------------------------------------------------

    def exchange_ended(self, exchange: Exchange, line: Mapping[str, Any]) -> None:
        with _reported("no span of a request"):
            context = self._export(exchange_span(line, exchange.at), _caller(exchange), _SERVER)
            if context is None:
                return
            self._latest = exchange.id, context
            if exchange.outcome == "upgraded":
                self._contexts[exchange.id] = context
                if len(self._contexts) > SESSIONS_LIMIT:
                    self._contexts.popitem(last=False)

    def session_ended(self, line: Mapping[str, Any]) -> None:
        with _reported("no span of a session"):
            parent = self._contexts.pop(line["id"], None)
            context = self._export(session_span(line, time.time()), parent, _INTERNAL)
            if context is not None:
                self._latest = line["id"], context

    def shown(self, event: str, fields: Mapping[str, Any]) -> None:
        """An event; those of a gateway's calls become a span when the call ends."""
        if event.startswith(("call_", "turn")):
            with _reported("no span of a call"):
                self._follow_call(event, fields)

    def _follow_call(self, event: str, fields: Mapping[str, Any]) -> None:
        call_sid, now = fields.get("call_sid"), time.time()
        if not isinstance(call_sid, str):
            return
        if event == "call_started" and len(self._calls) < CALLS_LIMIT:
            self._calls[call_sid] = now, []
        elif event == "turn" and call_sid in self._calls:
            self._calls[call_sid][1].append((now, dict(fields)))
        elif event == "call_ended" and call_sid in self._calls:
            started_at, turns = self._calls.pop(call_sid)
            self._export(call_span(fields, turns, started_at, now), None, _INTERNAL)

    def _export(self, told: Span, parent: Context | None, kind: SpanKind) -> Context | None:
        """The context of the new span, for its children and its log line."""
        if self._tracer is None:
            return None
        span = self._tracer.start_span(
            told.name,
            parent or Context(),
            kind,
            attributes=told.attributes,
            start_time=told.start_ns,
        )
        for event in told.events:
            span.add_event(event.name, event.attributes, event.at_ns)
        if told.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        context = trace.set_span_in_context(span, Context())
        for phase in told.phases:
            self._export(phase, context, _INTERNAL)
        span.end(told.end_ns)
        # What is remembered need not hold the span and its attributes.
        return trace.set_span_in_context(trace.NonRecordingSpan(span.get_span_context()), Context())

    # -- told by structlog -------------------------------------------------------------------

    def __call__(
        self, _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if self._logger is not None and event.get("event") != FAILED:
            with _reported("a log line was not exported"):
                self._logger.emit(self._record(event))
        return event

    def _record(self, line: Mapping[str, Any]) -> LogRecord:
        level = str(line.get("level", "info"))
        told = {name: line[name] for name in line if name not in ("event", "level")}
        return LogRecord(
            timestamp=time.time_ns(),
            context=self._context_of(line.get("id")),
            severity_text=level,
            severity_number=_SEVERITIES.get(level, SeverityNumber.INFO),
            body=str(line.get("event")),
            attributes=_plain(told),
            event_name=f"{NAME}.{line.get('event')}",
        )

    def _context_of(self, record_id: object) -> Context:
        if self._latest is not None and self._latest[0] == record_id:
            return self._latest[1]
        return self._contexts.get(str(record_id)) or Context()

    # -- metrics, and the end ----------------------------------------------------------------

    @property
    def has_metrics(self) -> bool:
        return self._sender is not None

    def measure(self, collectors: Sequence[CollectorRegistry]) -> None:
        """Take all numbers now, on the thread that counts them: nothing is read half-counted."""
        if self._sender is None:
            return
        with _reported("no metrics"):
            families = [family for registry in collectors for family in registry.collect()]
            now_ns = time.time_ns()
            self._sender.send(lambda: self._data(families, now_ns))

    def _data(self, families: Sequence[Family], now_ns: int) -> Any:
        return metrics_data(families, self._resource, NAME, self._started_ns, now_ns)

    def closing(self) -> Sequence[Callable[[], object]]:
        """What sends the rest and ends a thread each; each may block for long."""
        return self._closing


class MetricSender:
    """A thread that sends numbers, one scrape at a time; one that comes meanwhile is left out."""

    def __init__(self) -> None:
        self._exporter = OTLPMetricExporter()
        self._waiting: queue.Queue[Callable[[], Any] | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def send(self, read: Callable[[], Any]) -> None:
        """Send these, unless others wait: the next ones, being totals, hold what these do."""
        with suppress(queue.Full):
            self._waiting.put_nowait(read)

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        while (read := self._waiting.get()) is not None:
            with _reported("metrics were not exported"):
                self._exporter.export(read())


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """A defect of an export is told once a while, and is no defect of a call."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever it is, the call goes on
        _log.exception(what)


def _caller(exchange: Exchange) -> Context | None:
    """The span that the request says it belongs to."""
    values = exchange.request.values("traceparent") if exchange.request else []
    parent = trace_parent_of(values)
    if parent is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    context = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def _resource(version: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before what we are."""
    named = Resource.create({SERVICE_VERSION: version})
    if str(named.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return named.merge(Resource({SERVICE_NAME: NAME}))
    return named


def _plain(value: Any) -> Any:
    """A value as OTLP takes it: no nulls, and no number beyond 64 bits."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value if inner is not None]
    if isinstance(value, (str, bool, float)):
        return value
    return value if isinstance(value, int) and abs(value) < 1 << 63 else str(value)
