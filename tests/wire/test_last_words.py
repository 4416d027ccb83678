"""What a peer said before it was gone reaches the other end, whoever noticed first."""

import threading

import pytest

from peers import SWITCH, UPGRADE, RawSocket, RawUpstream, RunningSidecar, StartSidecar

TALK = b"\x82\x80\0\0\0\0" * 3
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("first", ["talk", "close"])
@pytest.mark.parametrize("by", ["client", "server"])
def test_a_close_before_a_reset_arrives_though_the_other_end_still_talks(
    by: str, first: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    leaving, talking = (client, server) if by == "client" else (server, client)
    last = b"\x82\x04last\x88\x02\x03\xe8"

    def leave() -> None:
        leaving.send(last)
        leaving.reset()

    def both_in_one_turn_of_the_loop() -> None:
        steps = [lambda: talking.send(TALK), leave]
        for step in steps if first == "talk" else reversed(steps):
            step()

    sidecar.call(both_in_one_turn_of_the_loop)
    assert talking.receive_all() == last
    talking.close()
    session = sidecar.event("session")
    assert (session["ending"], session["close_sender"]) == ("close_handshake", by)


def test_what_takes_many_reads_and_was_sent_before_a_reset_arrives_whole(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"write_buffer_bytes": 4096})
    client, server = sidecar.upgrade(upstream)
    blob = bytes(range(256)) * 100

    def send_and_reset() -> None:
        server.send(blob)
        server.reset()

    sidecar.call(send_and_reset)
    assert client.receive_all() == blob
    client.close()
    assert sidecar.event("session")["ending"] == "reset"


def test_a_client_that_was_reset_before_the_101_does_not_keep_the_server(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client = sidecar.connect()
    client.send(UPGRADE)
    server = upstream.accept()
    server.receive_head()

    def switch_and_leave() -> None:
        server.send(SWITCH + b"\x81\x02hi")
        client.reset()

    sidecar.call(switch_and_leave)
    assert server.receive_all() == b""
    sidecar.wait_until(lambda: not sidecar.sidecar.occupied, "the end of the pair")
    sidecar.wait_until(lambda: not sidecar.sidecar.occupancy.total, "free places")


def test_an_answer_that_comes_before_the_body_was_sent_wins_over_the_reset(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n")
        server = upstream.accept()
        server.receive_head()
        body = threading.Thread(target=_send_as_far_as_it_goes, args=(client, bytes(3_000_000)))
        body.start()
        server.receive(1000)

        def refuse() -> None:
            server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            server.close()  # with the body unread: the kernel sends RST

        sidecar.call(refuse)
        assert client.receive_head().startswith(b"HTTP/1.1 413 ")
        assert client.receive(2) == b"no"
        body.join()


def test_the_wait_for_an_answer_starts_with_the_end_of_the_request(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "r", "upstream": upstream.url, "response_seconds": 0.4}
    sidecar = start_sidecar(upstream=None, route=[route])
    with sidecar.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        server = upstream.accept()
        server.receive_head()
        assert not threading.Event().wait(0.5)  # an upload that takes longer than an answer may
        client.send(b"cd")
        assert server.receive(4) == b"abcd"
        server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.receive_head().startswith(b"HTTP/1.1 204 ")


def test_a_response_that_ends_within_a_chunk_size_is_cut_at_once(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(GET)
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n5")
        server.close()
        client.receive_head()
        assert client.receive_all() == b"1\r\na\r\n"
    assert sidecar.event("request")["outcome"] == "upstream_closed"


def test_a_request_that_ends_within_a_chunk_size_is_given_up_at_once(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n5")
        server = upstream.accept()
        server.receive_head()
        client.half_close()
        assert server.receive_all() == b"1\r\na\r\n"
    assert sidecar.event("request")["outcome"] == "client_left"


def _send_as_far_as_it_goes(peer: RawSocket, data: bytes) -> None:
    try:
        peer.send(data)
    except OSError:
        return
