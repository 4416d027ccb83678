"""caller -> Funnel -> the real tailscaled -> a raw socket: what it passes on, adds, and ends."""

import ssl
from collections.abc import Iterator
from contextlib import suppress

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, ResponseReceived, StreamReset

from head_echo import echoing_heads
from ingress.tunnels.tailscale.callers import NAME, arrived, ask, dial
from ingress.tunnels.tailscale.tailnet import Tailnet
from peers import KEY, SWITCH, UPGRADE, RawSocket, RawUpstream

ASKED = UPGRADE.replace(b"voice.example.com", NAME)
# Reserved bits, a reserved opcode, a ping, an unmasked frame: all of it is the endpoints' concern.
STRANGE = b"\xf3\x03abc" + b"\x89\x82\0\0\0\0hi" + b"\x82\x7e\x01\x00" + bytes(range(256))
PING = b"\x89\x04ping"
CLOSE_4001 = b"\x88\x07\x0f\xa1moved"
Ends = tuple[RawSocket, RawSocket]


@pytest.fixture
def backend(tailnet: Tailnet) -> Iterator[RawUpstream]:
    """What Funnel leads to, everything of it."""
    listening = RawUpstream()
    tailnet.cli("funnel", "--bg", "--yes", listening.url)
    yield listening
    listening.close()


@pytest.fixture
def ends(tailnet: Tailnet, backend: RawUpstream) -> Iterator[Ends]:
    """A caller and a gateway, with an open stream between them."""
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(SWITCH)
            assert caller.receive_head().startswith(b"HTTP/1.1 101 ")
            yield caller, gateway


