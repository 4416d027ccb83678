"""The echo's wishes: what only a server does, asked for by a probe."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager

from peers import UPGRADE, RawSocket, RunningSidecar


@contextmanager
def echoing(sidecar: RunningSidecar) -> Iterator[RawSocket]:
    """A stream that the sidecar's echo has taken."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.admin_port, timeout=10)
    connection.request("POST", "/api/probes")
    probe_id = json.loads(connection.getresponse().read())["id"]
    connection.close()
    client = sidecar.connect()
    client.send(UPGRADE[:-2] + f"X-Hopscope-Probe: {probe_id}; echo\r\n\r\n".encode())
    client.receive_head()
    yield client
    client.close()


def frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros, so that it reads as it is."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload


def bare(opcode: int, payload: bytes) -> bytes:
    return bytes((0x80 | opcode, len(payload))) + payload


def test_a_ping_that_was_wished_for_comes_and_its_pong_is_told(sidecar: RunningSidecar) -> None:
    with echoing(sidecar) as client:
        client.send(frame(1, b"hopscope:ping abc"))
        assert client.receive(5) == bare(9, b"abc")
        client.send(frame(10, b"abc"))
        assert client.receive(19) == bare(1, b"hopscope:pong abc")
        client.send(frame(1, b"hopscope:ping "))
        assert client.receive(16) == bare(1, b"hopscope:ping ")


def test_pings_are_answered_and_counted(sidecar: RunningSidecar) -> None:
    with echoing(sidecar) as client:
        for _ in range(2):
            client.send(frame(9, b"x"))
            assert client.receive(3) == bare(10, b"x")
        client.send(frame(1, b"hopscope:pings"))
        assert client.receive(18) == bare(1, b"hopscope:pings 2")


def test_last_words_come_behind_the_clients_end_and_only_where_they_were_asked_for(
    sidecar: RunningSidecar,
) -> None:
    words = bare(1, b"hopscope:last-words")
    with echoing(sidecar) as client:
        client.send(frame(1, b"hopscope:last-words"))
        assert client.receive(len(words)) == words
        client.half_close()
        assert client.receive_all() == words
    with echoing(sidecar) as client:
        client.half_close()
        assert client.receive_all() == b""
