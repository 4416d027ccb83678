"""The audio of one call, both ways: Twilio's messages in, paced frames, marks and `clear` out."""

import asyncio
import time
from collections.abc import AsyncIterator

from gateway.g711 import FRAME_BYTES, FRAME_S
from gateway.messages import (
    Digit,
    Malformed,
    MarkPlayed,
    Media,
    Started,
    Stopped,
    clear,
    mark,
    media,
    parse_message,
)
from gateway.playout import Playout
from gateway.websocket import MediaSocket

# What Twilio may hold of ours. More makes nothing safer, and what it holds when the caller
# interrupts and `clear` is late is heard.
BUFFER_S = 1.0
# With a full buffer, so many frames are sent at each waking.
BATCH_FRAMES = 5
# An echo later than its audio by this is not coming any more.
ECHO_S = 2.0


class StreamEndedError(Exception):
    """The socket is gone: there is nobody to speak to."""


class Stream:
    """One stream, from `start` on."""

    def __init__(self, socket: MediaSocket, started: Started) -> None:
        self._socket = socket
        self._sid = started.stream_sid
        self._held = b""  # less than a frame, waiting for more audio or for a mark
        self._marks: dict[str, asyncio.Future[bool]] = {}
        self.playout = Playout()
        self.has_stopped = False  # Twilio said `stop`: the caller hung up
        self.malformed = 0

    @property
    def ahead_s(self) -> float:
        """Seconds of our audio that the caller has still to hear, by estimate."""
        return self.playout.ahead_s(time.monotonic())

    async def messages(self) -> AsyncIterator[Media | Digit]:
        """What the caller says and presses, until the stream ends."""
        while (text := await self._socket.receive()) is not None:
            message = parse_message(text) if isinstance(text, str) else Malformed("binary", "")
            if isinstance(message, Media):
                if message.track == "inbound":
                    yield message
            elif isinstance(message, Digit):
                yield message
            elif isinstance(message, MarkPlayed):
                self._receive_echo(message.name)
            elif isinstance(message, Stopped):
                self.has_stopped = True
                return
            elif isinstance(message, Malformed):
                self.malformed += 1

    async def play(self, audio: bytes) -> None:
        """Send audio in frames, never more than BUFFER_S ahead; returns when all is sent.

        What is less than a frame is kept for the next piece. Raises StreamEndedError.
        """
        self._held += audio
        while len(self._held) >= FRAME_BYTES:
            wait_s = self._send_frames(time.monotonic())
            if wait_s > 0:
                await asyncio.sleep(max(wait_s, BATCH_FRAMES * FRAME_S))

    def mark(self, name: str) -> "asyncio.Future[bool]":
        """Send a mark behind all audio so far. Its future tells whether that audio was heard."""
        if self._held:
            self._send(media(self._sid, self._held))
            self.playout.audio_sent(len(self._held), time.monotonic())
            self._held = b""
        echoed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._marks[name] = echoed
        self.playout.mark_sent(name)
        self._send(mark(self._sid, name))
        return echoed

    async def heard(self, echoed: "asyncio.Future[bool]") -> bool:
        """Wait for a mark's echo, at most until its audio must have been played."""
        try:
            async with asyncio.timeout(self.ahead_s + ECHO_S):
                return await echoed
        except TimeoutError:
            return False

    def clear(self) -> None:
        """Have Twilio forget what the caller has not heard yet."""
        self._held = b""
        self.playout.cleared(time.monotonic())
        for echoed in self._marks.values():
            if not echoed.done():
                echoed.set_result(False)
        self._marks.clear()
        self._socket.send(clear(self._sid))

    def _send_frames(self, now: float) -> float:
        """Send, in one write, the frames that there is room for; how long to wait for more room."""
        messages = []
        wait_s = 0.0
        held, at = self._held, 0
        while len(held) - at >= FRAME_BYTES:
            wait_s = self.playout.may_send(now, BUFFER_S)
            if wait_s > 0:
                break
            messages.append(media(self._sid, held[at : at + FRAME_BYTES]))
            self.playout.audio_sent(FRAME_BYTES, now)
            at += FRAME_BYTES
        self._held = held[at:]
        if messages:
            self._send(*messages)
        return wait_s

    def _send(self, *messages: str) -> None:
        if not self._socket.send(*messages):
            raise StreamEndedError

    def _receive_echo(self, name: str) -> None:
        self.playout.mark_played(name, time.monotonic())
        echoed = self._marks.pop(name, None)
        if echoed is not None and not echoed.done():
            echoed.set_result(True)
