"""edge -> the real cloudflared -> a raw socket: what a tunnel passes on, adds, and ends."""

import socket
import ssl
from collections.abc import Iterator

import pytest

from ingress.tunnels.cloudflare.required import tunnel_to
from ingress.tunnels.cloudflare.tunnel import CloudflareTunnel
from peers import PATIENCE_S, SWITCH, UPGRADE, RawSocket, RawUpstream

HELLO = b"\x81\x85\0\0\0\0hello"
# Reserved bits, a reserved opcode, a ping, an unmasked frame: all of it is the endpoints' concern.
STRANGE = b"\xf3\x03abc" + b"\x89\x82\0\0\0\0hi" + b"\x82\x7e\x01\x00" + bytes(range(256))


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    listening = RawUpstream()
    yield listening
    listening.close()


@pytest.fixture(scope="module", params=["http2", "quic"])
def tunnel(request: pytest.FixtureRequest, upstream: RawUpstream) -> Iterator[CloudflareTunnel]:
    port = int(upstream.url.rpartition(":")[2])
    with tunnel_to(port, protocol=request.param) as running:
        running.wait_until_connected()
        yield running


def dial(tunnel: CloudflareTunnel) -> RawSocket:
    sock = socket.create_connection(("127.0.0.1", tunnel.port), PATIENCE_S)
    context = ssl.create_default_context(cafile=tunnel.ca)
    return RawSocket(context.wrap_socket(sock, server_hostname=tunnel.host))


@pytest.fixture
def ends(tunnel: CloudflareTunnel, upstream: RawUpstream) -> Iterator[tuple[RawSocket, RawSocket]]:
    """A caller and an origin, with an open stream between them."""
    with dial(tunnel) as caller:
        caller.send(UPGRADE)
        with upstream.accept() as origin:
            origin.receive_head()
            origin.send(SWITCH)
            assert caller.receive_head().startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            yield caller, origin


Ends = tuple[RawSocket, RawSocket]


def fields_of(head: bytes) -> dict[str, str]:
    lines = head.decode().split("\r\n")[1:-2]
    return dict(line.split(": ", 1) for line in lines)


