"""A TLS connection whose own side can be ended alone (RFC 8446 section 6.1: close_notify).

asyncio ends both sides at once. Here TLS runs over memory, so that the alert goes out, TCP stays,
and what the peer still says is read.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import cast

from doctor.probing.dial import Line, Lost, connect


class EndingLine(Line):
    """A line whose writers have a `write_eof`, over TLS as well."""

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises Lost."""
        if self.tls is None:
            return await super().open()
        sock = await connect(self.place, self.connect_s)
        reader, writer = await asyncio.open_connection(sock=sock)
        tls = _Tls(self.tls, self.server_name, reader, writer)
        try:
            async with asyncio.timeout(self.connect_s):
                await tls.shake()
        except (TimeoutError, OSError, EOFError) as error:
            writer.transport.abort()
            raise Lost("tls_eof", f"{self.place}: {error or 'TLS was not finished'}") from None
        # What is asked of a writer here is what `_Tls` has of one.
        return tls.received, cast(asyncio.StreamWriter, tls)


class _Tls:
    """Reads and writes as a StreamWriter does, as far as a probe's stream needs it."""

    def __init__(
        self,
        context: ssl.SSLContext,
        server_name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._reader, self._writer = reader, writer
        self.received = asyncio.StreamReader()
        self.transport = writer.transport
        self._pumping: asyncio.Task[None] | None = None

    async def shake(self) -> None:
        """Raises OSError (ssl.SSLError is one), EOFError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                data = await self._reader.read(65536)
                if not data:
                    raise EOFError("EOF within the TLS handshake") from None
                self._incoming.write(data)
            else:
                break
        self._flush()
        self._pumping = asyncio.create_task(self._pump())

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    async def drain(self) -> None:
        await self._writer.drain()

    def write_eof(self) -> None:
        """The alert, and nothing of TCP's: who reads on sees the end of what we say."""
        with suppress(ssl.SSLError):  # it would wait for the peer's own alert
            self._tls.unwrap()
        self._flush()

    async def _pump(self) -> None:
        """Until the peer ends. A connection that breaks is an end as well."""
        with suppress(OSError):
            while True:
                while data := self._decrypted():
                    self.received.feed_data(data)
                data = await self._reader.read(65536)
                if not data:
                    break
                self._incoming.write(data)
        self.received.feed_eof()

    def _decrypted(self) -> bytes:
        """What can be read now. Raises ssl.SSLZeroReturnError behind the peer's close_notify."""
        try:
            return self._tls.read(65536)
        except ssl.SSLWantReadError:
            return b""

    def _flush(self) -> None:
        self._writer.write(self._outgoing.read())
