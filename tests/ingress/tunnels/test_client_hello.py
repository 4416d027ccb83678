"""The name in a ClientHello, from real TLS libraries, however the network cut it."""

import ssl
import struct

import pytest

from feeds import every_split
from ingress.tunnels.tailscale.client_hello import NotHello, server_name

NAME = "gw.tail-scale.ts.net"


def hello(name: str | None = NAME, **changes: int) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    for key, value in changes.items():
        setattr(context, key, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def records(message: bytes, *sizes: int) -> bytes:
    """A handshake message in records of these sizes."""
    out = b""
    for size in sizes:
        part, message = message[:size], message[size:]
        out += b"\x16\x03\x01" + struct.pack("!H", len(part)) + part
    assert message == b""
    return out


def after_each_piece(pieces: list[bytes]) -> list[str | None]:
    said, data = [], b""
    for piece in pieces:
        data += piece
        said.append(server_name(data))
    return said


def test_the_name_is_read_when_the_message_is_whole_and_not_before() -> None:
    for pieces in every_split(hello()):
        *before, last = after_each_piece(pieces)
        assert set(before) <= {None}
        assert last == NAME


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)
def test_both_versions_name_the_server_alike(version: ssl.TLSVersion) -> None:
    assert server_name(hello(minimum_version=version, maximum_version=version)) == NAME


def test_what_follows_the_message_is_not_looked_at() -> None:
    whole = hello()
    assert server_name(whole + b"anything") == NAME
    early = records(whole[5:], len(whole) - 5) + b"\x17\x03\x03\x00\x01\x00"
    assert server_name(early) == NAME


def test_a_message_may_come_in_several_records() -> None:
    message = hello()[5:]
    for first in (1, 3, 4, 5, 60, len(message) - 1):
        data = records(message, first, len(message) - first)
        assert server_name(data) == NAME
        assert server_name(data[:-1]) is None


def test_a_client_that_names_no_server_is_told_apart_from_one_that_is_not_done() -> None:
    assert server_name(hello(None)) == ""
    assert server_name(b"") is None


def test_names_are_compared_in_lower_case() -> None:
    data = hello("GW.tail-scale.ts.net")
    assert server_name(data) == NAME


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no TLS handshake"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "no TLS handshake"),
        (b"\x16\x02\x00\x00\x01\x01", "known version"),
        (b"\x16\x03\x01\x00\x00", "empty"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "another message"),
        (b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03", "past its end"),
    ],
)
def test_what_is_no_client_hello_is_refused_at_once(data: bytes, why: str) -> None:
    with pytest.raises(NotHello, match=why):
        server_name(data)


def test_a_record_that_promises_more_than_may_come_is_given_up() -> None:
    endless = b"\x16\x03\x01\xff\xff" + b"\x01\xff\xff\xff" + bytes((1 << 16) - 5)
    with pytest.raises(NotHello, match="does not end"):
        server_name(endless)
