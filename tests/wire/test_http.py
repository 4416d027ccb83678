"""The sidecar as a reverse proxy: heads pass as received, bodies stream, connections are kept."""

import pytest

from peers import KEY, SWITCH, UPGRADE, RawUpstream, RunningSidecar, StartSidecar

GET = (
    b"GET /voice/a%2Fb//c;d?x=%zz&token=1;2 HTTP/1.1\r\nhOsT: a\r\nX-B:  two \r\nx-A:\tone\r\n\r\n"
)


def _stamp_removed(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    stamps = [line for line in lines if line.startswith(b"Proxy-Status: hopscope; ")]
    assert len(stamps) == 1
    return b"\r\n".join(line for line in lines if line not in stamps)


def test_the_head_passes_byte_by_byte_and_the_response_gains_only_the_stamp(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    response = b"HTTP/1.1 200 Fine, thanks\r\nx-Odd:   case\r\nContent-LENGTH: 2\r\n\r\n"
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        assert server.receive_head() == GET
        server.send(response + b"ok")
        head = client.receive_head()
        assert _stamp_removed(head) == response
        assert b"received-status=200" in head
        assert client.receive(2) == b"ok"
    event = sidecar.event("request", outcome="answered")
    assert event["target"] == "/voice/a%2Fb//c;d?x=[hidden]&token=[hidden]"


def test_an_existing_proxy_status_stays_in_front_of_ours(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        server.receive_head()
        server.send(
            b"HTTP/1.1 502 Bad\r\nProxy-Status: inner; error=x\r\nContent-Length: 0\r\n\r\n"
        )
        head = client.receive_head()
    assert head.index(b"Proxy-Status: inner") < head.index(b"Proxy-Status: hopscope")
    assert b"received-status=502" in head


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n"
        ),
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["204", "304 with a length", "length", "chunked with trailers", "no reason phrase"],
)
def test_a_kept_alive_connection_carries_request_after_request(
    response: bytes, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    body = response.partition(b"\r\n\r\n")[2]
    with sidecar.connect() as client:
        for _ in range(3):
            client.send(GET)
            server = upstream.accept()
            assert server.receive_head() == GET
            server.send(response)
            head = client.receive_head()
            assert _stamp_removed(head) + body == response
            assert client.receive(len(body)) == body


def test_head_has_no_body_whatever_its_length_says(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            server = upstream.accept()
            server.receive_head()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            assert b"Content-Length: 1000" in client.receive_head()


def test_pipelined_requests_are_answered_in_order(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(4)))
        for number in range(4):
            server = upstream.accept()
            assert server.receive_head().startswith(b"GET /%d " % number)
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        for number in range(4):
            client.receive_head()
            assert client.receive(1) == b"%d" % number


def test_an_upgrade_may_be_the_second_request_of_a_connection(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(GET)
        first = upstream.accept()
        first.receive_head()
        first.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        client.receive_head()
        client.send(UPGRADE)
        second = upstream.accept()
        assert second.receive_head() == UPGRADE
        second.send(SWITCH)
        assert _stamp_removed(client.receive_head()) == SWITCH
        client.send(b"\x81\x02hi")
        assert second.receive(4) == b"\x81\x02hi"
    assert sidecar.event("handshake")["outcome"] == "upgraded"


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_bodies_stream_in_both_directions_without_being_held(
    is_chunked: bool, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 3000000"
    piece = b"x" * 1000
    piece = b"3e8\r\n" + piece + b"\r\n" if is_chunked else piece
    with sidecar.connect() as client:
        client.send(b"POST /up HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        if is_chunked:
            client.send(piece)
        server = upstream.accept()
        server.receive_head()
        for number in range(3000):
            if number or not is_chunked:
                client.send(piece)
            if number % 500 == 0:  # it is on the other side long before the body ends
                assert server.receive(len(piece)) == piece
                server.receive(0)
        rest = 3000 - 6
        assert server.receive(rest * len(piece)) == piece * rest
        if is_chunked:
            client.send(b"0\r\n\r\n")
            assert server.receive(5) == b"0\r\n\r\n"
        server.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + piece)
        client.receive_head()
        assert client.receive(len(piece)) == piece
        for _ in range(2999):
            server.send(piece)
        assert client.receive(2999 * len(piece)) == piece * 2999
        if is_chunked:
            server.send(b"0\r\n\r\n")
            assert client.receive(5) == b"0\r\n\r\n"
    event = sidecar.event("request")
    assert event["received_bytes"] == event["sent_bytes"] == 3000 * len(piece) + 5 * is_chunked


def test_100_continue_is_asked_for_and_passed_on(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        server = upstream.accept()
        assert b"Expect: 100-continue" in server.receive_head()
        server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.receive_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"body")
        assert server.receive(4) == b"body"
        server.send(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.receive_head().startswith(b"HTTP/1.1 103 ")
        assert client.receive_head().startswith(b"HTTP/1.1 200 ")


def test_a_refusal_before_the_body_arrives_and_ends_the_connection(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert client.receive_head().startswith(b"HTTP/1.1 413 ")
        assert client.receive_all() == b"no"


def test_http_1_0_is_answered_and_closed(sidecar: RunningSidecar, upstream: RawUpstream) -> None:
    with sidecar.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        server = upstream.accept()
        assert server.receive_head() == b"GET / HTTP/1.0\r\n\r\n"
        server.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        server.close()
        client.receive_head()
        assert client.receive_all() == b"until the end"


def test_a_response_until_close_ends_the_client_connection_too(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        server.send(b" more")
        server.close()
        client.receive_head()
        assert client.receive_all() == b"some more"


def test_a_client_that_half_closes_after_its_request_still_gets_the_response(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(GET)
        client.half_close()
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        client.receive_head()
        assert client.receive_all() == b"ok"


def test_a_unix_socket_can_be_the_upstream(
    start_sidecar: StartSidecar, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("u") / "s")
    unix = RawUpstream(path)
    client, server = start_sidecar(upstream=f"unix:{path}").upgrade(unix)
    server.send(b"\x81\x02hi")
    assert client.receive(4) == b"\x81\x02hi"
    unix.close()


def test_a_route_gives_back_the_path_that_an_ingress_stripped(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    routes = [
        {
            "name": "stream",
            "path": "/stream",
            "add_prefix": "/voice",
            "upstream": upstream.url,
            "request_headers": {"set": {"Connection": "Upgrade"}, "remove": ["X-Drop"]},
            "response_headers": {"set": {"X-New": "1"}, "remove": ["content-encoding"]},
        }
    ]
    sidecar = start_sidecar(route=routes)
    request = (
        b"GET /stream?a=b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nX-Drop: x\r\n"
        b"Connection: close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        + KEY.encode()
        + b"\r\n\r\n"
    )
    with sidecar.connect() as client:
        client.send(request)
        server = upstream.accept()
        assert server.receive_head() == request.replace(b"/stream?", b"/voice/stream?").replace(
            b"X-Drop: x\r\n", b""
        ).replace(b"Connection: close", b"Connection: Upgrade")
        server.send(SWITCH[:-2] + b"Content-Encoding: identity\r\n\r\n")
        head = client.receive_head()
    assert b"Content-Encoding" not in head
    assert b"\r\nX-New: 1\r\n" in head
    event = sidecar.event("handshake")
    assert (event["route"], event["target"]) == ("stream", "/stream?a=[hidden]")
    assert event["forwarded_target"] == "/voice/stream?a=[hidden]"
    assert event["connection"] == "close"  # what arrived, not what was made of it


def test_the_proxy_header_names_the_client_where_it_is_expected(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(proxy_protocol=True)
    for header, client_address in [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n", "192.0.2.7"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\0\1\0\2",
            "192.0.2.8",
        ),
    ]:
        with sidecar.connect() as client:
            for byte in header:
                client.send(bytes([byte]))
            client.send(UPGRADE)
            server = upstream.accept()
            assert server.receive_head() == UPGRADE
            server.send(SWITCH)
            client.receive_head()
        assert sidecar.event("handshake", client=client_address)["outcome"] == "upgraded"
    with sidecar.connect() as client:
        client.send(UPGRADE)
        assert b"does not start with a PROXY header" in client.receive_all()
