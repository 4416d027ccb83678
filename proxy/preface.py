"""What a connection opens with: HTTP, or something that a plain HTTP port must recognise.

Each stranger is named by its first bytes, because "400 Bad Request" sends people to the wrong
hop: TLS means that the ingress dials https:// where http:// is spoken, an HTTP/2 preface that it
was told to speak h2c, and a PROXY header that it sends an address nobody asked for.
"""

import ipaddress
import struct
from dataclasses import dataclass

from proxy.http1 import Malformed

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 section 3.4
# haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 and 2.2
V1_LIMIT = 107
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_LIMIT = 16 + 4096  # the longest that a sender of TLVs was seen to need is far below


@dataclass(frozen=True, slots=True)
class Proxied:
    """A PROXY header: how many bytes it took, and the client it names (None: LOCAL, UNKNOWN)."""

    length: int
    client: str | None


def explain_stranger(data: bytes | bytearray) -> str | None:
    """One sentence about an opening that is not HTTP/1.x, or None if it may still become HTTP."""
    # RFC 8446 section 5.1: a record of type handshake (22), legacy version 3.x.
    if data[:1] == b"\x16" and data[1:2] in (b"\x03", b""):
        return "a TLS ClientHello arrived on a plain port: the hop in front must dial http://"
    if len(data) >= 14 and HTTP2_PREFACE.startswith(bytes(data[:24])):
        return "an HTTP/2 preface arrived: the hop in front must speak HTTP/1.1 to this port"
    if data[:6] == b"PROXY " or (len(data) >= 12 and data[:12] == V2_SIGNATURE):
        return (
            "a PROXY protocol header arrived: set proxy_protocol = true, "
            "or stop the hop in front from sending it"
        )
    return None


def is_undecided(data: bytes | bytearray) -> bool:
    """Whether more bytes may still turn an opening that looks like a request into a stranger."""
    openings = (HTTP2_PREFACE[:14], b"PROXY ", b"\x16\x03", V2_SIGNATURE)
    return any(len(data) < len(opening) and opening.startswith(data) for opening in openings)


def may_be_v2(data: bytes | bytearray) -> bool:
    """Whether the bytes so far are the start of a v2 signature (which looks like empty lines)."""
    return V2_SIGNATURE.startswith(bytes(data[:12]))


def read_proxied(data: bytes | bytearray) -> Proxied | None:
    """Parse a PROXY v1 or v2 header; None while it is incomplete. Raises Malformed."""
    if data[:6] == b"PROXY "[: len(data)]:
        return _read_v1(bytes(data[:V1_LIMIT]))
    if may_be_v2(data):
        return _read_v2(bytes(data[:V2_LIMIT]))
    raise Malformed("proxy_protocol = true, and the connection does not start with a PROXY header")


def _read_v1(data: bytes) -> Proxied | None:
    line, end, _ = data.partition(b"\r\n")
    if not end:
        if len(data) >= V1_LIMIT or b"\n" in data:
            raise Malformed("the PROXY v1 header does not end in CRLF within 107 bytes")
        return None
    parts = line.decode("latin-1").split(" ")
    length = len(line) + 2
    if parts[1:2] == ["UNKNOWN"]:
        return Proxied(length, None)
    family = {"TCP4": 4, "TCP6": 6}.get(parts[1])
    ports_are_numbers = all(port.isascii() and port.isdigit() for port in parts[4:])
    if family is None or len(parts) != 6 or not ports_are_numbers:
        raise Malformed("the PROXY v1 header is not 'PROXY TCP4|TCP6 source target port port'")
    try:
        source = ipaddress.ip_address(parts[2])
    except ValueError:
        raise Malformed("the PROXY v1 header's source is not an address") from None
    if source.version != family:
        raise Malformed("the PROXY v1 header's source is of the other address family")
    return Proxied(length, _client(source))


def _client(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """A client's one name: a hop on a dual-stack socket writes 192.0.2.1 as ::ffff:192.0.2.1."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _read_v2(data: bytes) -> Proxied | None:
    if len(data) < 16:
        return None
    version_command, family_protocol, length = struct.unpack("!BBH", data[12:16])
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise Malformed("the PROXY v2 header has an unknown version or command")
    if 16 + length > V2_LIMIT:
        raise Malformed("the PROXY v2 header is too long")
    if len(data) < 16 + length:
        return None
    is_local = version_command & 15 == 0  # the hop's own health check, not on behalf of a client
    size = {1: 4, 2: 16}.get(family_protocol >> 4)
    if is_local or size is None:
        return Proxied(16 + length, None)
    if length < 2 * size + 4:
        raise Malformed("the PROXY v2 header is too short for its address family")
    return Proxied(16 + length, _client(ipaddress.ip_address(data[16 : 16 + size])))
