"""Twilio's end of a stream's WebSocket: its own opening handshake, messages, the closing handshake.

The head is written here as it was captured from Twilio: no Origin, no extensions, no subprotocol,
no cookies. A server that answers with what was not offered fails the handshake (RFC 6455 section
4.1), which the `websockets` library judges. Frames are its work, too.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, State
from websockets.uri import parse_uri
from websockets.utils import generate_key

from doctor.addresses import Detour, Target
from doctor.dial import Patience, Unanswered, connect
from doctor.exchange import Fields, hang_up, read_body, read_head, request_head
from proxy.http1 import ResponseHead

USER_AGENT = "Twilio.TmeWs/1.0"
MESSAGE_LIMIT = 16 << 20  # "any size": a whole answer in one message is allowed
WRITE_LIMIT = 64 * 1024  # unsent bytes at which the peer counts as not reading: over 3 s of audio
EXCERPT_LIMIT = 64 * 1024
EXCERPT_S = 2.0


class Undecodable:
    """In the place of a text message that is not UTF-8."""


Message = str | bytes | Undecodable


class NotSwitched(Exception):  # noqa: N818 - a fact about a server, not an error of ours
    """The handshake was answered, and not with a valid 101."""

    def __init__(self, head: ResponseHead, saw: str, body: bytes = b"") -> None:
        super().__init__(saw)
        self.head = head
        self.saw = saw
        self.body = body


def upgrade_fields(target: Target, key: str, signature: str | None) -> Fields:
    """Header fields of Twilio's handshake, in its order."""
    fields = [
        ("Host", target.authority),
        ("User-Agent", USER_AGENT),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    return fields if signature is None else [*fields, ("X-Twilio-Signature", signature)]


class TwilioSocket:
    """One WebSocket that is open."""

    def __init__(
        self,
        protocol: ClientProtocol,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        close_s: float,
    ) -> None:
        self._protocol = protocol
        self._reader = reader
        self._writer = writer
        self._close_s = close_s
        self._deadline: asyncio.TimerHandle | None = None
        self._fragments: list[bytes] = []
        self._opcode = Opcode.TEXT
        self.dropped = 0  # messages that were not sent because the peer does not read

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def close_code(self) -> int | None:
        """Of the peer's Close; 1005 where it held none, None where none came."""
        received = self._protocol.close_rcvd
        return None if received is None else int(received.code)

    @property
    def close_reason(self) -> str:
        received = self._protocol.close_rcvd
        return "" if received is None else received.reason

    @property
    def fault(self) -> str | None:
        """What the peer did against RFC 6455, if that ended the connection."""
        error = self._protocol.parser_exc
        return None if error is None or isinstance(error, EOFError) else str(error)

    def send(self, text: str) -> bool:
        """Send a message; False where it was dropped: closing, or the peer does not read."""
        if not self.is_open:
            return False
        if self._writer.transport.get_write_buffer_size() > WRITE_LIMIT:
            self.dropped += 1
            return False
        self._protocol.send_text(text.encode())
        self._flush()
        return True

    async def messages(self) -> AsyncIterator[Message]:
        """What comes, until the connection ends. Pings are answered on the way."""
        while True:
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and (message := self._assembled(event)) is not None:
                    yield message
            self._flush()
            if self._protocol.state is State.CLOSED:
                return
            try:
                data = await self._reader.read(65536)
            except OSError:
                data = b""
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()

    def start_close(self) -> None:
        """Send a Close without a code, as Twilio does. Whoever reads `messages` sees the end."""
        if self.is_open:
            self._protocol.send_close()
            self._flush()

    async def end(self) -> None:
        """Let go of the connection."""
        if self._deadline is not None:
            self._deadline.cancel()
        await hang_up(self._writer)

    def _assembled(self, frame: Frame) -> Message | None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return None
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return None
        payload = b"".join(self._fragments)
        self._fragments.clear()
        if self._opcode is Opcode.BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError:
            return Undecodable()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._writer.is_closing():
                return
            if data != SEND_EOF:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()
        if self._protocol.close_expected() and self._deadline is None:
            # A peer that does not end the connection now would be waited for without end.
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._close_s, self._writer.transport.abort)


async def open_socket(
    target: Target,
    signature: str | None,
    detour: Detour,
    tls: ssl.SSLContext,
    patience: Patience,
) -> TwilioSocket:
    """Dial and switch protocols. Raises Unanswered, NotSwitched."""
    address = detour.address(target)
    end = asyncio.get_running_loop().time() + patience.total_s
    context = tls if detour.is_secure(target) else None
    reader, writer = await connect(address, context, target.address.host, patience)
    try:
        key = generate_key()
        writer.write(request_head("GET", target.path, upgrade_fields(target, key, signature)))
        async with asyncio.timeout_at(end):
            head, rest = await read_head(reader)
        if head.status != 101:
            raise NotSwitched(head, _status(head), await _excerpt(reader, head, rest))
        return TwilioSocket(_opened(target, key, head, rest), reader, writer, patience.close_s)
    except TimeoutError:
        await hang_up(writer)
        saw = f"{address} was connected and did not answer within {patience.total_s:g} s"
        raise Unanswered("silent", saw) from None
    except BaseException:
        await hang_up(writer)
        raise


def _opened(target: Target, key: str, head: ResponseHead, rest: bytearray) -> ClientProtocol:
    """The library's protocol behind a 101. Raises NotSwitched where the 101 is invalid."""
    scheme = "wss" if target.is_secure else "ws"
    uri = parse_uri(f"{scheme}://{target.authority}{target.path}")
    protocol = ClientProtocol(uri, max_size=MESSAGE_LIMIT)
    protocol.key = key
    protocol.receive_data(head.raw)
    protocol.events_received()  # the 101 itself
    if protocol.handshake_exc is not None:
        raise NotSwitched(head, f"{_status(head)}, but {protocol.handshake_exc}")
    if rest:
        protocol.receive_data(bytes(rest))
    return protocol


async def _excerpt(reader: asyncio.StreamReader, head: ResponseHead, rest: bytearray) -> bytes:
    with suppress(Unanswered, TimeoutError):
        async with asyncio.timeout(EXCERPT_S):
            body, _ = await read_body(reader, head, rest, "GET", EXCERPT_LIMIT)
            return body
    return b""


def _status(head: ResponseHead) -> str:
    return f"{head.status} {head.phrase}".strip()
