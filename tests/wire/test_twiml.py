"""TwiML on its way through: never held up, read as far as it is worth it, and what came of it."""

import gzip
import time

import pytest

from peers import UPGRADE, RawSocket, RawUpstream, RunningSidecar, StartSidecar
from wire.twilio_requests import CALL_SID, URL, ask, fetch_twiml, form_post, twiml

LATE_S = 0.2


def promised(sidecar: RunningSidecar) -> int:
    return int(sidecar.call(lambda: len(sidecar.sidecar.promises)))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams are late after a fifth of a second."""
    monkeypatch.setattr("proxy.promises.ARRIVAL_S", LATE_S)


@pytest.mark.usefixtures("hasty")
def test_a_stream_that_nobody_asks_for_is_told_though_nothing_else_happens(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml(URL + "?token=s3cret"))
    missing = sidecar.event("stream_never_arrived")
    assert missing["exchange"] == sidecar.event("request")["id"]
    assert missing["call_sid"] == sidecar.event("request")["call_sid"] == CALL_SID
    assert missing["url"] == URL + "?token=[hidden]"
    assert missing["because"] == ["has_query"]
    assert missing["waited_s"] >= LATE_S
    metrics = sidecar.sidecar.metrics.registry
    assert metrics.get_sample_value("hopscope_streams_never_arrived_total") == 1


def test_an_upgrade_keeps_the_promise_and_learns_its_call(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml())
    sidecar.upgrade(upstream)
    assert sidecar.event("handshake")["call_sid"] == CALL_SID
    assert promised(sidecar) == 0


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_the_first_part_of_a_document_is_passed_on_before_the_second_comes(
    is_chunked: bool, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    document = twiml()
    parts = [document[:30], document[30:]]
    framing = f"Content-Length: {len(document)}"
    if is_chunked:
        parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
        parts[1] += b"0\r\n\r\n"
        framing = "Transfer-Encoding: chunked"
    client, server = ask(sidecar, upstream, form_post("/voice/webhook"))
    server.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n{framing}\r\n\r\n".encode())
    client.receive_head()
    for part in parts:
        server.send(part)
        assert client.receive(len(part)) == part
    sidecar.event("request")
    assert promised(sidecar) == 1


def padded(size: int) -> bytes:
    document = twiml()
    return document.replace(b"<Connect>", b" " * (size - len(document)) + b"<Connect>")


@pytest.mark.parametrize(("size", "promises"), [(65_536, 1), (65_537, 0)])
def test_a_document_longer_than_twilio_accepts_passes_unread(
    size: int, promises: int, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, padded(size))
    assert promised(sidecar) == promises


@pytest.mark.parametrize(
    ("fields", "document", "promises"),
    [
        pytest.param("Content-Type: Application/XML; charset=utf-8", twiml(), 1, id="xml"),
        pytest.param("Content-Type: text/html", twiml(), 0, id="another type"),
        pytest.param(
            "Content-Type: text/xml\r\nContent-Encoding: gzip", gzip.compress(twiml()), 1, id="gzip"
        ),
        pytest.param(
            "Content-Type: text/xml\r\nContent-Encoding: br", twiml(), 0, id="another coding"
        ),
    ],
)
def test_what_is_read_is_xml_in_a_known_coding(
    fields: str, document: bytes, promises: int, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, document, fields=fields)
    assert promised(sidecar) == promises


def test_an_error_promises_nothing(sidecar: RunningSidecar, upstream: RawUpstream) -> None:
    fetch_twiml(sidecar, upstream, twiml(), status="500 Oops")
    assert promised(sidecar) == 0


def test_a_webhook_may_be_fetched_by_get(sidecar: RunningSidecar, upstream: RawUpstream) -> None:
    request = f"GET /voice/webhook?CallSid={CALL_SID} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    fetch_twiml(sidecar, upstream, twiml(), request=request)
    sidecar.upgrade(upstream)
    assert sidecar.event("handshake")["call_sid"] == CALL_SID


def answer(server: RawSocket, client: RawSocket, status: str = "200 OK") -> None:
    server.send(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    client.receive_head()
    client.close()


LOST = UPGRADE.replace(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("request_head", "because", "arrived"),
    [
        pytest.param(LOST, "arrived_without_upgrade", "/voice/stream", id="lost its Upgrade"),
        pytest.param(
            UPGRADE.replace(b"/voice/stream", b"/media"), "arrived_elsewhere", "/media", id="path"
        ),
        pytest.param(
            b"GET /voice/stream HTTP/1.1\r\nHost: a\r\n\r\n",
            "arrived_without_upgrade",
            "/voice/stream",
            id="lost everything",
        ),
        pytest.param(
            b"GET /voice/stream?CallSid=CA9 HTTP/1.1\r\nHost: a\r\n"
            b"I-Twilio-Idempotency-Token: 1\r\n\r\n",
            "unknown",
            None,
            id="a webhook of the same path",
        ),
    ],
)
def test_what_came_instead_of_the_stream_is_told(
    request_head: bytes,
    because: str,
    arrived: str | None,
    sidecar: RunningSidecar,
    upstream: RawUpstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.promises.ARRIVAL_S", 60.0)
    fetch_twiml(sidecar, upstream, twiml())
    client, server = ask(sidecar, upstream, request_head)
    answer(server, client, "404 Not Found")
    monkeypatch.setattr("proxy.promises.ARRIVAL_S", LATE_S)
    missing = sidecar.event("stream_never_arrived")
    assert (missing["because"], missing["arrived"]) == ([because], arrived)
    if request_head is LOST:
        assert sidecar.event("handshake", outcome="not_an_upgrade")["call_sid"] == CALL_SID


@pytest.mark.usefixtures("hasty")
def test_a_path_that_no_route_takes_is_told(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "webhook", "path": "/voice/webhook", "upstream": upstream.url}
    sidecar = start_sidecar(upstream=None, route=[route])
    fetch_twiml(sidecar, upstream, twiml("wss://other.example.com/voice/stream"))
    missing = sidecar.event("stream_never_arrived")
    assert missing["because"] == ["host_elsewhere", "path_not_routed_here"]
    assert missing["webhook_hosts"] == ["voice.example.com"]


def test_a_stream_of_the_same_call_on_another_path_has_arrived(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml())
    client, _ = sidecar.upgrade(upstream, UPGRADE.replace(b"/voice/stream", b"/rewritten"))
    start = f'{{"event":"start","start":{{"callSid":"{CALL_SID}"}}}}'.encode()
    assert promised(sidecar) == 1
    for message in (b'{"event":"connected"}', start):
        client.send(bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message)
    sidecar.wait_until(lambda: promised(sidecar) == 0, "the promise to be kept")


def test_an_armed_probe_neither_makes_nor_keeps_a_promise(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    probe_id = sidecar.call(lambda: sidecar.sidecar.probes.arm(time.monotonic()))
    assert probe_id is not None
    probe = f"X-Hopscope-Probe: {probe_id}\r\n\r\n".encode()
    request = form_post("/voice/webhook").replace(b"\r\n\r\n", b"\r\n" + probe)
    fetch_twiml(sidecar, upstream, twiml(), request=request)
    assert promised(sidecar) == 0
    fetch_twiml(sidecar, upstream, twiml())
    sidecar.upgrade(upstream, UPGRADE.replace(b"\r\n\r\n", b"\r\n" + probe))
    assert promised(sidecar) == 1


@pytest.mark.parametrize(
    ("before", "left"),
    [
        pytest.param("<Say>Welcome to a greeting.</Say><Pause length='9'/>", 0, id="greeting"),
        pytest.param("", 1, id="stream at once"),
    ],
)
def test_a_call_that_ends_while_it_is_greeted_is_nobodys_failure(
    before: str, left: int, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml(before=before))
    over = form_post("/voice/status", f"CallSid={CALL_SID}&CallStatus=completed")
    client, server = ask(sidecar, upstream, over)
    answer(server, client)
    sidecar.wait_until(lambda: len(sidecar.events) >= 3, "the status callback")
    assert promised(sidecar) == left


def test_an_error_that_twilio_reports_of_a_stream_is_told_at_once(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml())
    event = "StreamEvent=stream-error&StreamError=31920+-+Handshake"
    request = form_post("/voice/stream-status", f"CallSid={CALL_SID}&{event}")
    client, server = ask(sidecar, upstream, request)
    answer(server, client)
    missing = sidecar.event("stream_never_arrived")
    assert (missing["because"], missing["twilio_error"]) == (["stream_error"], 31920)
