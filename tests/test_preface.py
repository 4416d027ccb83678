"""The first bytes of a connection: strangers are named, and PROXY headers read to the byte."""

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds import every_split
from proxy.http1 import Malformed
from proxy.preface import (
    V1_LIMIT,
    V2_LIMIT,
    V2_SIGNATURE,
    Proxied,
    explain_stranger,
    may_be_v2,
    read_proxied,
)

HTTP2_PREFACE = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a")  # RFC 9113, 3.4
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16030100c4010000c00303")
# The longest of section 2.1: 107 bytes.
LONGEST_V1 = b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (2 * (b"ffff:" * 7 + b"ffff",))


def v2(
    addresses: bytes, *, version_command: int = 0x21, family: int = 0x11, tlvs: bytes = b""
) -> bytes:
    length = len(addresses) + len(tlvs)
    head = V2_SIGNATURE + struct.pack("!BBH", version_command, family, length)
    return head + addresses + tlvs


def v2_addresses(source: str, target: str) -> bytes:
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return packed + struct.pack("!HH", 56324, 443)


V2_IPV4 = v2(v2_addresses("192.0.2.7", "192.0.2.1"))


# Strangers


@pytest.mark.parametrize(
    ("opening", "told_after", "words"),
    [
        pytest.param(CLIENT_HELLO, 1, "TLS ClientHello", id="TLS"),
        pytest.param(b"\x16\x03\x03\x02\x00", 1, "http://", id="TLS 1.2 record"),
        pytest.param(HTTP2_PREFACE, 14, "HTTP/2 preface", id="HTTP/2"),
        pytest.param(HTTP2_PREFACE + b"\0\0\0\x04", 14, "HTTP/1.1", id="HTTP/2 and SETTINGS"),
        pytest.param(b"PROXY TCP4 1.2.3.4 ", 6, "proxy_protocol = true", id="PROXY v1"),
        pytest.param(V2_IPV4, 12, "PROXY protocol header", id="PROXY v2"),
    ],
)
def test_a_stranger_is_named_as_soon_as_its_bytes_tell(
    opening: bytes, told_after: int, words: str
) -> None:
    for length in range(len(opening) + 1):
        told = explain_stranger(bytearray(opening[:length]))
        assert (told is not None) is (length >= told_after)
        assert told is None or words in told


@pytest.mark.parametrize(
    "opening",
    [
        REQUEST,
        b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n",
        HTTP2_PREFACE.replace(b"SM", b"XX"),
        b"PROXYING / HTTP/1.1\r\n",
        b"proxy TCP4",
        b"\r\n\r\nGET / HTTP/1.1",
        b"\x15\x03\x03",
        b"",
    ],
)
def test_what_may_still_become_http_is_nobodys_stranger(opening: bytes) -> None:
    # The first 14 bytes of HTTP/2's preface are its request line, told before the rest came.
    if not opening.startswith(HTTP2_PREFACE[:14]):
        assert all(explain_stranger(opening[:length]) is None for length in range(len(opening)))
    assert explain_stranger(opening) is None


def test_a_record_of_another_version_is_not_called_tls() -> None:
    assert explain_stranger(b"\x16\x02") is None
    assert explain_stranger(b"\x16\x02\x03") is None


def test_a_v2_signature_is_suspected_while_it_matches() -> None:
    assert all(may_be_v2(V2_IPV4[:length]) for length in range(len(V2_IPV4)))
    assert not may_be_v2(b"\r\n\r\nGET")
    assert not may_be_v2(REQUEST)


# PROXY headers