def test_an_upgrade_arrives_in_gos_spelling_and_order_with_fields_of_funnel(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    tailnet.relay.source = "203.0.113.7:40000"
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            first, *lines = gateway.receive_head().decode().split("\r\n")[:-2]
    assert first == "GET /voice/stream HTTP/1.1"
    fields = dict(line.split(": ", 1) for line in lines)
    assert list(fields.items()) == [
        ("Host", "gw.tail-scale.ts.net"),
        ("User-Agent", "Twilio.TmeWs/1.0"),
        ("Connection", "Upgrade"),
        ("Sec-Websocket-Key", KEY),
        ("Sec-Websocket-Version", "13"),
        ("Tailscale-Funnel-Request", "?1"),
        ("Upgrade", "websocket"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Host", "gw.tail-scale.ts.net"),
        ("X-Forwarded-Proto", "https"),
        ("Accept-Encoding", "gzip"),
    ]


def test_the_101_comes_back_in_gos_spelling_and_order(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(SWITCH)
            head = caller.receive_head().decode()
    first, *lines = head.split("\r\n")[:-2]
    assert first == "HTTP/1.1 101 Switching Protocols"
    names = [line.partition(":")[0] for line in lines]
    assert names == ["Connection", "Sec-Websocket-Accept", "Upgrade"]


def test_what_a_client_says_of_proxies_before_it_is_not_believed(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    with dial(tailnet) as caller:
        lies = b"X-Forwarded-For: 1.2.3.4\r\nTailscale-User-Login: boss@example.com\r\n\r\n"
        caller.send(ASKED.removesuffix(b"\r\n") + lies)
        with backend.accept() as gateway:
            head = gateway.receive_head()
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"Tailscale-User" not in head
    assert b"1.2.3.4" not in head


def test_without_the_connection_token_the_upgrade_is_lost_and_its_key_is_not(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    with dial(tailnet) as caller:
        caller.send(ASKED.replace(b"Connection: Upgrade", b"Connection: keep-alive"))
        with backend.accept() as gateway:
            head = gateway.receive_head()
    assert b"Upgrade" not in head
    assert b"Sec-Websocket-Key" in head


def test_frames_pass_byte_by_byte_both_ways_without_one_added(ends: Ends) -> None:
    caller, gateway = ends
    caller.send(STRANGE)
    assert gateway.receive(len(STRANGE)) == STRANGE
    gateway.send(STRANGE + PING)
    assert caller.receive(len(STRANGE + PING)) == STRANGE + PING


def test_frames_behind_the_101_in_one_segment_are_not_lost(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(SWITCH + PING)
            caller.receive_head()
            assert caller.receive(len(PING)) == PING


def test_frames_sent_before_the_101_are_lost(tailnet: Tailnet, backend: RawUpstream) -> None:
    """RFC 6455 section 4.1 lets a client send only once it has the 101."""
    with dial(tailnet) as caller:
        caller.send(ASKED + PING)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(SWITCH)
            caller.receive_head()
            caller.send(b"later")
            assert gateway.receive(5) == b"later"


def test_a_close_code_and_the_end_behind_it_pass_from_the_gateway(ends: Ends) -> None:
    caller, gateway = ends
    gateway.send(CLOSE_4001)
    gateway.close()
    assert caller.receive_all() == CLOSE_4001


def test_a_close_code_and_the_end_behind_it_pass_from_the_caller(ends: Ends) -> None:
    caller, gateway = ends
    caller.send(CLOSE_4001)
    caller.close()
    assert gateway.receive_all() == CLOSE_4001


def test_a_gateway_that_half_closed_still_hears_the_caller(ends: Ends) -> None:
    caller, gateway = ends
    gateway.send(CLOSE_4001)
    gateway.half_close()
    assert caller.receive(len(CLOSE_4001)) == CLOSE_4001
    caller.send(PING)
    assert gateway.receive(len(PING)) == PING


def test_a_reset_by_the_gateway_is_a_clean_end_to_the_caller(ends: Ends) -> None:
    caller, gateway = ends
    gateway.reset()
    assert caller.receive_all() == b""


def test_a_reset_by_the_caller_ends_the_gateways_side(ends: Ends) -> None:
    caller, gateway = ends
    caller.reset()
    with suppress(ConnectionResetError):
        assert gateway.receive_all() == b""


def test_a_gateway_that_answers_no_101_is_quoted(tailnet: Tailnet, backend: RawUpstream) -> None:
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n")
            gateway.send(b"Content-Type: text/plain\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nno")
            head = caller.receive_head()
            assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
            assert b"X-Own: 1\r\n" in head
            assert b"Upgrade: websocket" not in head
            assert caller.receive(2) == b"no"


BAD_GATEWAY = ["Content-Length", "Date"]


def fingerprint(head: bytes) -> tuple[bytes, list[str]]:
    first, *lines = head.split(b"\r\n")
    names = {line.partition(b":")[0].decode() for line in lines if line}
    return first, sorted(names - {"Connection"})


def test_a_101_that_is_none_is_tailscaleds_own_502(tailnet: Tailnet, backend: RawUpstream) -> None:
    began = len(tailnet.log())
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
            gateway.send(SWITCH.replace(b"Upgrade: websocket\r\n", b""))
            head = caller.receive_head()
    assert fingerprint(head) == (b"HTTP/1.1 502 Bad Gateway", BAD_GATEWAY)
    tailnet.wait_for_log("backend tried to switch protocol", began)


def test_a_gateway_that_hangs_up_is_tailscaleds_own_502(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    with dial(tailnet) as caller:
        caller.send(ASKED)
        with backend.accept() as gateway:
            gateway.receive_head()
        head = caller.receive_head()
    assert fingerprint(head) == (b"HTTP/1.1 502 Bad Gateway", BAD_GATEWAY)


def test_what_is_not_mounted_is_gos_404_and_says_no_more(tailnet: Tailnet) -> None:
    tailnet.cli("funnel", "--bg", "--yes", "--set-path", "/voice/webhook", "text:here")
    head, body = ask(tailnet, "/voice/stream")
    assert fingerprint(head) == (
        b"HTTP/1.1 404 Not Found",
        ["Content-Length", "Content-Type", "Date", "X-Content-Type-Options"],
    )
    assert body == b"404 page not found\n"


def test_http2_is_agreed_on_where_it_is_offered_and_has_no_way_to_upgrade(
    tailnet: Tailnet, backend: RawUpstream
) -> None:
    """tailscale/tailscale#20882: neither RFC 8441's CONNECT nor a GET with a key is an upgrade."""
    with dial(tailnet, alpn=("h2", "http/1.1")) as caller:
        assert isinstance(caller.sock, ssl.SSLSocket)
        assert caller.sock.selected_alpn_protocol() == "h2"
        client = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))
        client.initiate_connection()
        client.send_headers(1, h2_head("CONNECT", (":protocol", "websocket")), end_stream=False)
        client.send_headers(3, h2_head("GET", ("sec-websocket-key", KEY)), end_stream=True)
        caller.send(client.data_to_send())
        with backend.accept() as gateway:
            head = gateway.receive_head()
            gateway.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            events = h2_events(caller, client)
    assert client.remote_settings.enable_connect_protocol == 0
    (reset,) = [event for event in events if isinstance(event, StreamReset)]
    assert (reset.stream_id, reset.error_code) == (1, ErrorCodes.PROTOCOL_ERROR)
    (answer,) = [event for event in events if isinstance(event, ResponseReceived)]
    assert (answer.stream_id, dict(answer.headers)[b":status"]) == (3, b"426")
    assert head.startswith(b"GET /voice/stream HTTP/1.1\r\n")
    assert f"Sec-Websocket-Key: {KEY}\r\n".encode() in head
    assert b"Upgrade" not in head


def h2_head(method: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    place = [(":scheme", "https"), (":path", "/voice/stream"), (":authority", NAME.decode())]
    fields = [("sec-websocket-version", "13"), *more]
    pseudo = [field for field in fields if field[0].startswith(":")]
    return [(":method", method), *place, *pseudo, *(f for f in fields if f not in pseudo)]


def h2_events(caller: RawSocket, client: H2Connection) -> list[Event]:
    """What the server says until both streams have had their answer."""
    events: list[Event] = []
    while not {ResponseReceived, StreamReset} <= {type(event) for event in events}:
        data = caller.sock.recv(65536)
        assert data, events
        events += client.receive_data(data)
    return events


def test_the_gateway_learns_who_the_caller_is_by_http(tailnet: Tailnet) -> None:
    with echoing_heads() as address:
        tailnet.cli("funnel", "--bg", "--yes", f"http://{address}")
        fields = arrived(tailnet, "/voice/webhook")["fields"]
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["tailscale-funnel-request"] == "?1"
