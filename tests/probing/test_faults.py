"""Every fault that a probe can record, each by a hop that has it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from calls.certificates import EXPIRED, OURS
from doctor.evidence import Answer, Hop, Probe
from peers import RunningSidecar
from probing.broken_hops import (
    Peer,
    chain,
    faults,
    passing,
    payload_of,
    probe,
    tls_server,
)
from programs import free_port
from proxy.frames import BINARY, CLOSE, PING, TEXT

SETTINGS = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"
NAME = "voice.example.com"


def _first(found: Probe) -> tuple[str, str]:
    assert found.broken is not None, found
    return found.broken.name, found.broken.fault


def _answer(found: Probe) -> Answer:
    """What the upgrade got."""
    assert found.upgrade is not None
    assert found.upgrade.answer is not None
    return found.upgrade.answer


def _alone(url: str, **options: object) -> Probe:
    [found] = chain([Hop("front", "other", url)], **options)
    return found


# -- resolve, connect ------------------------------------------------------------------------------


def test_a_name_that_no_resolver_takes_is_unresolved() -> None:
    found = _alone(f"http://{'x' * 70}.example")
    assert _first(found) == ("resolve", "unresolved")
    assert found.upgrade is None


def test_a_name_without_an_address_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    found = _alone("http://voice.example.com")
    assert _first(found) == ("resolve", "unresolved")
    assert found.broken is not None
    assert found.broken.detail == "voice.example.com: Name or service not known"


def test_a_port_where_nothing_listens_is_refused() -> None:
    port = free_port()
    found = _alone(f"http://127.0.0.1:{port}")
    assert _first(found) == ("connect", "refused")
    assert found.phases[-1].detail == f"nothing listens on 127.0.0.1:{port}"


def test_an_address_without_a_route_is_unreachable() -> None:
    found = _alone("http://voice.example.com:81", resolve={NAME: "255.255.255.255"})
    assert _first(found) == ("connect", "unreachable")
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
    found = _alone(f"http://127.0.0.1:{full_port}", connect_s=0.2)
    assert _first(found) == ("connect", "timeout")


# -- TLS -------------------------------------------------------------------------------------------


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
    assert _first(found) == ("tls", "certificate_untrusted")
    assert found.tls is not None
    assert found.tls.names == (NAME,)
    assert _answer(found).status == 101, "what is behind it is asked all the same"


def test_a_certificate_for_another_name_is_told(tmp_path: Path, ca: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path), ca=ca, host="other.example.com")
    assert _first(found) == ("tls", "certificate_name")
    assert found.tls is not None
    assert found.tls.names == (NAME,)


def test_a_certificate_that_has_expired_is_told_with_its_age(tmp_path: Path) -> None:
    ca = tmp_path / "expired.pem"
    ca.write_text(EXPIRED)
    found = probe(_serve, tls=tls_server(tmp_path, EXPIRED), ca=ca, host=NAME)
    assert _first(found) == ("tls", "certificate_expired")
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
    assert _first(found) == ("tls", "plaintext")
    assert "HTTP/1.1 400 Bad Request" in found.phases[-1].detail
    assert "s3cret" not in repr(found)
    assert _first(_saying(b"SSH-2.0-OpenSSH_9.2\r\n")) == ("tls", "plaintext")


def test_an_alert_ends_the_handshake_by_its_name() -> None:
    found = _saying(b"\x15\x03\x03\x00\x02\x02\x70")
    assert _first(found) == ("tls", "tls_alert")
    assert "unrecognized name" in found.phases[-1].detail
    assert found.upgrade is None


def test_an_end_without_a_word_is_told_from_an_alert() -> None:
    assert _first(_saying(b"")) == ("tls", "tls_eof")


def test_tls_that_never_goes_on_times_out() -> None:
    async def handle(peer: Peer) -> None:
        await peer.linger()

    assert _first(probe(handle, scheme="https", connect_s=0.3)) == ("tls", "timeout")


def test_a_peer_that_prefers_h2_is_noted_and_no_fault(tmp_path: Path, ca: Path) -> None:
    found = probe(_serve, tls=tls_server(tmp_path, alpn=["h2", "http/1.1"]), ca=ca, host=NAME)
    assert list(faults(found)) == []
    assert "offered h2 and http/1.1, the peer chooses h2" in found.notes
    assert found.tls is not None
    assert found.tls.alpn == "http/1.1"


def test_a_peer_that_refuses_http1_by_alpn_speaks_http2(tmp_path: Path, ca: Path) -> None:
    context = tls_server(tmp_path, alpn=["h2"])

    async def handle(peer: Peer) -> None:
        """As Go does: no protocol in common is an alert (RFC 7301 section 3.2)."""
        hello = await peer.reader.read(65536)
        if b"\x02h2" not in hello:
            await peer.say(b"\x15\x03\x03\x00\x02\x02\x78")
            return
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(hello)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        await peer.say(outgoing.read())
        await peer.linger()

    found = probe(handle, scheme="https", ca=ca, host=NAME)
    assert _first(found) == ("tls", "http2")
    assert found.tls is not None
    assert (found.tls.alpn, found.tls.names) == ("h2", (NAME,))
    assert found.upgrade is None


def test_a_peer_that_answers_in_http2_frames_speaks_http2() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(SETTINGS)
        await peer.linger()

    found = probe(handle)
    assert _first(found) == ("request", "http2")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith("\\x00\\x00\\x06\\x04")


# -- request, response -----------------------------------------------------------------------------


def test_no_answer_is_a_timeout() -> None:
    async def handle(peer: Peer) -> None:
        await peer.linger()

    assert _first(probe(handle)) == ("request", "timeout")


def test_half_a_head_is_a_timeout_that_shows_the_half() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.say(b"HTTP/1.1 101 Switching\r\nUpgrade: webso")
        await peer.linger()

    found = probe(handle)
    assert _first(found) == ("request", "timeout")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith("HTTP/1.1 101 Switching\\r\\n")


def test_a_reset_and_an_eof_in_place_of_an_answer_are_told_apart() -> None:
    async def reset(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async def close(peer: Peer) -> None:
        await peer.head()

    assert _first(probe(reset)) == ("request", "reset")
    assert _first(probe(close)) == ("request", "eof")


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
    assert _first(found) == ("request", "not_http")
    assert found.upgrade is not None
    assert found.upgrade.first_bytes.startswith(first)
    assert "s3cret" not in repr(found)


def test_an_answer_that_is_no_101_is_told_with_its_head_and_the_start_of_its_body() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        body = "404 page not found, token=abcdefghij0123456789abcdefghij " + "x" * 9000
        await peer.answer("404 Not Found", "Server: edge", "Set-Cookie: s3cret", body=body)

    found = probe(handle)
    assert _first(found) == ("request", "not_upgraded")
    answer = _answer(found)
    assert (answer.status, answer.reason, answer.stamp) == (404, "Not Found", None)
    assert answer.fields[:2] == (("Server", "edge"), ("Set-Cookie", None))
    assert answer.body.startswith("404 page not found, [hidden] xxx")
    assert len(answer.body) <= 4096


def test_a_redirect_shows_where_to_without_what_may_be_a_token() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.answer("302 Found", "Location: https://me:pw@login.example.com/in?token=s3cret")

    where = _answer(probe(handle)).value("Location")
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

    assert _first(probe(handle)) == ("response", fault)


def test_a_length_of_zero_on_a_101_is_recorded_and_no_fault() -> None:
    async def handle(peer: Peer) -> None:
        await peer.switch(await peer.head(), "Content-Length: 0")
        await peer.linger()

    found = probe(handle)
    assert list(faults(found)) == []
    assert [each["field"] for each in _answer(found).violations] == ["Content-Length"]


def test_a_101_with_nothing_behind_it_is_cut() -> None:
    async def handle(peer: Peer) -> None:
        await peer.switch(await peer.head())

    assert _first(probe(handle)) == ("echo", "cut")


# -- echo, close: behind a hop in front of a real sidecar ------------------------------------------


def test_bytes_that_come_back_as_others_are_altered(sidecar: RunningSidecar) -> None:
    async def flip(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == BINARY and len(frame) < 100_000:
            frame = frame[:-1] + bytes((frame[-1] ^ 1,))
        writer.write(frame)

    found = probe(passing(sidecar, frames=flip), sidecar)
    assert list(faults(found)) == [("echo", "altered")]
    [bad] = [echo for echo in found.echoes if echo.fault]
    assert (bad.name, bad.saw) == ("binary 64 KiB", "byte 65535 of 65536 came back as another")


def test_a_message_that_waits_for_the_next_is_held(sidecar: RunningSidecar) -> None:
    kept: dict[asyncio.StreamWriter, bytes] = {}

    async def one_behind(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE:
            writer.write(kept.pop(writer, b"") + frame)
        else:
            writer.write(kept.pop(writer, b""))
            kept[writer] = frame

    found = probe(passing(sidecar, frames=one_behind), sidecar)
    assert ("echo", "held") in faults(found)
    assert found.echoes[0].name == "text 1 B"
    assert (found.echoes[0].fault, found.echoes[0].saw) == (
        "held",
        "it came only behind another message",
    )


def test_media_that_comes_back_in_one_lump_is_held(sidecar: RunningSidecar) -> None:
    lumps: dict[asyncio.StreamWriter, bytearray] = {}

    async def lump(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if not payload_of(frame).startswith(b"beat"):
            writer.write(frame)
            return
        if writer not in lumps:
            lumps[writer] = bytearray()
            flush = lambda: writer.write(bytes(lumps[writer]))  # noqa: E731
            asyncio.get_running_loop().call_later(0.25, flush)
        lumps[writer] += frame

    found = probe(passing(sidecar, frames=lump), sidecar)
    assert list(faults(found)) == [("echo", "held")]
    assert found.broken is not None
    assert found.broken.detail.startswith("burst 10 x 20 ms: sent over 18")


def test_a_message_that_never_comes_back_is_missing(sidecar: RunningSidecar) -> None:
    async def swallow(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if len(payload_of(frame)) != 1024:
            writer.write(frame)

    found = probe(passing(sidecar, frames=swallow), sidecar)
    assert list(faults(found)) == [("echo", "missing")]
    assert [echo.name for echo in found.echoes if echo.fault] == ["text 1 KiB"]


def test_a_ping_that_is_swallowed_is_missing_and_one_that_a_hop_answers_is_altered(
    sidecar: RunningSidecar,
) -> None:
    async def swallow(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 != PING:
            writer.write(frame)

    found = probe(passing(sidecar, asks=swallow), sidecar)
    assert [(echo.name, echo.fault) for echo in found.echoes if echo.fault] == [("ping", "missing")]

    async def answer(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x8a\0" if frame[0] & 15 == 10 else frame)

    found = probe(passing(sidecar, frames=answer), sidecar)
    assert [(echo.name, echo.fault) for echo in found.echoes if echo.fault] == [("ping", "altered")]


def test_a_stream_that_ends_under_a_large_message_is_cut_and_the_rest_is_tried_anew(
    sidecar: RunningSidecar,
) -> None:
    async def cut(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if 60_000 < len(frame) < 70_000:
            writer.write(b"\x88\x0d\x03\xf1too big yes")
            writer.close()
        else:
            writer.write(frame)

    found = probe(passing(sidecar, frames=cut), sidecar)
    assert list(faults(found)) == [("echo", "cut")]
    bad = {echo.name: echo.saw for echo in found.echoes if echo.fault}
    assert bad == {"binary 64 KiB": "Close 1009 too big yes"}
    assert [echo.name for echo in found.echoes][-4:] == [
        "binary 1 MiB",
        "close 1000 by client",
        "close 4000 by client",
        "close 4001 by server",
    ]


def test_fragments_that_a_hop_joins_are_told_and_no_fault(sidecar: RunningSidecar) -> None:
    parts = bytearray()

    async def join(frame: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal parts
        if frame[0] & 15 not in (0, TEXT) or (frame[0] == 0x81):
            writer.write(frame)
            return
        parts += payload_of(frame)
        if frame[0] & 128:
            writer.write(bytes((0x81, len(parts))) + parts)
            parts = bytearray()

    found = probe(passing(sidecar, frames=join), sidecar)
    assert list(faults(found)) == []
    [said] = [echo.saw for echo in found.echoes if echo.name == "fragments 3"]
    assert said == "came back in one frame"


def test_a_close_that_gets_lost_and_one_that_changes_are_told(sidecar: RunningSidecar) -> None:
    async def lose(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE:
            writer.close()
        else:
            writer.write(frame)

    found = probe(passing(sidecar, frames=lose), sidecar)
    assert list(faults(found)) == [("close", "close_lost")]

    async def change(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x88\x02\x03\xe8" if frame[0] & 15 == CLOSE else frame)

    found = probe(passing(sidecar, frames=change), sidecar)
    assert list(faults(found)) == [("close", "close_changed")]
    assert [(echo.name, echo.saw) for echo in found.echoes if echo.fault] == [
        ("close 4000 by client", "Close 1000"),
        ("close 4001 by server", "Close 1000"),
    ]
