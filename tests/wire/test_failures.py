"""An upstream that fails in each of its ways: 503 with a reason and an id, an event each."""

import json
import socket
from contextlib import closing

import pytest

from peers import SWITCH, UPGRADE, RawUpstream, RunningSidecar, StartSidecar

GET = b"GET /voice/webhook HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = {"handshake": UPGRADE, "request": GET}


def _refused_503(sidecar: RunningSidecar, request: bytes, error: str) -> str:
    """Send a request that fails; check the 503 against the event, and give its reason."""
    with sidecar.connect() as client:
        client.send(request)
        head, _, body = client.receive_all().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"\r\nProxy-Status: hopscope; error={error};".encode() in head
    told = json.loads(body)
    [event] = [event for event in sidecar.events if event.get("id") == told["id"]]
    assert (event["status"], event["error"], event["reason"]) == (503, error, told["reason"])
    return str(event["outcome"])


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
class TestUpstream:
    def test_nothing_listens(self, request_bytes: bytes, start_sidecar: StartSidecar) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as bound:
            port = bound.getsockname()[1]
        sidecar = start_sidecar(upstream=f"http://127.0.0.1:{port}")
        assert _refused_503(sidecar, request_bytes, "connection_refused") == "unreachable"

    def test_the_unix_socket_is_missing(
        self, request_bytes: bytes, start_sidecar: StartSidecar
    ) -> None:
        sidecar = start_sidecar(upstream="unix:/nonexistent/gateway.sock")
        assert _refused_503(sidecar, request_bytes, "destination_unavailable") == "unreachable"

    def test_the_name_does_not_resolve(
        self, request_bytes: bytes, start_sidecar: StartSidecar
    ) -> None:
        sidecar = start_sidecar(upstream="http://gateway.invalid:80")
        assert _refused_503(sidecar, request_bytes, "dns_error") == "unreachable"

    def test_the_connection_is_not_accepted_in_time(
        self, request_bytes: bytes, start_sidecar: StartSidecar
    ) -> None:
        with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full:
            address = full.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            url = f"http://127.0.0.1:{address[1]}"
            route = {"name": "slow", "upstream": url, "connect_seconds": 0.3}
            sidecar = start_sidecar(upstream=None, route=[route])
            assert _refused_503(sidecar, request_bytes, "connection_timeout") == "timeout"
            for filler in fillers:
                filler.close()

    def test_it_accepts_and_never_answers(
        self, request_bytes: bytes, start_sidecar: StartSidecar, upstream: RawUpstream
    ) -> None:
        seconds = {"handshake_seconds": 0.3, "response_seconds": 0.3}
        route = {"name": "mute", "upstream": upstream.url} | seconds
        sidecar = start_sidecar(upstream=None, route=[route])
        assert _refused_503(sidecar, request_bytes, "http_response_timeout") == "timeout"
        assert upstream.accept().receive_head() == request_bytes

    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_it_closes_without_an_answer(
        self, how: str, request_bytes: bytes, sidecar: RunningSidecar, upstream: RawUpstream
    ) -> None:
        with sidecar.connect() as client:
            client.send(request_bytes)
            server = upstream.accept()
            server.receive_head()
            getattr(server, how)()
            head = client.receive_head()
        assert b"HTTP/1.1 503 " in head
        assert b"error=connection_terminated" in head
        [event] = [event for event in sidecar.events if "outcome" in event]
        assert event["outcome"] == "upstream_closed"

    def test_it_closes_within_its_head(
        self, request_bytes: bytes, sidecar: RunningSidecar, upstream: RawUpstream
    ) -> None:
        with sidecar.connect() as client:
            client.send(request_bytes)
            server = upstream.accept()
            server.receive_head()
            server.send(b"HTTP/1.1 101 Swi")
            server.close()
            assert b"error=http_response_incomplete" in client.receive_head()
        [event] = [event for event in sidecar.events if "outcome" in event]
        assert (event["outcome"], event["status"]) == ("upstream_closed", 503)

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (b"\x15\x03\x03\x00\x02\x02\x16", "speaks TLS"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
            (b"HTTP/2 200\r\n\r\n", "HTTP/2"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "status line"),
            (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare LF"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000, "longer than"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "both Content-Length",
            ),
            (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20, "interim"),
        ],
        ids=["tls", "ssh", "h2", "status", "bare LF", "too long", "ambiguous", "interim"],
    )
    def test_its_answer_is_not_http(
        self,
        answer: bytes,
        reason: str,
        request_bytes: bytes,
        sidecar: RunningSidecar,
        upstream: RawUpstream,
    ) -> None:
        with sidecar.connect() as client:
            client.send(request_bytes)
            server = upstream.accept()
            server.receive_head()
            server.send(answer)
            received = client.receive_all()
        assert b"HTTP/1.1 503 " in received
        assert b"error=http_protocol_error" in received
        [event] = [event for event in sidecar.events if "outcome" in event]
        assert event["outcome"] == "malformed"
        assert reason in event["reason"]

    @pytest.mark.parametrize(
        "framing",
        [b"Content-Length: 100", b"Transfer-Encoding: chunked"],
        ids=["length", "chunked"],
    )
    def test_it_closes_within_its_body(
        self, framing: bytes, request_bytes: bytes, sidecar: RunningSidecar, upstream: RawUpstream
    ) -> None:
        with sidecar.connect() as client:
            client.send(request_bytes)
            server = upstream.accept()
            server.receive_head()
            server.send(b"HTTP/1.1 404 Not Found\r\n" + framing + b"\r\n\r\n1\r\na\r\n")
            client.receive_head()
            server.close()
            assert client.receive_all() == b"1\r\na\r\n"  # and then the end, which tells it is cut
        [event] = [event for event in sidecar.events if "outcome" in event]
        assert (event["error"], event["status"]) == ("http_response_incomplete", 404)


def test_a_refusal_of_the_gateway_passes_with_its_own_status_and_body(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(UPGRADE)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope")
        head = client.receive_head()
        assert client.receive(4) == b"nope"
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"received-status=401" in head
    event = sidecar.event("handshake")
    assert (event["outcome"], event["status"], event["error"]) == ("refused", 401, None)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_before_the_answer_is_recorded_and_the_upstream_let_go(
    how: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client = sidecar.connect()
    client.send(UPGRADE)
    server = upstream.accept()
    server.receive_head()
    getattr(client, how)()
    assert server.receive_all() == b""
    event = sidecar.event("handshake")
    assert (event["outcome"], event["status"]) == ("client_left", None)


def test_a_client_whose_eof_precedes_the_101_is_still_served_as_half_closed(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(UPGRADE + b"\x81\x03all")
        client.half_close()
        server = upstream.accept()
        server.receive_head()
        server.send(SWITCH)
        assert server.receive_all() == b"\x81\x03all"
        server.send(b"\x81\x02ok")
        client.receive_head()
        assert client.receive(4) == b"\x81\x02ok"


def test_every_open_socket_is_closed_in_the_end(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    for _ in range(5):
        client, server = sidecar.upgrade(upstream)
        client.close()
        server.close()
    sidecar.wait_until(lambda: not sidecar.sidecar.occupied, "the end of all connections")
    sidecar.wait_until(lambda: not sidecar.sidecar.occupancy.total, "free places")

    def sessions() -> int:
        return len([event for event in sidecar.events if event["event"] == "session"])

    sidecar.wait_until(lambda: sessions() >= 5, "the end of all sessions")
    assert sessions() == 5
