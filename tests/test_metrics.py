"""The metrics as Prometheus reads them: names, labels, histograms, and who is counted when."""

import json
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from websockets.frames import Frame, Opcode

from proxy.exchange import Exchange
from proxy.frames import GAP_BOUNDS, SIZE_BOUNDS
from proxy.http1 import parse_request_head, parse_response_head
from proxy.media import Sampling
from proxy.metrics import CLOSE_CODES_LIMIT, Metrics
from proxy.relay import RELAY_BOUNDS, Relay
from proxy.session import Session

# What the dashboard and the alert rules are written against, with its labels.
NAMES = {
    "hopscope_handshakes_total": {"route", "ingress", "outcome", "status"},
    "hopscope_handshake_seconds_bucket": {"phase", "le"},
    "hopscope_sessions_active": set(),
    "hopscope_session_seconds_bucket": {"le"},
    "hopscope_frames_total": {"route", "sender", "opcode"},
    "hopscope_frame_payload_bytes_total": {"route", "sender"},
    "hopscope_frame_payload_bytes_bucket": {"le"},
    "hopscope_frame_gap_seconds_bucket": {"sender", "le"},
    "hopscope_relay_seconds_bucket": {"le"},
    "hopscope_closes_total": {"sender", "code", "ending"},
    "hopscope_twilio_streams_total": {"media_read"},
    "hopscope_twilio_media_frames_total": {"sender"},
    "hopscope_twilio_marks_total": {"state"},
    "hopscope_twilio_sequence_gaps_total": set(),
    "hopscope_twilio_media_jitter_seconds_bucket": {"le"},
    "hopscope_twilio_playout_underruns_total": set(),
    "hopscope_streams_never_arrived_total": set(),
    "hopscope_http_requests_total": {"route", "method", "status"},
    "hopscope_http_request_seconds_bucket": {"le"},
}