@pytest.mark.parametrize(
    ("header", "client"),
    [
        pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", "192.0.2.7", id="v1 TCP4"),
        pytest.param(b"PROXY TCP6 2001:DB8::7 ::1 1 0\r\n", "2001:db8::7", id="v1 TCP6"),
        pytest.param(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7", id="v1 mapped"),
        pytest.param(LONGEST_V1, None, id="v1 longest"),
        pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1 UNKNOWN"),
        pytest.param(b"PROXY UNKNOWN ffff::1 ? 99999 x\r\n", None, id="v1 UNKNOWN and more"),
        pytest.param(V2_IPV4, "192.0.2.7", id="v2 IPv4"),
        pytest.param(
            v2(v2_addresses("2001:db8::7", "::1"), family=0x21), "2001:db8::7", id="v2 IPv6"
        ),
        pytest.param(
            v2(v2_addresses("::ffff:192.0.2.7", "::1"), family=0x21), "192.0.2.7", id="v2 mapped"
        ),
        pytest.param(
            v2(v2_addresses("192.0.2.7", "192.0.2.1"), tlvs=b"\x03\0\x04\x12\x34\x56\x78"),
            "192.0.2.7",
            id="v2 with a TLV",
        ),
        pytest.param(v2(b"", version_command=0x20, family=0), None, id="v2 LOCAL"),
        pytest.param(
            v2(v2_addresses("192.0.2.7", "192.0.2.1"), version_command=0x20),
            None,
            id="v2 LOCAL with addresses",
        ),
        pytest.param(v2(b"", family=0), None, id="v2 UNSPEC"),
        pytest.param(v2(bytes(216), family=0x31), None, id="v2 unix socket"),
    ],
)
def test_a_proxy_header_is_read_once_it_is_whole_and_ends_where_it_ends(
    header: bytes, client: str | None
) -> None:
    for pieces in every_split(header + REQUEST):
        buffer = bytearray()
        for piece in pieces:
            buffer += piece
            found = read_proxied(buffer)
            assert found == (Proxied(len(header), client) if len(buffer) >= len(header) else None)


def test_a_v2_header_may_be_as_long_as_its_limit() -> None:
    addresses = v2_addresses("192.0.2.7", "192.0.2.1")
    longest = v2(addresses, tlvs=bytes(V2_LIMIT - 16 - len(addresses)))
    assert read_proxied(longest[:-1]) is None
    assert read_proxied(longest + REQUEST) == Proxied(V2_LIMIT, "192.0.2.7")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param(REQUEST, "does not start with a PROXY header", id="none"),
        pytest.param(b"PROXX", "does not start with a PROXY header", id="misspelt"),
        pytest.param(b"\r\n\r\n\r", "does not start with a PROXY header", id="empty lines"),
        pytest.param(CLIENT_HELLO, "does not start with a PROXY header", id="TLS"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n", "CRLF within 107", id="v1 bare LF"),
        pytest.param(LONGEST_V1[:-2] + b" \r\n", "CRLF within 107", id="v1 108 bytes"),
        pytest.param(b"PROXY " + b"x" * 101, "CRLF within 107", id="v1 without an end"),
        pytest.param(b"PROXY \r\n", "is not 'PROXY", id="v1 empty"),
        pytest.param(b"PROXY TCP4\r\n", "is not 'PROXY", id="v1 no addresses"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n", "is not 'PROXY", id="v1 one port"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n", "is not 'PROXY", id="v1 three"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 -2\r\n", "is not 'PROXY", id="v1 minus"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 x 2\r\n", "is not 'PROXY", id="v1 letter"),
        pytest.param(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 \xb2\r\n", "is not 'PROXY", id="v1 digit"),
        pytest.param(b"PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n", "is not 'PROXY", id="v1 spaces"),
        pytest.param(b"PROXY UDP4 1.2.3.4 1.2.3.5 1 2\r\n", "is not 'PROXY", id="v1 UDP4"),
        pytest.param(b"PROXY tcp4 1.2.3.4 1.2.3.5 1 2\r\n", "is not 'PROXY", id="v1 lower case"),
        pytest.param(b"PROXY TCP4 1.2.3 1.2.3.5 1 2\r\n", "not an address", id="v1 half address"),
        pytest.param(b"PROXY TCP4 a.b 1.2.3.5 1 2\r\n", "not an address", id="v1 name"),
        pytest.param(b"PROXY TCP4 ::1 1.2.3.5 1 2\r\n", "other address family", id="v1 6 in 4"),
        pytest.param(b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "other address family", id="v1 4 in 6"),
        pytest.param(v2(b"", version_command=0x11), "version or command", id="v2 version 1"),
        pytest.param(v2(b"", version_command=0x22), "version or command", id="v2 command 2"),
        pytest.param(v2(bytes(11)), "too short", id="v2 short IPv4"),
        pytest.param(v2(bytes(35), family=0x21), "too short", id="v2 short IPv6"),
        pytest.param(v2(bytes(V2_LIMIT - 15)), "too long", id="v2 too long"),
    ],
)
def test_a_connection_without_a_proper_proxy_header_is_refused(header: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_proxied(header)


def test_a_refusal_does_not_wait_for_bytes_that_cannot_help() -> None:
    assert read_proxied(b"PROXY " + b"x" * (V1_LIMIT - 7)) is None
    with pytest.raises(Malformed):
        read_proxied(b"PROXY " + b"x" * (V1_LIMIT - 6))
    with pytest.raises(Malformed, match="too long"):
        read_proxied(V2_SIGNATURE + b"\x21\x11\xff\xff")


PARTS = [b"PROXY ", b"TCP4", b"TCP6", b"UNKNOWN", b" ", b"1.2.3.4", b"::1", b"80", b"\r\n", b"\n"]
V2_PARTS = [V2_SIGNATURE, b"\x21", b"\x11", b"\0\x0c", b"\0\0", bytes(12), b"\xb2"]


@given(st.lists(st.sampled_from([*PARTS, *V2_PARTS])).map(b"".join) | st.binary())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_arbitrary_bytes_are_read_refused_or_waited_for(data: bytes) -> None:
    assert explain_stranger(data) is None or explain_stranger(data + REQUEST) is not None
    try:
        found = read_proxied(data)
    except Malformed:
        with pytest.raises(Malformed):
            read_proxied(data + REQUEST)
    else:
        if found is not None:
            assert 0 < found.length <= len(data)
            assert read_proxied(data + REQUEST) == found
            assert found.client is None or ipaddress.ip_address(found.client)