def test_an_upgrade_arrives_whole_in_gos_spelling_with_fields_of_edge_and_connector(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    with dial(tunnel) as caller:
        caller.send(UPGRADE.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n"))
        with upstream.accept() as origin:
            head = origin.receive_head()
            origin.send(SWITCH)
            answer = caller.receive_head()
    assert head.startswith(b"GET /voice/stream HTTP/1.1\r\nHost: voice.example.com\r\n")
    fields = fields_of(head)
    link = tunnel.edge.live
    assert link is not None
    assert fields.pop("Cf-Ray").endswith("-LAB")
    assert fields == {
        "Host": "voice.example.com",
        "User-Agent": "Twilio.TmeWs/1.0",
        "Cdn-Loop": "cloudflare; loops=1",
        "Cf-Connecting-Ip": "203.0.113.7",
        "Cf-Ipcountry": "XX",
        "Cf-Visitor": '{"scheme":"https"}',
        "Cf-Warp-Tag-Id": link.registration["connector"],
        "Connection": "Upgrade",
        "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-Websocket-Version": "13",
        "Upgrade": "websocket",
        "X-Forwarded-For": "198.51.100.9, 203.0.113.7",
        "X-Forwarded-Proto": "https",
        "Accept-Encoding": "gzip",
    }
    switched = fields_of(answer)
    assert switched["Server"] == "cloudflare"
    assert {"Upgrade", "Connection", "Sec-Websocket-Accept", "CF-RAY"} <= switched.keys()
    assert link.registration["version"] in ("2026.8.2", "DEV")  # as it was built


def test_frames_pass_byte_by_byte_both_ways_whatever_they_are(ends: Ends) -> None:
    caller, origin = ends
    caller.send(STRANGE)
    assert origin.receive(len(STRANGE)) == STRANGE
    origin.send(STRANGE)
    assert caller.receive(len(STRANGE)) == STRANGE
    much = bytes(range(256)) * 4096
    caller.send(much)
    assert origin.receive(len(much)) == much
    origin.send(much)
    assert caller.receive(len(much)) == much


def test_bytes_behind_both_heads_in_the_same_segment_arrive(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    with dial(tunnel) as caller:
        caller.send(UPGRADE + HELLO)
        with upstream.accept() as origin:
            origin.receive_head()
            origin.send(SWITCH + b"\x81\x05first")
            assert origin.receive(len(HELLO)) == HELLO
            caller.receive_head()
            assert caller.receive(7) == b"\x81\x05first"


CLOSE_4001 = b"\x88\x88\0\0\0\0\x0f\xa1enough"
CLOSE_1000 = b"\x88\x05\x03\xe8bye"


def test_a_close_frame_arrives_before_the_end_from_either_side(ends: Ends) -> None:
    caller, origin = ends
    caller.send(CLOSE_4001)
    assert origin.receive(len(CLOSE_4001)) == CLOSE_4001
    origin.send(CLOSE_1000)
    origin.half_close()
    assert caller.receive_all() == CLOSE_1000


def test_there_is_no_half_closed_stream_the_end_of_one_half_ends_the_other(ends: Ends) -> None:
    caller, origin = ends
    caller.send(HELLO)
    caller.half_close()
    assert origin.receive_all() == HELLO
    assert caller.receive_all() == b""  # and the origin has not closed


@pytest.mark.parametrize("side", ["caller", "origin"])
def test_a_reset_on_one_side_is_an_end_without_close_on_the_other(ends: Ends, side: str) -> None:
    caller, origin = ends if side == "caller" else reversed(ends)
    caller.reset()
    assert origin.receive_all() == b""


def test_a_wrong_accept_and_an_unoffered_subprotocol_are_the_callers_to_see(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    with dial(tunnel) as caller:
        caller.send(UPGRADE)
        with upstream.accept() as origin:
            origin.receive_head()
            wrong = b"Sec-WebSocket-Accept: AAAA\r\nSec-WebSocket-Protocol: audio\r\n"
            switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            origin.send(switch + b"Connection: Upgrade\r\n" + wrong + b"\r\n")
            fields = fields_of(caller.receive_head())
    assert (fields["Sec-Websocket-Accept"], fields["Sec-Websocket-Protocol"]) == ("AAAA", "audio")


def asked(tunnel: CloudflareTunnel, upstream: RawUpstream, answer: bytes) -> tuple[bytes, bytes]:
    """What a caller gets of an origin's answer to an upgrade."""
    with dial(tunnel) as caller:
        caller.send(UPGRADE)
        with upstream.accept() as origin:
            origin.receive_head()
            origin.send(answer)
            origin.half_close()
            head = caller.receive_head()
            return head, caller.receive_all()


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "426 Upgrade Required"])
def test_a_refusal_of_the_origin_passes_with_its_fields_and_body(
    tunnel: CloudflareTunnel, upstream: RawUpstream, status: str
) -> None:
    fields = "Server: uvicorn\r\nContent-Type: text/plain\r\nX-Own: yes\r\nContent-Length: 4\r\n"
    head, body = asked(tunnel, upstream, f"HTTP/1.1 {status}\r\n{fields}\r\nnope".encode())
    told = fields_of(head)
    assert (head.split()[1].decode(), body) == (status[:3], b"nope")
    assert (told["Server"], told["X-Own"]) == ("cloudflare", "yes")
    assert tunnel.edge.replies[-1].by == "origin"


def test_503_passes_and_502_and_504_lose_their_body_to_the_edges_own(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    answer = b"HTTP/1.1 %d Whatever\r\nX-Own: yes\r\nContent-Length: 6\r\n\r\nreason"
    for status, body in ((503, b"reason"), (502, b"error code: 502"), (504, b"error code: 504")):
        head, told = asked(tunnel, upstream, answer % status)
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert (told, b"X-Own" in head) == (body, status == 503)


def test_what_cloudflared_cannot_get_is_the_edges_502_and_its_own_log_says_why(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    head, body = asked(tunnel, upstream, b"220 mail.example.com ESMTP\r\n")
    assert (head.split()[1], body) == (b"502", b"error code: 502")
    assert tunnel.edge.replies[-1].by == "cloudflared"
    assert "malformed HTTP status code" in tunnel.log()


def test_a_webhook_arrives_with_its_form_and_its_signature(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    form = b"CallSid=CA1&From=%2B12025550143"
    with dial(tunnel) as caller:
        caller.send(
            b"POST /voice/webhook HTTP/1.1\r\nHost: voice.example.com\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: c2lnbmVk\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(form), form)
        )
        with upstream.accept() as origin:
            head = origin.receive_head()
            assert origin.receive(len(form)) == form
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n<Response/>")
            assert caller.receive_head().startswith(b"HTTP/1.1 200 OK\r\n")
            assert caller.receive_all() == b"<Response/>"
    assert head.startswith(b"POST /voice/webhook HTTP/1.1\r\n")
    assert fields_of(head)["X-Twilio-Signature"] == "c2lnbmVk"
    assert fields_of(head)["Content-Length"] == str(len(form))


def test_a_path_arrives_as_it_was_asked_for(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    for target in (b"/voice/stream/", b"/voice//stream", b"/voice/a%2Fb?x=1&y=%20"):
        with dial(tunnel) as caller:
            caller.send(UPGRADE.replace(b"/voice/stream", target))
            with upstream.accept() as origin:
                assert origin.receive_head().startswith(b"GET " + target + b" HTTP/1.1\r\n")


def test_nothing_but_the_ports_that_are_shown_can_be_dialled_from_its_network(
    tunnel: CloudflareTunnel, upstream: RawUpstream
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as another,
        pytest.raises(ConnectionRefusedError),
    ):
        tunnel.namespace.dial(another.getsockname()[1], PATIENCE_S)
    with pytest.raises(OSError, match="unreachable"):
        tunnel.namespace.run(socket.create_connection, ("192.0.2.1", 443), PATIENCE_S)
    port = int(upstream.url.rpartition(":")[2])
    with tunnel.namespace.dial(port, PATIENCE_S) as inside, upstream.accept() as outside:
        inside.sendall(b"hello")
        assert outside.receive(5) == b"hello"
