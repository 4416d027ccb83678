"""The WebSocket of one media stream, on the sans-I/O core of the `websockets` library.

That library's own asyncio server takes a whole port. Ours also serves webhooks (gateway/port.py),
so the connection is driven here: bytes in, messages out, a close that is bounded in time.
Extensions and subprotocols are never negotiated: Twilio offers none, and an answer to what was not
offered fails the handshake (RFC 6455 section 4.1).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

MESSAGE_LIMIT = 65536
# Messages that nobody has taken yet; above it, reading stops and TCP holds the sender back.
QUEUE_LIMIT = 500
HANDSHAKE_S = 10.0
# A peer that has not answered our Close by then is cut off (pipecat met 10 s stalls).
CLOSE_S = 2.0
# Twilio sends 50 messages a second. A stream this silent is asked for a sign of life, once.
SILENCE_S = 20.0
# Unsent bytes at which a peer that reads nothing is given up: over a minute of audio.
WRITE_LIMIT = 1 << 20

Check = Callable[[Request], tuple[int, str] | None]


class MediaSocket(asyncio.Protocol):
    """One connection, from its upgrade request to its end.

    `check` looks at the request before the 101 and may refuse it with (status, text). `serve` runs
    once the socket is open; when it returns the socket is closed with 1000.
    """

    def __init__(
        self, check: Check, serve: Callable[["MediaSocket"], Coroutine[Any, Any, None]]
    ) -> None:
        self._check, self._serve = check, serve
        self._protocol = ServerProtocol(max_size=MESSAGE_LIMIT)
        # An asyncio.Queue would do, at three times the cost for each frame.
        self._messages: deque[str | bytes] = deque()
        self._arrival: asyncio.Future[None] | None = None  # what receive() waits for
        self._fragments: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._is_paused = False
        self._was_pinged = False
        self._closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.request: Request | None = None
        self.is_broken = False  # it ended without a closing handshake

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    @property
    def close_code(self) -> int | None:
        """The code of the first Close, whoever sent it; None without one."""
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        first = sent if self._protocol.close_rcvd_then_sent is False else received or sent
        return None if first is None else int(first.code)

    async def receive(self) -> str | bytes | None:
        """The next message; None once the socket is closed and all were taken."""
        while not self._messages:
            if self._closed.is_set():
                return None
            self._arrival = self._loop.create_future()
            await self._arrival
        message = self._messages.popleft()
        if self._is_paused and len(self._messages) < QUEUE_LIMIT // 2:
            self._is_paused = False
            self._transport.resume_reading()
        return message

    def send(self, *texts: str) -> bool:
        """Send messages, in one write; False once the socket is closing or the peer has stopped to
        read."""
        if not self.is_open:
            return False
        for text in texts:
            self._protocol.send_text(text.encode())
        self._write()
        if self._transport.get_write_buffer_size() > WRITE_LIMIT:
            self._transport.abort()
        return True

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say Close and wait, bounded, for the peer's. Does nothing on a closed socket."""
        if self.is_open:
            # A Close holds at most 125 bytes, two of them the code (section 5.5).
            self._protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
            self._write()
        self._expect_end()
        await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.call_later(HANDSHAKE_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._protocol.state is State.CLOSED:
            return
        self._protocol.receive_data(data)
        self._read_events()

    def eof_received(self) -> bool:
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
            self._read_events()
        return False  # the transport closes itself once all is written

    def connection_lost(self, _error: Exception | None) -> None:
        self._deadline.cancel()
        self.is_broken = self._protocol.close_rcvd is None or self._protocol.close_sent is None
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
            self._protocol.data_to_send()
        self._closed.set()
        self._wake()

    def _read_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._answer(event)
            elif isinstance(event, Frame):
                self._receive_frame(event)
        writes = self._protocol.data_to_send()
        if self._protocol.handshake_exc is not None and self.request is None and not any(writes):
            # The core answers a head that is too long, and only closes where it is no HTTP at all.
            refusal = self._protocol.reject(400, "this is no HTTP/1.1 request\n")
            self._transport.write(refusal.serialize())
        self._write(writes)
        if self._protocol.close_expected():
            self._expect_end()
        elif self.is_open:
            self._was_pinged = False
            self._heard_at = self._loop.time()

    def _answer(self, request: Request) -> None:
        self.request = request
        refusal = self._check(request)
        if refusal is None:
            response: Response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(*refusal)
        self._protocol.send_response(response)
        self._write()
        if response.status_code == 101:
            self._heard_at = self._loop.time()
            self._set_deadline(SILENCE_S, self._ask_for_life)
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._serve(self)
        finally:
            await self.close()

    def _receive_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._opcode = frame.opcode
        elif frame.opcode is not Opcode.CONT:
            return  # the core has answered pings and closes
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        payload = b"".join(self._fragments)
        self._fragments.clear()
        is_binary = self._opcode is Opcode.BINARY
        self._messages.append(payload if is_binary else payload.decode(errors="replace"))
        self._wake()
        if len(self._messages) >= QUEUE_LIMIT and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _write(self, writes: list[bytes] | None = None) -> None:
        if writes is None:
            writes = self._protocol.data_to_send()
        if len(writes) > 1 and SEND_EOF not in writes:
            writes = [b"".join(writes)]
        for data in writes:
            if data != SEND_EOF:
                self._transport.write(data)
            elif self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()

    def _expect_end(self) -> None:
        self._set_deadline(CLOSE_S, self._transport.abort)
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()  # the peer's Close is behind what waits

    def _ask_for_life(self) -> None:
        # A timer for each frame would cost more than the frame.
        rest_s = self._heard_at + SILENCE_S - self._loop.time()
        if rest_s > 0 and self.is_open:
            self._set_deadline(rest_s, self._ask_for_life)
            return
        if self._was_pinged or not self.is_open:
            self._transport.abort()
            return
        try:
            self._protocol.send_ping(b"")
        except InvalidState:
            return
        self._was_pinged = True
        self._write()
        self._set_deadline(SILENCE_S, self._ask_for_life)

    def _set_deadline(self, seconds: float, act: Callable[[], None]) -> None:
        self._deadline.cancel()
        self._deadline = self._loop.call_later(seconds, act)