class Bench:
    """Metrics on a relay that exists only as far as they look at it."""

    def __init__(self) -> None:
        self.relay = SimpleNamespace(pairs={}, times=[0] * (len(RELAY_BOUNDS) + 1), times_sum=0.0)
        self.metrics = Metrics(cast(Relay, self.relay))

    def run(self, session: Session) -> None:
        self.relay.pairs[session.id] = SimpleNamespace(session=session)

    def end(self, session: Session, now: float) -> None:
        """As the relay does it: the pair is gone before its ending is told."""
        session.end_quietly(now)
        self.relay.pairs.pop(session.id, None)
        self.metrics.session_ended(session)

    def scrape(self) -> list[Metric]:
        text = generate_latest(self.metrics.registry).decode()
        return list(text_string_to_metric_families(text))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one sample; labels that are not named may be anything, and are summed."""
        values = [
            sample.value
            for family in self.scrape()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else None

    def buckets(self, name: str, **labels: str) -> dict[str, float]:
        return {
            sample.labels["le"]: sample.value
            for family in self.scrape()
            for sample in family.samples
            if sample.name == f"{name}_bucket" and labels.items() <= sample.labels.items()
        }


@pytest.fixture
def bench() -> Bench:
    return Bench()


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, mask: bool = True) -> bytes:
    return Frame(opcode, payload).serialize(mask=mask, extensions=[])


def new_session(number: int = 1, route: str = "voice") -> Session:
    return Session(f"session {number}", route, "nginx", 0.0)


def spoken() -> Session:
    """Three frames of the client's, two of the server's, at times that add up exactly."""
    session = new_session()
    session.receive_data("client", frame(b"x" * 10), 1.0)
    session.receive_data("client", frame(b"x" * 200), 1.0625)
    session.receive_data("client", frame(b"x" * 70_000, Opcode.BINARY), 1.5625)
    session.receive_data("server", frame(b"x" * 16, mask=False), 0.25)
    session.receive_data("server", frame(b"", Opcode.PING, mask=False), 0.25)
    return session


def twilio_call(sampling: Sampling | None = None) -> Session:
    """A stream with a number missing, a late message, and audio that ran dry."""
    session = Session("session 2", "voice", "nginx", 0.0, sampling=sampling)
    messages: list[tuple[float, dict[str, Any]]] = [
        (0.0, {"event": "connected"}),
        (0.0, {"event": "start", "sequenceNumber": "1", "start": {"callSid": "CA1"}}),
        (1.0, {"event": "media", "sequenceNumber": "2", "media": {"timestamp": "0"}}),
        (1.5, {"event": "media", "sequenceNumber": "4", "media": {"timestamp": "20"}}),
    ]
    for now, message in messages:
        session.receive_data("client", frame(json.dumps(message).encode()), now)
    audio = json.dumps({"event": "media", "media": {"payload": "/" * 214 + "=="}}).encode()
    session.receive_data("server", frame(audio, mask=False), 2.0)
    session.receive_data("server", frame(audio, mask=False), 2.5)
    mark = json.dumps({"event": "mark", "mark": {"name": "a"}}).encode()
    session.receive_data("server", frame(mark, mask=False), 2.5)
    session.receive_data("server", frame(mark, mask=False), 2.5)
    session.receive_data("client", frame(mark), 2.75)
    return session


def exchange(
    request: bytes = b"GET /voice/stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    response: bytes | None = b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
) -> Exchange:
    record = Exchange("id", 0.0, "127.0.0.1", "127.0.0.1", parse_request_head(request))
    record.route, record.ingress = "voice", "nginx"
    record.phases = {"head": 1.0, "connect": 2.0, "response": 20.0, "total": 30.0}
    if response is not None:
        record.answer(parse_response_head(response))
    return record


def test_every_promised_name_is_there_with_its_labels(bench: Bench) -> None:
    bench.metrics.exchange_ended(exchange())
    webhook = b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n\r\n"
    bench.metrics.exchange_ended(exchange(webhook, b"HTTP/1.1 200 OK\r\n\r\n"))
    bench.end(spoken(), 2.0)
    bench.run(twilio_call())
    seen: dict[str, set[str]] = {}
    for family in bench.scrape():
        for sample in family.samples:
            seen.setdefault(sample.name, set()).update(sample.labels)
    assert {name: seen.get(name) for name in NAMES} == NAMES


def test_a_fresh_sidecar_tells_zeros_rather_than_nothing(bench: Bench) -> None:
    assert bench.value("hopscope_sessions_active") == 0
    assert bench.value("hopscope_twilio_sequence_gaps_total") == 0
    assert bench.value("hopscope_streams_never_arrived_total") == 0
    assert bench.value("hopscope_relay_seconds_count") == 0
    assert bench.value("hopscope_frame_gap_seconds_count", sender="server") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="process metrics come from /proc")
def test_the_process_is_measured_too(bench: Bench) -> None:
    assert bench.value("process_resident_memory_bytes")
    assert bench.value("process_open_fds")


def test_an_upgrade_is_counted_by_route_ingress_outcome_and_status(bench: Bench) -> None:
    bench.metrics.exchange_ended(exchange())
    bench.metrics.exchange_ended(exchange(response=b"HTTP/1.1 403 Forbidden\r\n\r\n"))
    labels = {"route": "voice", "ingress": "nginx"}
    name = "hopscope_handshakes_total"
    assert bench.value(name, **labels, outcome="upgraded", status="101") == 1
    assert bench.value(name, **labels, outcome="refused", status="403") == 1
    assert bench.value("hopscope_http_requests_total") is None
    assert bench.value("hopscope_handshake_seconds_count", phase="connect") == 2
    assert bench.value("hopscope_handshake_seconds_sum", phase="connect") == pytest.approx(0.004)
    assert bench.buckets("hopscope_handshake_seconds", phase="total")["0.025"] == 0
    assert bench.buckets("hopscope_handshake_seconds", phase="total")["0.05"] == 2


def test_an_exchange_without_route_and_status_says_none(bench: Bench) -> None:
    record = exchange(response=None)
    record.route = None
    record.fail("client_left", None, "it left", None)
    bench.metrics.exchange_ended(record)
    labels = {"route": "none", "outcome": "client_left", "status": "none"}
    assert bench.value("hopscope_handshakes_total", **labels) == 1


@pytest.mark.parametrize(
    ("method", "label"), [("POST", "POST"), ("BREW", "other"), ("get", "other")]
)
def test_a_caller_cannot_make_up_method_labels(bench: Bench, method: str, label: str) -> None:
    request = f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    bench.metrics.exchange_ended(exchange(request, b"HTTP/1.1 200 OK\r\n\r\n"))
    labels = {"route": "voice", "method": label, "status": "200"}
    assert bench.value("hopscope_http_requests_total", **labels) == 1
    assert bench.value("hopscope_http_request_seconds_sum") == pytest.approx(0.03)


def test_frames_and_bytes_are_counted_by_sender_and_opcode(bench: Bench) -> None:
    session = spoken()
    session.receive_data("server", b"\x83\x00", 0.25)
    bench.run(session)
    frames = {
        (sample.labels["sender"], sample.labels["opcode"]): sample.value
        for family in bench.scrape()
        for sample in family.samples
        if sample.name == "hopscope_frames_total"
    }
    assert frames == {
        ("client", "text"): 2,
        ("client", "binary"): 1,
        ("server", "text"): 1,
        ("server", "ping"): 1,
        ("server", "reserved_3"): 1,
    }
    name = "hopscope_frame_payload_bytes_total"
    assert bench.value(name, route="voice", sender="client") == 70_210
    assert bench.value(name, route="voice", sender="server") == 16


def test_sizes_are_a_cumulative_histogram_with_its_sum(bench: Bench) -> None:
    bench.run(spoken())
    buckets = bench.buckets("hopscope_frame_payload_bytes")
    assert list(buckets) == [str(float(bound)) for bound in SIZE_BOUNDS] + ["+Inf"]
    assert {bound: buckets[bound] for bound in ("16.0", "125.0", "256.0", "65536.0")} == {
        "16.0": 3,  # 0, 10 and, as a bound is inclusive, 16
        "125.0": 3,
        "256.0": 4,
        "65536.0": 4,
    }
    assert buckets["262144.0"] == buckets["+Inf"] == 5
    assert bench.value("hopscope_frame_payload_bytes_count") == 5
    assert bench.value("hopscope_frame_payload_bytes_sum") == 70_226


def test_gaps_are_a_histogram_for_each_sender_and_add_up(bench: Bench) -> None:
    bench.run(spoken())
    client = bench.buckets("hopscope_frame_gap_seconds", sender="client")
    assert list(client) == [str(float(bound)) for bound in GAP_BOUNDS] + ["+Inf"]
    # 1 s after the 101, then 62.5 ms, then 0.5 s
    assert [client[bound] for bound in ("0.06", "0.1", "0.2", "0.5", "1.0")] == [0, 1, 1, 2, 3]
    assert bench.value("hopscope_frame_gap_seconds_sum", sender="client") == 1.5625
    assert bench.value("hopscope_frame_gap_seconds_count", sender="client") == 3
    server = bench.buckets("hopscope_frame_gap_seconds", sender="server")
    assert [server[bound] for bound in ("0.001", "0.2", "0.5")] == [1, 1, 2]
    assert bench.value("hopscope_frame_gap_seconds_sum", sender="server") == 0.25


def test_relay_times_are_a_histogram_of_what_the_relay_counted(bench: Bench) -> None:
    bench.relay.times[0], bench.relay.times[2], bench.relay.times[-1] = 5, 3, 1
    bench.relay.times_sum = 4.5
    buckets = bench.buckets("hopscope_relay_seconds")
    assert list(buckets.values()) == [5, 5] + [8] * 10 + [9]
    assert [float(bound) for bound in buckets][:-1] == list(RELAY_BOUNDS)
    assert bench.value("hopscope_relay_seconds_sum") == 4.5
    assert bench.value("hopscope_relay_seconds_count") == 9


def test_running_sessions_count_live_and_not_again_once_they_ended(bench: Bench) -> None:
    def told() -> tuple[float | None, ...]:
        return (
            bench.value("hopscope_frames_total"),
            bench.value("hopscope_frame_payload_bytes_sum"),
            bench.value("hopscope_frame_gap_seconds_sum"),
            bench.value("hopscope_twilio_streams_total"),
            bench.value("hopscope_twilio_media_frames_total"),
            bench.value("hopscope_twilio_marks_total"),
            bench.value("hopscope_twilio_sequence_gaps_total"),
            bench.value("hopscope_twilio_playout_underruns_total"),
        )

    first, second = spoken(), twilio_call()
    bench.run(first)
    bench.run(second)
    assert bench.value("hopscope_sessions_active") == 2
    live = told()
    assert live[0] == 14
    assert told() == live
    bench.end(first, 2.0)
    assert bench.value("hopscope_sessions_active") == 1
    assert told() == live
    bench.end(second, 3.0)
    assert bench.value("hopscope_sessions_active") == 0
    assert told() == live
    assert bench.value("hopscope_session_seconds_count") == 2
    assert bench.value("hopscope_session_seconds_sum") == 5.0


def test_counters_never_fall(bench: Bench) -> None:
    session = new_session()
    bench.run(session)
    before = 0.0
    for step in range(1, 6):
        session.receive_data("client", frame(b"x"), float(step))
        if step == 3:
            bench.end(session, 3.0)
            session = new_session(2)
            bench.run(session)
        now = bench.value("hopscope_frames_total", sender="client")
        assert now is not None
        assert now == before + 1
        before = now


def test_a_call_tells_its_gaps_underruns_and_at_its_end_its_jitter(bench: Bench) -> None:
    call = twilio_call()
    bench.run(call)
    assert bench.value("hopscope_twilio_sequence_gaps_total") == 1
    assert bench.value("hopscope_twilio_playout_underruns_total") == 1
    assert bench.value("hopscope_twilio_media_frames_total", sender="client") == 2
    assert bench.value("hopscope_twilio_media_frames_total", sender="server") == 2
    assert bench.value("hopscope_twilio_marks_total", state="sent") == 2
    assert bench.value("hopscope_twilio_marks_total", state="echoed") == 1
    assert bench.value("hopscope_twilio_streams_total", media_read="every") == 1
    assert bench.value("hopscope_twilio_media_jitter_seconds_count") == 0
    bench.end(call, 3.0)
    # Half a second between two messages that are 20 ms apart, smoothed by a sixteenth.
    assert bench.value("hopscope_twilio_media_jitter_seconds_sum") == pytest.approx(0.48 / 16)
    bench.end(spoken(), 2.0)
    assert bench.value("hopscope_twilio_media_jitter_seconds_count") == 1


def test_a_stream_that_is_not_read_is_counted_as_such_and_adds_nothing(bench: Bench) -> None:
    sampling = Sampling("sampled", 2)
    for _ in range(2):
        bench.end(twilio_call(sampling), 3.0)
    for read in ("sampled", "skipped"):
        assert bench.value("hopscope_twilio_streams_total", media_read=read) == 1
    assert bench.value("hopscope_twilio_streams_total", media_read="off") == 0
    assert bench.value("hopscope_twilio_media_frames_total") == 4
    assert bench.value("hopscope_twilio_media_jitter_seconds_count") == 1


@pytest.mark.parametrize(
    ("closes", "labels"),
    [
        pytest.param([], {"sender": "none", "code": "none"}, id="no Close"),
        pytest.param(
            [("server", b"\x03\xe9"), ("client", b"\x03\xe8")],
            {"sender": "server", "code": "1001"},
            id="the first of two",
        ),
        pytest.param([("client", b"")], {"sender": "client", "code": "none"}, id="without code"),
    ],
)
def test_an_ending_is_counted_by_the_first_close(
    bench: Bench, closes: list[tuple[Any, bytes]], labels: dict[str, str]
) -> None:
    session = new_session()
    for sender, payload in closes:
        data = frame(payload, Opcode.CLOSE, mask=sender == "client")
        session.receive_data(sender, data, 1.0)
    bench.end(session, 2.0)
    ending = "close_handshake" if closes else "eof_without_close"
    assert bench.value("hopscope_closes_total", **labels, ending=ending) == 1


def test_a_caller_cannot_make_up_close_codes_without_end(bench: Bench) -> None:
    for number in range(CLOSE_CODES_LIMIT + 20):
        session = new_session(number)
        close = frame((3000 + number).to_bytes(2, "big"), Opcode.CLOSE)
        session.receive_data("client", close, 1.0)
        bench.end(session, 2.0)
    codes = {
        sample.labels["code"]
        for family in bench.scrape()
        for sample in family.samples
        if sample.name == "hopscope_closes_total"
    }
    assert len(codes) == CLOSE_CODES_LIMIT + 1
    assert bench.value("hopscope_closes_total", code="other") == 20
    assert bench.value("hopscope_closes_total", code="3000") == 1
