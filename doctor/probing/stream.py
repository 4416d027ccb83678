"""A WebSocket for probing: frames are sent as they are wanted and read as they came."""

import asyncio
import secrets
import struct
from dataclasses import dataclass
from time import perf_counter

from websockets.utils import apply_mask

from doctor.evidence import Fault
from doctor.probing.asking import Switched
from doctor.probing.dial import Lost
from proxy.frames import CLOSE, CloseSeen, close_frame, parse_close

FRAME_LIMIT = 8 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    fin: bool
    rsv: int
    payload: bytes

    @property
    def close(self) -> CloseSeen:
        return parse_close(self.payload)


class Ended(Lost):
    """The stream is over: by EOF, by a reset, or by a frame that cannot be read."""


class ProbeStream:
    """One upgraded connection, in frames. It answers nothing by itself."""

    def __init__(self, switched: Switched) -> None:
        self._reader = switched.reader
        self._writer = switched.writer
        self._buffer = switched.rest
        self._began = perf_counter()

    @property
    def age_s(self) -> float:
        return perf_counter() - self._began

    async def send(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        """Send one masked frame (RFC 6455 section 5.2). Raises Ended."""
        mask = secrets.token_bytes(4)
        first = (0x80 if fin else 0) | opcode
        if len(payload) < 126:
            head = bytes((first, 0x80 | len(payload)))
        elif len(payload) < 1 << 16:
            head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
        await self._write(head + mask + apply_mask(payload, mask))

    async def send_close(self, code: int, reason: str) -> None:
        """Raises Ended."""
        await self._write(close_frame(code, reason, secrets.token_bytes(4)))

    async def receive(self) -> Frame:
        """The next frame. Raises Ended."""
        head = await self._peek(2)
        length, size = head[1] & 127, 2
        if length >= 126:
            size = 4 if length == 126 else 10
            length = int.from_bytes((await self._peek(size))[2:size], "big")
        if length > FRAME_LIMIT:
            raise Ended("altered", f"a frame announces {length} bytes")
        mask = b""
        if head[1] & 128:
            mask = (await self._peek(size + 4))[size : size + 4]
            size += 4
        await self._peek(size + length)
        payload = bytes(self._buffer[size : size + length])
        del self._buffer[: size + length]
        if mask:  # RFC 6455 section 5.1: a server must not; what it means is plain all the same
            payload = apply_mask(payload, mask)
        return Frame(head[0] & 15, head[0] > 127, head[0] >> 4 & 7, payload)

    async def receive_end(self) -> CloseSeen | None:
        """What ends the stream: its Close, or None for an end without one. Raises Ended: reset."""
        while True:
            try:
                frame = await self.receive()
            except Ended as end:
                if end.fault == "reset":
                    raise
                return None
            if frame.opcode == CLOSE:
                return frame.close

    def end(self) -> None:
        """Say that nothing more will come, and go on receiving (over TLS: see tls_ending.py).

        Raises Ended.
        """
        try:
            self._writer.write_eof()
        except OSError as error:
            raise Ended("reset", f"the connection broke: {error.strerror or error}") from None

    async def is_over(self, within_s: float) -> bool:
        """Whether it has ended, or does within a moment. What comes before the end is dropped."""
        try:
            async with asyncio.timeout(within_s):
                await self.receive_end()
        except TimeoutError:
            return False
        except Ended:
            return True
        return True

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _peek(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = await self._reader.read(65536)
            except OSError as error:
                raise Ended("reset", f"the connection broke: {error.strerror or error}") from None
            if not data:
                raise Ended("cut", "EOF without a Close")
            self._buffer += data
        return bytes(self._buffer[:count]) if count < 32 else b""

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            fault: Fault = "reset"
            raise Ended(fault, f"the connection broke: {error.strerror or error}") from None
