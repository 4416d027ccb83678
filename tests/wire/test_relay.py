"""After the 101: byte-exact in both directions, whatever the bytes are."""

import random
import threading

import pytest

from peers import SWITCH, UPGRADE, RawSocket, RawUpstream, RunningSidecar

# What a peer may send that a proxy might be tempted to mend.
ODD_STREAMS = {
    "text": b"\x81\x05hello",
    "masked": b"\x81\x85\x01\x02\x03\x04iGomn",
    "unmasked from the client": b"\x82\x03abc",
    "fragments": b"\x01\x02ab\x00\x02cd\x80\x01e",
    "ping between fragments": b"\x01\x01a\x89\x00\x80\x01b",
    "compressed": b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
    "reserved bits": b"\xf1\x01x",
    "unknown opcodes": b"\x83\x01x\x8b\x01y\x8f\x00",
    "non-minimal length": b"\x81\xfe\x00\x01\x01\x02\x03\x04z",
    "64-bit length": b"\x82\x7f" + (70000).to_bytes(8, "big") + bytes(70000),
    "impossible length": b"\x82\x7f" + b"\xff" * 8 + b"what follows is not framed",
    "close with reason": b"\x88\x08\x0f\xa0reason",
    "close and more": b"\x88\x02\x03\xe8\x81\x01x",
    "not websocket at all": b"SSH-2.0-OpenSSH_9.2\r\n" * 10,
    "every byte": bytes(range(256)) * 3,
}


