"""A pcapng file of the handshake and the frames, which Wireshark dissects (pure).

The sidecar sees a stream of bytes and no packets: the TCP around it is made up, with right numbers
and checksums, one packet a frame. Frames are masked as they were. One in which something was hidden
is as long as what is left, one that was not kept is empty, and each of them has a comment.
pcapng.com; RFC 793 section 3.1.
"""

import ipaddress
import struct
from collections.abc import Iterator
from typing import Any

from proxy.capture import Frame
from proxy.exports.captured import Captured
from proxy.frames import apply_mask
from proxy.redact import HIDDEN

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_RAW_IPV4 = 228  # LINKTYPE_IPV4
_COMMENT, _END = 1, 0
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
# Documentation addresses (RFC 5737); port 80 is where Wireshark looks for HTTP by itself.
_CLIENT, _SERVER = ("192.0.2.1", 50000), ("192.0.2.2", 80)
_SEGMENT = 65000  # what fits an IPv4 packet beside its headers


def pcapng(captured: Captured) -> bytes:
    """The whole file."""
    return b"".join(_blocks(captured))


def _blocks(captured: Captured) -> Iterator[bytes]:
    yield _block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    yield _block(_INTERFACE, struct.pack("<HHI", _RAW_IPV4, 0, 0))
    row = captured.handshake
    talk = _Talk(row.get("client"))
    asked_at, switched_at = captured.requested_at, captured.switched_at
    yield talk.send("client", asked_at, b"", flags=_SYN)
    yield talk.send("server", asked_at, b"", flags=_SYN | _ACK)
    yield from talk.say("client", asked_at, _request(row))
    if row.get("response_head"):
        yield from talk.say("server", switched_at, _response(row))
    for frame in captured.frames:
        comment = frame.note
        yield from talk.say(frame.sender, switched_at + frame.at, _frame(frame), comment)
    ended = max([switched_at, *(switched_at + frame.at for frame in captured.frames)])
    for sender in ("client", "server"):
        yield talk.send(sender, ended, b"", flags=_FIN | _ACK)


class _Talk:
    """Both ends of a TCP connection, with what each has sent so far."""

    def __init__(self, client: str | None) -> None:
        self._ends = {"client": (_address(client), _CLIENT[1]), "server": (_packed(_SERVER[0]), 80)}
        self._sent = {"client": 1000, "server": 2000}

    def say(
        self, sender: str, at: float, data: bytes, comment: str | None = None
    ) -> Iterator[bytes]:
        """Packets of one message: the comment stands at the first."""
        for start in range(0, len(data), _SEGMENT):
            yield self.send(sender, at, data[start : start + _SEGMENT], comment)
            comment = None

    def send(
        self, sender: str, at: float, data: bytes, comment: str | None = None, flags: int = 0
    ) -> bytes:
        """One packet."""
        receiver = "server" if sender == "client" else "client"
        flags = flags or _PSH | _ACK
        (source, source_port), (target, target_port) = self._ends[sender], self._ends[receiver]
        numbers = (self._sent[sender], self._sent[receiver] if flags & _ACK else 0)
        tcp = struct.pack(
            "!HHIIBBHHH", source_port, target_port, *numbers, 5 << 4, flags, 65535, 0, 0
        )
        pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp) + len(data))
        tcp = tcp[:16] + struct.pack("!H", _checksum(pseudo + tcp + data)) + tcp[18:]
        self._sent[sender] += len(data) + bool(flags & (_SYN | _FIN))
        length = 20 + len(tcp) + len(data)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 6, 0, source, target)
        ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
        return _packet(at, ip + tcp + data, comment)


def _packet(at: float, data: bytes, comment: str | None) -> bytes:
    micros = max(round(at * 1e6), 0)
    head = struct.pack("<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, len(data), len(data))
    options = b""
    if comment:
        text = comment.encode()
        options = struct.pack("<HH", _COMMENT, len(text)) + _padded(text)
        options += struct.pack("<HH", _END, 0)
    return _block(_PACKET, head + _padded(data) + options)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _checksum(data: bytes) -> int:
    """RFC 1071: the ones' complement of the ones' complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def _frame(frame: Frame) -> bytes:
    payload = frame.payload or b""
    first = frame.fin << 7 | frame.rsv << 4 | frame.opcode
    masked, length = (128 if frame.mask else 0), len(payload)
    if length < 126:
        head = bytes((first, masked | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, length)
    else:
        head = struct.pack("!BBQ", first, masked | 127, length)
    return head + frame.mask + (apply_mask(payload, frame.mask) if frame.mask else payload)


def _request(row: dict[str, Any]) -> bytes:
    first = f"{row['method']} {row['target']} HTTP/{row['http_version']}"
    return _head(first, row.get("request_head") or [])


def _response(row: dict[str, Any]) -> bytes:
    reason = "Switching Protocols" if row["status"] == 101 else ""
    return _head(f"HTTP/1.1 {row['status']} {reason}", row["response_head"])


def _head(first: str, pairs: list[list[str | None]]) -> bytes:
    lines = [first, *(f"{name}: {HIDDEN if value is None else value}" for name, value in pairs)]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"


def _address(client: str | None) -> bytes:
    try:
        return _packed(client or "")
    except ValueError:
        return _packed(_CLIENT[0])


def _packed(address: str) -> bytes:
    """Raises ValueError for what is no IPv4 address."""
    return ipaddress.IPv4Address(address).packed
