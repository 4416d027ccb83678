"""Who listens where plain HTTP/1.1 got no word: TLS, or HTTP/2 without TLS."""

import asyncio

from doctor.evidence import Tls
from doctor.probing.dial import Line, Lost, connect
from doctor.probing.tls import HTTP1, look, trusting
from proxy.preface import HTTP2_PREFACE

# RFC 9113 section 4.1: length, type, flags, stream. An empty SETTINGS frame.
_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
_TYPE = 3  # where a frame's type stands
_FRAME_HEAD = 9


async def speaks_tls(line: Line) -> Tls | None:
    """What a TLS handshake shows, if the port takes one. A refused one shows that much, too."""
    seen = await look(line.place, trusting(HTTP1), line.server_name, line.connect_s)
    if seen.fault == "tls_alert":
        return Tls("", "")
    return seen.tls


async def speaks_http2(line: Line) -> bool:
    """Whether the port answers HTTP/2's preface with SETTINGS (RFC 9113 section 3.4)."""
    try:
        sock = await connect(line.place, line.connect_s)
        reader, writer = await asyncio.open_connection(sock=sock)
    except (Lost, OSError):
        return False
    try:
        writer.write(HTTP2_PREFACE + _SETTINGS)
        async with asyncio.timeout(line.connect_s):
            head = await reader.readexactly(_FRAME_HEAD)
    except (TimeoutError, asyncio.IncompleteReadError, OSError):
        return False
    finally:
        writer.transport.abort()
    return head[_TYPE] == _SETTINGS[_TYPE] and head[5:] == b"\0\0\0\0"