@pytest.mark.parametrize("stream", ODD_STREAMS.values(), ids=ODD_STREAMS)
def test_every_stream_passes_unchanged_in_both_directions(
    stream: bytes, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    client.send(stream)
    assert server.receive(len(stream)) == stream
    server.send(stream)
    assert client.receive(len(stream)) == stream
    for byte in stream[:100]:
        client.send(bytes([byte]))
    assert server.receive(min(len(stream), 100)) == stream[:100]


def test_bytes_behind_both_heads_in_the_same_segment_arrive_first(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(UPGRADE + b"\x81\x05early")
        server = upstream.accept()
        assert server.receive_head() == UPGRADE
        server.send(SWITCH + b"\x81\x05prompt")
        head = client.receive_head()
        assert head.startswith(SWITCH[:-2])
        assert client.receive(8) == b"\x81\x05prompt"
        client.send(b"\x81\x04late")
        assert server.receive(13) == b"\x81\x05early\x81\x04late"


def test_bytes_that_follow_a_refused_upgrade_are_the_next_request(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(UPGRADE + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        server = upstream.accept()
        assert server.receive_head() == UPGRADE
        server.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        client.receive_head()
        assert client.receive(2) == b"no"
        assert upstream.accept().receive_head() == b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_half_close_is_carried_and_the_other_direction_goes_on(
    first: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    closing, other = (client, server) if first == "client" else (server, client)
    closing.send(b"\x82\x03end")
    closing.half_close()
    assert other.receive_all() == b"\x82\x03end"
    for _ in range(3):
        other.send(b"\x82\x04more")
        assert closing.receive(6) == b"\x82\x04more"
    other.close()
    assert closing.receive_all() == b""
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("eof_without_close", first)
    assert session["eof_from"] == [first, "server" if first == "client" else "client"]


@pytest.mark.parametrize("by", ["client", "server"])
def test_a_reset_ends_the_other_side_after_what_was_sent_before(
    by: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    resetting, other = (client, server) if by == "client" else (server, client)
    resetting.send(b"\x82\x04last")
    assert other.receive(6) == b"\x82\x04last"
    resetting.reset()
    assert other.receive_all() == b""
    other.close()
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("reset", by)


@pytest.mark.parametrize("by", ["client", "server"])
def test_a_closing_handshake_is_recorded_with_code_reason_and_sender(
    by: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    first, second = (client, server) if by == "client" else (server, client)
    close = b"\x88\x05\x0f\xa0bye"
    masked = b"\x88\x85\1\2\3\4" + bytes(
        a ^ b for a, b in zip(close[2:], b"\1\2\3\4\1", strict=True)
    )
    first.send(masked if by == "client" else close)
    assert second.receive(len(masked if by == "client" else close))
    second.send(b"\x88\x02\x0f\xa0" if by == "client" else b"\x88\x82\0\0\0\0\x0f\xa0")
    second.close()
    first.receive_all()
    first.close()
    session = sidecar.event("session")
    assert session["ending"] == "close_handshake"
    assert session["ended_by"] == session["close_sender"] == by
    assert (session["close_code"], session["close_reason"]) == (4000, "bye")
    assert [item["code"] for item in session["closes"]] == [4000, 4000]


def test_a_peer_that_does_not_read_holds_back_the_other_and_loses_nothing(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    blob = random.Random(7).randbytes(1 << 20)
    sent = server.flood(blob, 1.0)
    # Kernel buffers on four sockets, and one read of the sidecar: not what the server could send.
    assert sent < 32 << 20
    [pair] = sidecar.sidecar.relay.pairs.values()
    assert len(pair.client.out) <= sidecar.settings.limits.write_buffer_bytes
    server.half_close()
    received = client.receive_all()
    assert len(received) >= sent
    assert all(received[i] == blob[i % len(blob)] for i in range(0, len(received), 4099))


def test_large_messages_pass_whole_in_both_directions_at_once(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    blob = random.Random(8).randbytes(3 << 20)
    frame = b"\x82\x7f" + len(blob).to_bytes(8, "big") + blob

    def swap(mine: RawSocket, theirs: RawSocket) -> bytes:
        sender = threading.Thread(target=mine.send, args=(frame,))
        sender.start()
        received = theirs.receive(len(frame))
        sender.join()
        return received

    assert swap(client, server) == frame
    assert swap(server, client) == frame
    client.close()
    server.close()
    session = sidecar.event("session")
    assert session["frames"]["client"]["binary"] == 1
    assert session["bytes"]["server"]["binary"] == len(blob)


def test_a_reader_that_cannot_follow_says_so_once_and_goes_on_counting(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    stream = b"\x81\x01a\x82\x7f" + b"\xff" * 8 + b"x" * 1000
    client.send(stream)
    assert server.receive(len(stream)) == stream
    blind = sidecar.event("went_blind")
    assert (blind["sender"], blind["offset"]) == ("client", 3)
    client.send(b"y" * 10)
    assert server.receive(10) == b"y" * 10
    client.close()
    server.close()
    session = sidecar.event("session")
    assert session["wire_bytes"]["client"] == len(stream) + 10
    assert session["blind"]["client"] and session["blind"]["server"] is None  # noqa: PT018
    assert sum(event["event"] == "went_blind" for event in sidecar.events) == 1


def test_a_101_to_something_else_than_websocket_is_relayed_blind(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        server = upstream.accept()
        server.receive_head()
        server.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nhi")
        client.receive_head()
        assert client.receive(2) == b"hi"
        client.send(b"\xff\xff\xff")
        assert server.receive(3) == b"\xff\xff\xff"


def test_a_reader_that_fails_costs_sight_and_not_the_call(
    sidecar: RunningSidecar, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = sidecar.upgrade(upstream)
    [pair] = sidecar.sidecar.relay.pairs.values()

    def fail(data: bytes, now: float) -> tuple[()]:
        raise ZeroDivisionError(len(data), now)

    monkeypatch.setattr(pair.client, "read", fail)
    client.send(b"\x81\x80\0\0\0\0")
    assert server.receive(6) == b"\x81\x80\0\0\0\0"
    assert "ZeroDivisionError" in sidecar.event("went_blind")["reason"]
    server.send(b"\x81\x02hi")
    assert client.receive(4) == b"\x81\x02hi"
