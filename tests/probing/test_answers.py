"""What comes back of a request: no answer, no HTTP, no 101, or a crooked one."""

import asyncio

import pytest

from probing.broken_hops import (
    Peer,
    answer_of,
    faults,
    first_fault,
    probe,
)


def test_no_answer_is_a_timeout() -> None:
    async def handle(peer: Peer) -> None:
        await peer.linger()

    assert first_fault(probe(handle)) == ("request", "timeout")


def test_half_a_head_is_a_timeout_that_shows_the_half() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 101 Switching\r\nUpgrade: webso")
        await peer.linger()

    found = probe(handle)
    assert first_fault(found) == ("request", "timeout")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith("HTTP/1.1 101 Switching\\r\\n")


def test_a_reset_and_an_eof_in_place_of_an_answer_are_told_apart() -> None:
    async def reset(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async def close(peer: Peer) -> None:
        await peer.head()

    assert first_fault(probe(reset)) == ("request", "reset")
    assert first_fault(probe(close)) == ("request", "eof")


@pytest.mark.parametrize(
    ("said", "first"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2\\r\\n"),
        (b"\x15\x03\x01\0\x02\x02\x46", "\\x15\\x03\\x01"),
        (b"HTTP/1.1 200 OK\nServer: s\nX-Key: s3cret\n\n", "HTTP/1.1 200 OK\\nServer: s"),
        (b"HTTP/1.1 twohundred OK\r\nSet-Cookie: s3cret\r\n\r\n", "HTTP/1.1 twohundred"),
        (b"HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n", "HTTP/1.1 200 OK"),
    ],
)
def test_what_is_no_http_is_shown_by_its_first_bytes(said: bytes, first: str) -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(said)
        await peer.linger()

    found = probe(handle)
    assert first_fault(found) == ("request", "not_http")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith(first)
    assert "s3cret" not in repr(found)
    if said.startswith(b"\x15"):
        assert found.phases[-1].detail == "a TLS alert: the port wants TLS"


def test_a_body_without_end_is_not_read_to_its_end() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.say(b"a " * 5000)
            await asyncio.sleep(0.01)

    found = probe(handle)
    assert first_fault(found) == ("request", "not_upgraded")
    assert len(answer_of(found).body) == 4096
    assert found.upgrade is not None
    assert found.upgrade.ms < 1000


def test_an_answer_that_is_no_101_is_told_with_its_head_and_the_start_of_its_body() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        body = "404 page not found, token=abcdefghij0123456789abcdefghij " + "x" * 9000
        await peer.answer("404 Not Found", "Server: edge", "Set-Cookie: s3cret", body=body)

    found = probe(handle)
    assert first_fault(found) == ("request", "not_upgraded")
    answer = answer_of(found)
    assert (answer.status, answer.reason, answer.stamp) == (404, "Not Found", None)
    assert answer.fields[:2] == (("Server", "edge"), ("Set-Cookie", None))
    assert answer.body.startswith("404 page not found, token=[hidden] xxx")
    assert len(answer.body) <= 4096


def test_a_redirect_shows_where_to_without_what_may_be_a_token() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.answer("302 Found", "Location: https://me:pw@login.example.com/in?token=s3cret")

    where = answer_of(probe(handle)).value("Location")
    assert where == "https://login.example.com/in?token=[hidden]"


def test_an_informational_answer_before_the_final_one_is_passed_over() -> None:
    async def handle(peer: Peer) -> None:
        head = await peer.head()
        await peer.say(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        if head.value("Upgrade"):
            await peer.switch(head)
        await peer.linger()

    found = probe(handle)
    assert list(faults(found)) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "bad_accept"),
        ("Sec-WebSocket-Accept:", "bad_accept"),
        ("Upgrade: h2c", "bad_101"),
        ("Connection:", "bad_101"),
        ("Sec-WebSocket-Protocol: mine", "bad_101"),
        ("Sec-WebSocket-Extensions: permessage-deflate", "bad_101"),
        ("Transfer-Encoding: chunked", "bad_101"),
        ("Content-Encoding: gzip", "bad_101"),
    ],
)
def test_a_crooked_101_is_told_by_its_flaw(line: str, fault: str) -> None:
    async def handle(peer: Peer) -> None:
        head = await peer.head()
        await peer.switch(head, line)
        await peer.linger()

    assert first_fault(probe(handle)) == ("response", fault)


def test_a_length_of_zero_on_a_101_is_recorded_and_no_fault() -> None:
    async def handle(peer: Peer) -> None:
        await peer.switch(await peer.head(), "Content-Length: 0")
        await peer.linger()

    found = probe(handle)
    assert list(faults(found)) == []
    assert [each["field"] for each in answer_of(found).violations] == ["Content-Length"]


def test_a_101_with_nothing_behind_it_is_cut() -> None:
    async def handle(peer: Peer) -> None:
        await peer.switch(await peer.head())

    assert first_fault(probe(handle)) == ("echo", "cut")
