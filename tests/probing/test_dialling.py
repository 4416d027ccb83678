"""From a name to TLS: every fault on the way, each by a hop that has it."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from calls.certificates import EXPIRED, OURS
from doctor.evidence import Hop, Probe
from probing.broken_hops import (
    Handler,
    Peer,
    answer_of,
    chain,
    faults,
    first_fault,
    probe,
    tls_server,
)
from programs import free_port

SETTINGS = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"
NAME = "voice.example.com"


def alone(url: str, **options: object) -> Probe:
    [found] = chain([Hop("front", "other", url)], **options)
    return found


def test_a_name_that_no_resolver_takes_is_unresolved() -> None:
    found = alone(f"http://{'x' * 70}.example")
    assert first_fault(found) == ("resolve", "unresolved")
    assert found.upgrade is None


def test_a_name_without_an_address_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = alone("http://voice.example.com")
    assert first_fault(found) == ("resolve", "unresolved")
    assert found.broken is not None
    assert found.broken.detail == "voice.example.com: Name or service not known"


def test_a_port_where_nothing_listens_is_refused() -> None:
    port = free_port()
    found = alone(f"http://127.0.0.1:{port}")
    assert first_fault(found) == ("connect", "refused")
    assert found.phases[-1].detail == f"nothing listens on 127.0.0.1:{port}"


def test_an_address_without_a_route_is_unreachable() -> None:
    found = alone("http://voice.example.com:81", resolve={NAME: "255.255.255.255"})
    assert first_fault(found) == ("connect", "unreachable")
    assert found.addresses == ("255.255.255.255",)


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose backlog is full, so that no SYN is answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        yield address[1]
        for client in waiting:
            client.close()


def test_a_syn_that_nobody_answers_times_out(full_port: int) -> None:
    found = alone(f"http://127.0.0.1:{full_port}", connect_s=0.2)
    assert first_fault(found) == ("connect", "timeout")
    assert found.phases[-1].ms < 1000


async def _serve(peer: Peer) -> None:
    head = await peer.head()
    if head.value("Upgrade"):
        await peer.switch(head)
        await peer.linger()
    else:
        await peer.answer("404 Not Found")


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text(OURS)
    return file


def test_a_trusted_certificate_is_told_with_its_names_and_days(tmp_path: Path, ca: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path, alpn=["http/1.1"]), ca=ca, host=NAME)
    assert list(faults(found)) == []
    assert found.tls is not None
    assert (found.tls.version, found.tls.alpn) == ("TLSv1.3", "http/1.1")
    assert (found.tls.names, found.tls.chain_length) == ((NAME,), 1)
    assert found.tls.issuer == NAME
    assert found.tls.not_after.startswith("2126-10-30T")
    assert found.tls.days_left is not None
    assert found.tls.days_left > 30000


def test_a_certificate_that_nobody_vouches_for_is_untrusted_and_looked_at(tmp_path: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path), host=NAME)
    assert first_fault(found) == ("tls", "certificate_untrusted")
    assert found.tls is not None
    assert found.tls.names == (NAME,)
    assert answer_of(found).status == 101, "what is behind it is asked all the same"


def test_a_certificate_for_another_name_is_told(tmp_path: Path, ca: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path), ca=ca, host="other.example.com")
    assert first_fault(found) == ("tls", "certificate_name")
    assert found.tls is not None
    assert found.tls.names == (NAME,)


def test_a_certificate_that_has_expired_is_told_with_its_age(tmp_path: Path) -> None:
    ca = tmp_path / "expired.pem"
    ca.write_text(EXPIRED)
    found = probe(_serve, tls=tls_server(tmp_path, EXPIRED), ca=ca, host=NAME)
    assert first_fault(found) == ("tls", "certificate_expired")
    assert found.tls is not None
    assert found.tls.not_after == "2020-01-02T00:00:00Z"
    assert found.tls.days_left is not None
    assert found.tls.days_left < -365


def _saying(data: bytes) -> Probe:
    """What becomes of a hop behind https:// that answers a ClientHello with these bytes."""

    async def handle(peer: Peer) -> None:
        await peer.reader.read(65536)
        await peer.say(data)

    return probe(handle, scheme="https", connect_s=1.0)


def test_a_plain_port_behind_https_is_told_by_what_it_says() -> None:
    found = _saying(b"HTTP/1.1 400 Bad Request\r\nSet-Cookie: s3cret\r\n\r\n")
    assert first_fault(found) == ("tls", "plaintext")
    assert "HTTP/1.1 400 Bad Request" in found.phases[-1].detail
    assert "s3cret" not in repr(found)
    assert first_fault(_saying(b"SSH-2.0-OpenSSH_9.2\r\n")) == ("tls", "plaintext")
    assert first_fault(_saying(b"-ER")) == ("tls", "plaintext"), "too short for OpenSSL to judge"


