"""The edge's own words, and the bars of the network that cloudflared is kept in."""

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest

from ingress.tunnels.cloudflare.answers import is_switch, onward, own, relayed, replaced
from ingress.tunnels.cloudflare.front import GOODBYE
from ingress.tunnels.cloudflare.links import Fields, Reply
from ingress.tunnels.cloudflare.namespace import Namespace, why_not
from peers import PATIENCE_S, RawSocket, RawUpstream
from proxy.http1 import parse_request_head, parse_response_head

SWITCHED: Fields = (("Upgrade", "websocket"), ("Sec-WebSocket-Accept", "x"))


def read(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    raw, _, body = answer.partition(b"\r\n\r\n")
    head = parse_response_head(raw + b"\r\n\r\n")
    return head.status, {name.lower(): value for name, value in head.fields}, body


def test_a_tunnel_that_is_down_is_530_with_its_code_in_the_body() -> None:
    status, fields, body = read(own(1033, "8f1d2c3b4a5e6f70-LAB"))
    assert (status, body, fields["retry-after"]) == (530, b"error code: 1033", "120")
    assert (fields["server"], fields["cf-ray"]) == ("cloudflare", "8f1d2c3b4a5e6f70-LAB")


def test_who_takes_json_is_told_in_json() -> None:
    status, fields, body = read(own(502, "8f1d2c3b4a5e6f70-LAB", "text/html, application/json"))
    told = json.loads(body)
    assert (status, fields["content-type"]) == (502, "application/problem+json")
    assert (told["cloudflare_error"], told["error_code"]) == (True, 502)
    assert (told["ray_id"], told["error_category"]) == ("8f1d2c3b4a5e6f70", "origin")


def test_502_and_504_are_replaced_and_so_is_whatever_cloudflared_could_not_get() -> None:
    statuses = {code: replaced(Reply(code, (), "origin")) for code in (200, 404, 502, 503, 504)}
    assert statuses == {200: None, 404: None, 502: 502, 503: None, 504: 504}
    assert replaced(Reply(502, (), "cloudflared")) == 502


def test_a_200_is_a_switch_only_where_it_has_the_fields_of_one() -> None:
    assert is_switch(Reply(200, SWITCHED, "origin"))
    assert is_switch(Reply(101, (), "origin"))
    assert not is_switch(Reply(200, (("Content-Type", "text/html"),), "origin"))
    assert not is_switch(Reply(404, SWITCHED, "origin"))


def test_connection_and_upgrade_pass_with_a_101_and_with_nothing_else() -> None:
    reply = Reply(200, (*SWITCHED, ("Server", "uvicorn"), ("X-Own", "1")), "origin")
    switched = read(relayed(reply, 101, "1-LAB"))[1]
    refused = read(relayed(reply, 200, "1-LAB"))[1]
    assert ("upgrade" in switched, "upgrade" in refused) == (True, False)
    assert (switched["server"], refused["server"], refused["x-own"]) == ("cloudflare",) * 2 + ("1",)


def test_a_caller_cannot_say_who_it_is_but_its_forwarded_for_stays_in_front() -> None:
    head = parse_request_head(
        b"GET / HTTP/1.1\r\nHost: a\r\nCF-Ray: mine\r\nX-Forwarded-For: 198.51.100.9\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    fields = dict(onward(head.fields, "1-LAB", "websocket"))
    assert fields["cf-ray"] == "1-LAB"
    assert fields["x-forwarded-for"] == "198.51.100.9, 203.0.113.7"
    assert not {"Host", "CF-Ray", "Connection", "Upgrade", "Sec-WebSocket-Version"} & fields.keys()


def test_the_goodbye_of_a_restart_is_one_whole_close_frame() -> None:
    assert (GOODBYE[0], GOODBYE[1]) == (0x88, len(GOODBYE) - 2)
    assert int.from_bytes(GOODBYE[2:4]) == 1001


# The network.


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    if reason := why_not():
        pytest.skip(reason)
    with Namespace() as made:
        yield made


def test_a_network_of_its_own_has_a_loopback_and_no_way_out(namespace: Namespace) -> None:
    with namespace.run(socket.create_server, ("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with namespace.dial(port, PATIENCE_S) as inside:
            accepted, _ = listener.accept()
            accepted.close()
            assert inside.recv(1) == b""
    with pytest.raises(OSError, match="unreachable"):
        namespace.run(socket.create_connection, ("192.0.2.1", 80), PATIENCE_S)


def test_a_port_is_shown_with_its_halves_and_its_resets(namespace: Namespace) -> None:
    upstream = RawUpstream()
    port = int(upstream.url.rpartition(":")[2])

    def talk() -> None:
        with RawSocket(namespace.dial(port, PATIENCE_S)) as inside, upstream.accept() as outside:
            inside.send(b"ping")
            inside.half_close()
            assert outside.receive_all() == b"ping"
            outside.send(b"pong")
            outside.half_close()
            assert inside.receive_all() == b"pong"
        with RawSocket(namespace.dial(port, PATIENCE_S)) as inside, upstream.accept() as outside:
            outside.reset()
            with pytest.raises(ConnectionResetError):
                inside.receive(1)

    async def work() -> None:
        await namespace.show(port)
        await asyncio.to_thread(talk)
        await namespace.hide_all()

    asyncio.run(work())
    upstream.close()


def test_where_nobody_listens_nobody_does_in_the_namespace(namespace: Namespace) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
        asyncio.run(namespace.show(port))
        with pytest.raises(ConnectionRefusedError):
            namespace.dial(port, PATIENCE_S)
