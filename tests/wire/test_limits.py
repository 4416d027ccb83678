"""Limits on count and time: each is reached, each says which one it was."""

import time

import pytest

from peers import SWITCH, UPGRADE, RawUpstream, RunningSidecar, StartSidecar

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_the_connection_above_the_limit_is_told_503(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"connections": 2})
    sidecar.upgrade(upstream)
    with sidecar.connect():
        sidecar.wait_until(lambda: sidecar.sidecar.occupied == 2, "two connections")
        with sidecar.connect() as third:
            answer = third.receive_all()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Proxy-Status: hopscope; error=connection_limit_reached" in answer
    assert sidecar.event("connection_refused")["reason"] == "connections"


@pytest.mark.parametrize(
    ("one", "same", "other", "reason"),
    [
        (b"192.0.2.1", b"192.0.2.1", b"192.0.2.2", "192.0.2.1 holds 1 connections"),
        (b"2001:db8::1", b"2001:db8::2", b"2001:db8:0:1::1", "2001:db8::/64 holds 1 connections"),
    ],
)
def test_one_client_cannot_take_all_places(
    start_sidecar: StartSidecar,
    upstream: RawUpstream,
    one: bytes,
    same: bytes,
    other: bytes,
    reason: str,
) -> None:
    sidecar = start_sidecar(limits={"connections_per_client": 1})

    def from_client(address: bytes) -> bytes:
        return UPGRADE.replace(b"Host:", b"X-Forwarded-For: " + address + b"\r\nHost:")

    first, server = sidecar.upgrade(upstream, from_client(one))
    sidecar.upgrade(upstream, from_client(other))
    with sidecar.connect() as again:
        again.send(from_client(same))
        assert again.receive_all().startswith(b"HTTP/1.1 429 ")
    refused = sidecar.event("handshake", outcome="refused")
    assert (refused["client"], refused["error"]) == (same.decode(), "connection_limit_reached")
    assert refused["reason"].startswith(reason)
    first.close()
    server.close()
    sidecar.event("session")
    sidecar.upgrade(upstream, from_client(one))


def test_forwarded_addresses_of_strangers_do_not_count(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(trusted_proxies=[], limits={"connections_per_client": 1})
    request = UPGRADE.replace(b"Host:", b"X-Forwarded-For: 192.0.2.1\r\nHost:")
    client, _ = sidecar.upgrade(upstream, request)
    assert sidecar.event("handshake")["client"] == "127.0.0.1"
    with sidecar.connect() as second:
        second.send(request.replace(b"192.0.2.1", b"192.0.2.2"))
        assert second.receive_all().startswith(b"HTTP/1.1 429 ")
    client.close()


def test_a_body_that_stops_half_way_is_given_up(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"body_idle_seconds": 0.3})
    with sidecar.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        server = upstream.accept()
        server.receive_head()
        assert client.receive_all().startswith(b"HTTP/1.1 408 ")
        assert server.receive_all() == b"half"
    assert sidecar.event("request", outcome="timeout")["reason"] == (
        "the request body stopped half-way"
    )


def test_an_idle_kept_alive_connection_is_closed(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"keep_alive_seconds": 0.3})
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.receive_head()
        assert client.receive_all() == b""


@pytest.mark.parametrize("setting", ["session_idle_seconds", "session_seconds"])
def test_a_session_beyond_its_time_gets_a_close_that_says_so(
    setting: str, start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={setting: 0.5})
    client, server = sidecar.upgrade(upstream)
    close = b"\x88\x1a\x03\xe9" + f"{setting} reached".encode()[:24]
    assert client.receive(len(close))[:4] == bytes([0x88, 2 + len(setting) + 8, 0x03, 0xE9])
    assert server.receive(6)[0] == 0x88
    client.close()
    server.close()
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("timeout", "sidecar")


def test_a_half_closed_pair_that_falls_silent_is_ended(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"half_close_seconds": 0.5})
    client, server = sidecar.upgrade(upstream)
    client.half_close()
    assert server.receive_all() == b""
    assert client.receive_all() == b""  # the server never closed; the sidecar did
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("eof_without_close", "client")
    assert session["eof_from"] == ["client"]


def test_a_peer_that_takes_nothing_for_too_long_is_dead(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"stall_seconds": 0.5})
    _, server = sidecar.upgrade(upstream)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        server.flood(bytes(1 << 20), 3)
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("timeout", "client")


def test_a_slow_reader_of_a_response_is_given_up_and_frees_the_upstream(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"stall_seconds": 0.5})
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            server.flood(bytes(1 << 20), 3)
    assert sidecar.event("request")["reason"] == "the client stopped reading"


def test_silence_alone_never_ends_a_session_by_default(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    far = time.perf_counter() + 86400
    sidecar.call(lambda: sidecar.sidecar.relay.tick(far))
    server.send(b"\x81\x05still")
    assert client.receive(7) == b"\x81\x05still"


def test_an_upgrade_waits_for_its_answer_only_so_long_but_a_session_is_free(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "r", "upstream": upstream.url, "handshake_seconds": 0.5}
    sidecar = start_sidecar(upstream=None, route=[route])
    client, server = sidecar.upgrade(upstream)
    with sidecar.connect() as mute:
        mute.send(UPGRADE)
        upstream.accept()
        assert mute.receive_all().startswith(b"HTTP/1.1 503 ")
    server.send(SWITCH)
    assert client.receive(len(SWITCH)) == SWITCH


def test_connections_that_say_nothing_count_for_their_address(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(trusted_proxies=[], limits={"connections_per_client": 2})
    silent = [sidecar.connect(), sidecar.connect()]
    with sidecar.connect() as third:
        assert third.receive_all().startswith(b"HTTP/1.1 429 ")
    for client in silent:
        client.close()
    sidecar.wait_until(lambda: not sidecar.sidecar.occupied, "the end of the connections")
    sidecar.wait_until(lambda: not sidecar.sidecar.occupancy.total, "free places")


def test_a_head_may_be_longer_than_the_write_buffer(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"write_buffer_bytes": 4096})
    with sidecar.connect() as client:
        request = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"
        client.send(request)
        server = upstream.accept()
        assert server.receive_head() == request