def test_an_alert_ends_the_handshake_by_its_name() -> None:
    found = _saying(b"\x15\x03\x03\x00\x02\x02\x70")
    assert first_fault(found) == ("tls", "tls_alert")
    assert "unrecognized name" in found.phases[-1].detail
    assert found.upgrade is None


def test_an_end_without_a_word_is_told_from_an_alert() -> None:
    assert first_fault(_saying(b"")) == ("tls", "tls_eof")


def test_tls_that_never_goes_on_times_out() -> None:
    async def handle(peer: Peer) -> None:
        await peer.linger()

    assert first_fault(probe(handle, scheme="https", connect_s=0.3)) == ("tls", "timeout")


def test_a_peer_that_prefers_h2_is_noted_and_no_fault(tmp_path: Path, ca: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path, alpn=["h2", "http/1.1"]), ca=ca, host=NAME)
    assert list(faults(found)) == []
    assert "offered h2 and http/1.1, the peer chooses h2" in found.notes
    assert found.tls is not None
    assert found.tls.alpn == "http/1.1"


@pytest.mark.parametrize(
    "word", [b"\x15\x03\x03\x00\x02\x02\x78", b""], ids=["alert, as Go does", "EOF"]
)
def test_a_peer_that_refuses_http1_by_alpn_speaks_http2(
    tmp_path: Path, ca: Path, word: bytes
) -> None:
    context = tls_server(tmp_path, alpn=["h2"])

    async def handle(peer: Peer) -> None:
        """No protocol in common ends the handshake (RFC 7301 section 3.2)."""
        hello = await peer.reader.read(65536)
        if b"\x02h2" not in hello:
            await peer.say(word)
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(hello)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        await peer.say(outgoing.read())
        await peer.linger()

    found = probe(handle, scheme="https", ca=ca, host=NAME)
    assert first_fault(found) == ("tls", "http2")
    assert found.tls is not None
    assert (found.tls.alpn, found.tls.names) == ("h2", (NAME,))
    assert found.upgrade is None


def test_a_peer_that_answers_in_http2_frames_speaks_http2() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(SETTINGS)
        await peer.linger()

    found = probe(handle)
    assert first_fault(found) == ("request", "http2")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith("\\x00\\x00\\x06\\x04")


HEADERS = b"\0\0\x01\x01\x04\0\0\0\x01\x88"  # ":status: 200", of the first stream
AWAY = b"\0\0\x08\x07" + bytes(13)
PREFACE = b"PRI * HTTP/2.0\r\n"


def _http2_alone(*frames: bytes) -> Handler:
    """Hang up on HTTP/1.1 without a word; take HTTP/2, and say these frames to a request."""

    async def handle(peer: Peer) -> None:
        if await peer.reader.readuntil(b"\r\n") != PREFACE:
            return
        await peer.reader.readuntil(b"SM\r\n\r\n")
        await peer.say(SETTINGS)
        kind = 0
        while frames and kind != 1:  # HEADERS
            head = await peer.reader.readexactly(9)
            kind = head[3]
            await peer.reader.readexactly(int.from_bytes(head[:3], "big"))
        await peer.say(b"".join(frames))
        if frames:
            await peer.linger()

    return handle


def test_a_port_that_drops_http1_and_answers_http2_speaks_http2() -> None:
    found = probe(_http2_alone(HEADERS))
    assert first_fault(found) == ("request", "http2")
    assert found.upgrade is not None
    assert found.upgrade.fault == "http2"


@pytest.mark.parametrize(
    "frames",
    [(), (AWAY,), (b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02",), (b"\xff" * 9,)],
    ids=["EOF", "GOAWAY", "RST_STREAM", "no frame"],
)
def test_a_port_that_drops_the_request_in_http2_too_just_closes(frames: tuple[bytes, ...]) -> None:
    assert first_fault(probe(_http2_alone(*frames))) == ("request", "eof")


@pytest.mark.parametrize(
    ("alpn", "frames", "fault"),
    [
        (("h2",), (HEADERS,), "http2"),
        (("h2",), (AWAY,), "eof"),
        (("h2", "http/1.1"), (HEADERS,), "eof"),
    ],
    ids=["no protocol in common", "dropped by both", "http/1.1 agreed on"],
)
def test_tls_without_a_protocol_in_common_is_tried_again_in_http2(
    tmp_path: Path, ca: Path, alpn: tuple[str, ...], frames: tuple[bytes, ...], fault: str
) -> None:
    context = tls_server(tmp_path, alpn=alpn)
    found = probe(_http2_alone(*frames), tls=context, ca=ca, host=NAME)
    assert first_fault(found) == ("request", fault)
