"""The Prometheus metrics: counters of events, and frame totals read from the sessions themselves.

The hot path knows nothing of Prometheus. Each reader keeps plain lists of numbers; a scrape adds
those of the running sessions to the totals of the ended ones, so that numbers are live and cost
nothing between scrapes.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.exchange import Exchange
from proxy.frames import GAP_BOUNDS, OPCODES, SIZE_BOUNDS, FrameReader
from proxy.media import MEDIA_READS
from proxy.relay import RELAY_BOUNDS, Relay
from proxy.session import SENDERS, Session

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
# Applications make up codes (RFC 6455 section 7.4.2); a caller must not make up our labels.
CLOSE_CODES_LIMIT = 64
_REQUEST_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_SESSION_BOUNDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14400)
_JITTER_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.2)


class FrameTotals:
    """What a group of readers counted, added up."""

    def __init__(self) -> None:
        self.frames: Tally[tuple[str, str, int]] = Tally()
        self.payload: Tally[tuple[str, str]] = Tally()
        self.sizes = [0] * (len(SIZE_BOUNDS) + 1)
        self.gaps = {sender: [0] * (len(GAP_BOUNDS) + 1) for sender in SENDERS}
        self.gap_seconds = dict.fromkeys(SENDERS, 0.0)
        self.streams: Tally[str] = Tally()  # Twilio's, by how their messages are read
        self.media_frames: Tally[str] = Tally()
        self.marks: Tally[str] = Tally()
        self.sequence_gaps = 0
        self.underruns = 0

    def copy(self) -> "FrameTotals":
        twin = FrameTotals()
        twin.frames, twin.payload = self.frames.copy(), self.payload.copy()
        twin.sizes = list(self.sizes)
        twin.gaps = {sender: list(counts) for sender, counts in self.gaps.items()}
        twin.gap_seconds = dict(self.gap_seconds)
        twin.streams, twin.marks = self.streams.copy(), self.marks.copy()
        twin.media_frames = self.media_frames.copy()
        twin.sequence_gaps, twin.underruns = self.sequence_gaps, self.underruns
        return twin

    def add(self, session: Session) -> None:
        for sender in SENDERS:
            reader: FrameReader = session.readers[sender]
            for opcode, count in enumerate(reader.frames):
                if count:
                    self.frames[session.route, sender, opcode] += count
            self.payload[session.route, sender] += reader.total_payload
            self.sizes = [a + b for a, b in zip(self.sizes, reader.sizes, strict=True)]
            gaps = zip(self.gaps[sender], reader.gaps, strict=True)
            self.gaps[sender] = [a + b for a, b in gaps]
            # The gaps of one sender add up to the time from the 101 until it was last heard.
            self.gap_seconds[sender] += reader.last - session.started_at - reader.within_frames
        media = session.media
        if media.is_twilio:
            self.streams[media.read] += 1
            self.media_frames.update(media.media_frames)
            self.marks.update(media.marks)
            self.sequence_gaps += media.sequence_gaps
            self.underruns += media.underruns


class Metrics(Collector):
    """All metrics of one sidecar, on a registry of its own."""

    def __init__(self, relay: Relay) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._relay = relay
        self._ended = FrameTotals()
        self._close_codes: set[int] = set()
        self.handshakes = Counter(
            "hopscope_handshakes",
            "Upgrade handshakes and heads that could not be read.",
            ["route", "ingress", "outcome", "status"],
            registry=registry,
        )
        self.handshake_seconds = Histogram(
            "hopscope_handshake_seconds",
            "Phases of an upgrade handshake.",
            ["phase"],
            buckets=_REQUEST_BOUNDS,
            registry=registry,
        )
        self.http_requests = Counter(
            "hopscope_http_requests",
            "Requests that were not handshakes.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.http_request_seconds = Histogram(
            "hopscope_http_request_seconds",
            "Time from the first byte of a plain request to the end of its response.",
            buckets=_REQUEST_BOUNDS,
            registry=registry,
        )
        self.session_seconds = Histogram(
            "hopscope_session_seconds",
            "Duration of ended sessions.",
            buckets=_SESSION_BOUNDS,
            registry=registry,
        )
        self.closes = Counter(
            "hopscope_closes",
            "Ended sessions by the sender and code of the first Close, and by how they ended.",
            ["sender", "code", "ending"],
            registry=registry,
        )
        self.media_jitter = Histogram(
            "hopscope_twilio_media_jitter_seconds",
            "Interarrival jitter of a call's media (RFC 3550), taken at its end.",
            buckets=_JITTER_BOUNDS,
            registry=registry,
        )
        self.never_arrived = Counter(
            "hopscope_streams_never_arrived",
            "Streams that TwiML advertised and nobody asked for in time.",
            registry=registry,
        )
        self.connections_refused = Counter(
            "hopscope_connections_refused",
            "Connections refused before a request was read.",
            ["reason"],
            registry=registry,
        )
        self.records_dropped = Counter(
            "hopscope_records_dropped",
            "Log lines and history rows that could not be written.",
            ["what"],
            registry=registry,
        )
        registry.register(self)

    def exchange_ended(self, exchange: Exchange) -> None:
        route, status = exchange.route or "none", str(exchange.status or "none")
        if exchange.is_handshake:
            self.handshakes.labels(route, exchange.ingress, exchange.outcome, status).inc()
            for phase, ms in exchange.phases.items():
                self.handshake_seconds.labels(phase).observe(ms / 1000)
            return
        method = exchange.request.method if exchange.request else ""
        self.http_requests.labels(route, method if method in _METHODS else "other", status).inc()
        self.http_request_seconds.observe(exchange.phases.get("total", 0) / 1000)

    def session_ended(self, session: Session) -> None:
        self._ended.add(session)
        first = session.closes[0] if session.closes else None
        code = self._code_label(first.code) if first else "none"
        self.closes.labels(first.sender if first else "none", code, session.ending).inc()
        self.session_seconds.observe((session.ended_at or 0) - session.started_at)
        if session.media.is_twilio and session.media.is_read:
            self.media_jitter.observe(session.media.jitter_s)

    def collect(self) -> Iterator[Metric]:
        totals = self._ended.copy()
        for pair in self._relay.pairs.values():
            totals.add(pair.session)
        active = GaugeMetricFamily("hopscope_sessions_active", "Running sessions.")
        active.add_metric([], len(self._relay.pairs))
        yield active
        yield _counter(
            "hopscope_frames",
            "Frames by the end that sent them.",
            ["route", "sender", "opcode"],
            (
                ([route, sender, OPCODES.get(opcode, f"reserved_{opcode:x}")], count)
                for (route, sender, opcode), count in totals.frames.items()
            ),
        )
        yield _counter(
            "hopscope_frame_payload_bytes",
            "Payload of frames, as announced in their headers.",
            ["route", "sender"],
            ((list(key), count) for key, count in totals.payload.items()),
        )
        sizes = HistogramMetricFamily("hopscope_frame_payload_bytes", "Payload of one frame.")
        sizes.add_metric([], *_buckets(SIZE_BOUNDS, totals.sizes), sum(totals.payload.values()))
        yield sizes
        gaps = HistogramMetricFamily(
            "hopscope_frame_gap_seconds", "Silence of a sender before a frame.", labels=["sender"]
        )
        for sender in SENDERS:
            buckets = _buckets(GAP_BOUNDS, totals.gaps[sender])
            gaps.add_metric([sender], *buckets, totals.gap_seconds[sender])
        yield gaps
        relay = HistogramMetricFamily(
            "hopscope_relay_seconds", "Time inside the sidecar, from before recv until after send."
        )
        relay.add_metric([], *_buckets(RELAY_BOUNDS, self._relay.times), self._relay.times_sum)
        yield relay
        yield _counter(
            "hopscope_twilio_streams",
            "Twilio streams by how their messages are read; the others count those that are.",
            ["media_read"],
            (([read], totals.streams[read]) for read in MEDIA_READS),
        )
        yield _counter(
            "hopscope_twilio_media_frames",
            "Media messages by the end that sent them.",
            ["sender"],
            (([sender], totals.media_frames[sender]) for sender in SENDERS),
        )
        yield _counter(
            "hopscope_twilio_marks",
            "Marks that gateways sent, and those of them that Twilio echoed.",
            ["state"],
            (([state], totals.marks[state]) for state in ("sent", "echoed")),
        )
        yield _counter(
            "hopscope_twilio_sequence_gaps",
            "Messages of a Twilio stream that were not the next of its numbering.",
            [],
            [([], totals.sequence_gaps)],
        )
        yield _counter(
            "hopscope_twilio_playout_underruns",
            "Times that a gateway's audio ran dry within an utterance.",
            [],
            [([], totals.underruns)],
        )

    def _code_label(self, code: int | None) -> str:
        if code is None:
            return "none"
        if code not in self._close_codes and len(self._close_codes) >= CLOSE_CODES_LIMIT:
            return "other"
        self._close_codes.add(code)
        return str(code)


def _counter(
    name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[list[str], int]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in samples:
        family.add_metric(values, count)
    return family


def _buckets(bounds: Sequence[float], counts: list[int]) -> tuple[list[tuple[str, float]]]:
    """Prometheus' cumulative buckets, as the one argument that add_metric takes."""
    names = [str(float(bound)) for bound in bounds] + ["+Inf"]
    return (list(zip(names, (float(count) for count in accumulate(counts)), strict=True)),)
