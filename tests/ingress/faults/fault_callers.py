"""A Twilio-shaped upgrade by hand, on a raw socket: what a caller gets, in two or three words.

It shares nothing with the doctor, so that a case is shown to be the fault it says it is, whatever
the doctor makes of it.
"""

import os
import socket
import ssl
import struct
import time
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

ECHO_S = 1.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@dataclass(frozen=True, slots=True)
class Call:
    """Where and what to ask. `ca` is None for a plain http:// hop."""

    port: int
    path: str
    host: str
    ca: Path | None = None
    server_name: str = ""
    answer_s: float = 1.2
    idle_s: float = 0.0


def raw_upgrade(call: Call) -> str:
    """What a caller gets.

    "refused", "tls expired", "tls name", "tls untrusted", "tls alert", "tls eof", "tls plaintext",
    "timeout", "EOF", "reset", "not HTTP", "404" (any status), "101 bad" where the 101 is none,
    "101" where a message came back, "101 EOF", "101 silent" and "101 Close 1011" where none did,
    "101 idle EOF" where the stream died of silence.
    """
    try:
        sock = _open(call)
    except ConnectionRefusedError:
        return "refused"
    except _TlsFailed as failed:
        return f"tls {failed}"
    with sock:
        try:
            return _upgrade(sock, call)
        except TimeoutError:
            return "timeout"
        except OSError:
            return "reset"


def hold(call: Call) -> socket.socket:
    """A stream that stays open."""
    sock = _open(call)
    sock.sendall(_request(call, b64encode(os.urandom(16))))
    assert _read_head(sock)[0].startswith(b"HTTP/1.1 101")
    return sock


class _TlsFailed(Exception):  # noqa: N818 - what a caller sees
    pass


def _open(call: Call) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", call.port), call.answer_s)
    if call.ca is None:
        return sock
    context = ssl.create_default_context(cafile=call.ca)
    try:
        return context.wrap_socket(sock, server_hostname=call.server_name)
    except ssl.SSLCertVerificationError as error:
        kind = {10: "expired", 62: "name"}.get(error.verify_code, "untrusted")
        raise _TlsFailed(kind) from None
    except ssl.SSLEOFError:
        raise _TlsFailed("eof") from None
    except ssl.SSLError as error:
        is_plain = "WRONG_VERSION" in str(error) or "HTTP_REQUEST" in str(error)
        raise _TlsFailed("plaintext" if is_plain else "alert") from None
    except OSError:
        raise _TlsFailed("eof") from None
    finally:
        if sock.fileno() != -1:
            sock.close()


def _request(call: Call, key: bytes) -> bytes:
    """As Twilio's was captured: no Origin, no extensions."""
    return (
        f"GET {call.path} HTTP/1.1\r\n"
        f"Host: {call.host}\r\n"
        "User-Agent: Twilio.TmeWs/1.0\r\n"
        "Connection: Upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\n\r\n"
    ).encode()


def _upgrade(sock: socket.socket, call: Call) -> str:
    key = b64encode(os.urandom(16))
    sock.sendall(_request(call, key))
    head, rest = _read_head(sock)
    if not head:
        return "not HTTP" if rest else "EOF"
    status = head.split(b" ", 2)[1].decode()
    if status != "101":
        return status
    accept = b64encode(sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455 section 4.2.2
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
    saw = {name: fields.get(name, b"").strip() for name in _DUE | _UNOFFERED}
    is_good = saw[b"sec-websocket-accept"] == accept.lower()
    is_good &= saw[b"upgrade"] == b"websocket" and saw[b"connection"] == b"upgrade"
    if not is_good or any(saw[name] for name in _UNOFFERED):
        return "101 bad"
    return _talk(sock, rest, call.idle_s)


_DUE = {b"sec-websocket-accept", b"upgrade", b"connection"}
_UNOFFERED = {b"sec-websocket-protocol", b"sec-websocket-extensions", b"transfer-encoding"}


def _talk(sock: socket.socket, rest: bytes, idle_s: float) -> str:
    """Send "hello" and wait for it, then be silent."""
    sock.settimeout(ECHO_S)
    if not rest:
        sock.sendall(b"\x81\x85\0\0\0\0hello")
    try:
        data = rest
        while len(data) < 7 and not (data[:1] == b"\x88" and len(data) > 3):
            more = sock.recv(4096)
            if not more:
                break
            data += more
    except TimeoutError:
        return "101 silent"
    except OSError:
        return "101 EOF"
    if data[:1] == b"\x88":
        code = struct.unpack("!H", data[2:4])[0] if data[1] else ""
        return f"101 Close {code}".strip()
    if data != b"\x81\x05hello":
        return "101 altered" if data else "101 EOF"
    return _be_silent(sock, idle_s) if idle_s else "101"


def _be_silent(sock: socket.socket, idle_s: float) -> str:
    deadline = time.monotonic() + idle_s
    try:
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            data = sock.recv(4096)
            if data[:1] == b"\x88":
                return f"101 idle Close {struct.unpack('!H', data[2:4])[0]}"
            if not data:
                return "101 idle EOF"
    except TimeoutError:
        pass
    except OSError:
        return "101 idle reset"
    return "101"


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head and what is behind it; no head where the answer is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b"", data
        data += more
        if not data.startswith(b"HTTP/1."[: len(data)]):
            return b"", data
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest
