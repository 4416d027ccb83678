"""The name that a TLS client asks for, read from its first bytes. Pure.

Funnel's relays end no TLS: they read this one name, and pass everything on (RFC 8446 sections 4.1.2
and 5.1, RFC 6066 section 3). Nothing else of the message is looked at.
"""

HANDSHAKE = 22
CLIENT_HELLO = 1
SERVER_NAME = 0
LIMIT = 1 << 16


class NotHello(ValueError):  # noqa: N818 - a verdict on bytes
    """Why these bytes begin no ClientHello."""


class _Short(Exception):  # noqa: N818 - what was cut is read again with more
    pass


class _Reader:
    """Vectors of the TLS presentation language (RFC 8446 section 3.4)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise _Short
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def server_name(data: bytes) -> str | None:
    """The name, "" where the client names none, None while too little is there.

    Raises NotHello for what no more bytes can make a ClientHello of.
    """
    try:
        message = _message(data)
    except _Short:
        if len(data) > LIMIT:
            raise NotHello("it does not end") from None
        return None
    try:
        return _named(_Reader(message))
    except _Short:
        raise NotHello("a length in it leads past its end") from None
    except UnicodeDecodeError:
        raise NotHello("its server_name is not ASCII") from None


def _message(data: bytes) -> bytes:
    """The handshake message, put together from its records. Raises _Short."""
    records, message = _Reader(data), b""
    while True:
        if data[records.at : records.at + 1] not in (b"", bytes([HANDSHAKE])):
            raise NotHello("it is no TLS handshake")
        records.take(1)
        if records.number(1) != 3:
            raise NotHello("it is no TLS of a known version")
        records.take(1)
        fragment = records.vector(2)
        if not fragment:
            raise NotHello("a record of it is empty")
        message += fragment
        if message[0] != CLIENT_HELLO:
            raise NotHello("it is another message")
        if len(message) >= 4 and len(message) >= (end := 4 + int.from_bytes(message[1:4])):
            return message[4:end]


def _named(hello: _Reader) -> str:
    hello.take(2 + 32)  # legacy_version, random
    for size in (1, 2, 1):  # legacy_session_id, cipher_suites, legacy_compression_methods
        hello.vector(size)
    if hello.at == len(hello.data):
        return ""
    extensions = _Reader(hello.vector(2))
    while extensions.at < len(extensions.data):
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == SERVER_NAME:
            names = _Reader(_Reader(body).vector(2))
            while names.at < len(names.data):
                name_type, name = names.number(1), names.vector(2)
                if name_type == 0:  # host_name
                    return name.decode("ascii").lower()
    return ""
