"""Who listens where HTTP/1.1 got no word: TLS, or a server of HTTP/2 alone."""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace

from doctor.evidence import Tls
from doctor.probing.dial import Line, Lost
from doctor.probing.tls import HTTP1, look, trusting
from proxy.preface import HTTP2_PREFACE

# RFC 9113 section 6: types of frames, and section 4.1: length, type, flags, stream.
_HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 1, 3, 4, 7
_END_STREAM_AND_HEADERS = 5
_FRAME_HEAD = 9
_FRAMES_LIMIT = 16
_FRAME_LIMIT = 1 << 14  # RFC 9113 section 4.2: no larger one may come before we allow it


async def speaks_tls(line: Line) -> Tls | None:
    """What a TLS handshake shows, if the port takes one. A refused one shows that much, too."""
    seen = await look(line.place, trusting(HTTP1), line.server_name, line.connect_s)
    if seen.fault == "tls_alert":
        return Tls("", "")
    return seen.tls


async def answers_http2(line: Line, authority: str, path: str, tls: ssl.SSLContext | None) -> bool:
    """Whether a plain GET in HTTP/2 has an answer, whatever its status. Never raises.

    SETTINGS alone show nothing: a server that knows HTTP/2 sends them before it reads a request,
    and may drop this one as it dropped the upgrade. `tls` must offer h2.
    """
    try:
        reader, writer = await replace(line, tls=tls, preface=b"").open()
    except Lost:
        return False
    try:
        if tls is not None and _protocol(writer) != "h2":
            return False
        settings = _frame(_SETTINGS, 0, 0, b"")
        head = _head(authority, path, "http" if tls is None else "https")
        request = _frame(_HEADERS, _END_STREAM_AND_HEADERS, 1, head)
        writer.write(HTTP2_PREFACE + settings + request)
        async with asyncio.timeout(line.connect_s):
            return await _is_answered(reader)
    except (TimeoutError, asyncio.IncompleteReadError, OSError):
        return False
    finally:
        with suppress(OSError):
            writer.transport.abort()


def _protocol(writer: asyncio.StreamWriter) -> str | None:
    inner = writer.get_extra_info("ssl_object")
    return None if inner is None else inner.selected_alpn_protocol()


async def _is_answered(reader: asyncio.StreamReader) -> bool:
    for _ in range(_FRAMES_LIMIT):
        head = await reader.readexactly(_FRAME_HEAD)
        length, kind = int.from_bytes(head[:3], "big"), head[3]
        stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        if kind == _HEADERS and stream == 1:
            return True
        if kind in (_RST_STREAM, _GOAWAY) or length > _FRAME_LIMIT:
            return False
        await reader.readexactly(length)
    return False


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def _head(authority: str, path: str, scheme: str) -> bytes:
    """A GET's fields in HPACK (RFC 7541): two from its table, two as literals without indexing."""
    by_index = b"\x82" + (b"\x86" if scheme == "http" else b"\x87")
    return by_index + _literal(4, path) + _literal(1, authority)


def _literal(name: int, value: str) -> bytes:
    """RFC 7541 section 6.2.2; the length is an integer of section 5.1 with a prefix of 7 bits."""
    data = value.encode("latin-1")
    if len(data) < 127:
        return bytes((name, len(data))) + data
    length, rest = bytearray((127,)), len(data) - 127
    while rest > 127:
        length.append(0x80 | rest & 127)
        rest >>= 7
    length.append(rest)
    return bytes((name,)) + bytes(length) + data
