"""Streaming recognition over a WebSocket, whichever vendor's: the shell around a Dialect.

    hear() ──▶ queue ──▶ sender ──▶ provider ──▶ reader ──▶ pieces ──▶ transcribe()

Our own turn detection decides when an utterance has ended, so the vendor's is always off, and the
text is asked for piece by piece: a piece ends where transcribe() was called.

A connection that was lost is opened again by the next begin(). If audio of an utterance went down
with it, that utterance's transcribe() raises; if it was idle, nobody needs to know.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.g711 import BYTES_PER_SECOND, seconds
from gateway.providers.api import Api
from gateway.providers.channel import CLOSE_S, Channel
from gateway.providers.dialects import Dialect, Ready, Rejected, Understood
from gateway.providers.failures import complaint
from gateway.speech import ProviderError

# Audio that the provider has not taken yet. All of an utterance can come at once, from a listener
# that failed before this one.
QUEUE_LIMIT = 90 * BYTES_PER_SECOND
# Frames that wait are sent as one message of at most half a second.
MESSAGE_LIMIT = BYTES_PER_SECOND // 2


@dataclass(slots=True, eq=False)
class _Piece:
    """A part of the utterance, ended by a commit. `text` is None until it was understood."""

    text: str | None = None


class Dictation:
    """The ears of one call (gateway/speech.py: Listener)."""

    def __init__(self, api: Api, dialect: Callable[[], Dialect], *, transcript_s: float) -> None:
        self._api, self._new_dialect, self._transcript_s = api, dialect, transcript_s
        self._line: _Line | None = None
        self._pieces: list[_Piece] = []
        self._uncommitted = 0  # bytes heard since the last piece
        self._failure: ProviderError | None = None  # of this utterance
        self._ended_by: ProviderError | None = None  # the last connection
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Raises ProviderError."""
        self._line = line = _Line(self._api, self._new_dialect(), self)
        try:
            await line.opened.wait()
        except asyncio.CancelledError:
            await line.close()
            raise
        if self._ended_by is not None:
            raise self._ended_by

    def begin(self) -> None:
        self._pieces = []
        self._uncommitted = 0
        self._failure = None
        self._changed.set()
        if self._line is not None:
            self._line.drop()
        else:
            self._line = _Line(self._api, self._new_dialect(), self)

    def hear(self, audio: bytes) -> None:
        if self._failure is not None:
            return
        self._uncommitted += len(audio)
        if self._line is None:
            self._failure = self._ended_by
        elif self._line.waiting + len(audio) > QUEUE_LIMIT:
            late_s = seconds(self._line.waiting)
            self._give_up(self._api.error("timeout", f"{late_s:.0f} s of audio were not taken"))
        else:
            self._line.hear(audio)

    async def transcribe(self) -> str:
        """As in Listener. A begin() meanwhile ends it with ""."""
        pieces = self._pieces
        if self._uncommitted and self._line is not None:
            pieces.append(self._line.commit())
            self._uncommitted = 0
        patience_s = (self._line and self._line.dialect.patience_s) or 0.0
        if patience_s and not await self._wait(pieces, patience_s) and self._line is not None:
            self._line.settle()
        if not await self._wait(pieces, self._transcript_s - patience_s):
            self._give_up(
                self._api.error("timeout", f"no transcript within {self._transcript_s:g} s")
            )
        if pieces is not self._pieces:
            return ""
        if self._failure is not None:
            raise self._failure
        return " ".join(text for piece in pieces if (text := (piece.text or "").strip()))

    async def close(self) -> None:
        if self._line is not None:
            await self._line.close()

    async def _wait(self, pieces: Sequence[_Piece], wait_s: float) -> bool:
        """Until the pieces are understood, or will never be; False if that takes too long."""
        try:
            async with asyncio.timeout(wait_s):
                while (
                    pieces is self._pieces
                    and self._failure is None
                    and any(piece.text is None for piece in pieces)
                ):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _give_up(self, error: ProviderError) -> None:
        """Stop to believe in a connection that is silent."""
        if self._line is not None:
            self._line.abort()
            self.ended(error)

    # What the line tells.

    def understood(self) -> None:
        self._changed.set()

    def rejected(self, piece: _Piece, error: ProviderError) -> None:
        if piece in self._pieces:
            self._failure = error
            self._changed.set()

    def ended(self, error: ProviderError) -> None:
        self._line, self._ended_by = None, error
        if self._uncommitted or any(piece.text is None for piece in self._pieces):
            self._failure = error
            self._changed.set()


class _Line:
    """One connection, from its opening to its end, and what waits to go out on it."""

    def __init__(self, api: Api, dialect: Dialect, owner: Dictation) -> None:
        self._api, self.dialect, self._owner = api, dialect, owner
        self._queue: deque[bytes | _Piece | Literal["drop"]] = deque()
        self._wake = asyncio.Event()
        self._numbered: dict[int, _Piece] = {}
        self._channel: Channel | None = None
        self.waiting = 0  # bytes of audio in the queue
        self.opened = asyncio.Event()  # or it never will be: then the owner knows why
        self._task = asyncio.create_task(self._run())

    def hear(self, audio: bytes) -> None:
        self._queue.append(audio)
        self.waiting += len(audio)
        self._wake.set()

    def commit(self) -> _Piece:
        piece = _Piece()
        self._queue.append(piece)
        self._wake.set()
        return piece

    def drop(self) -> None:
        self._queue.clear()
        self.waiting = 0
        self._queue.append("drop")
        self._wake.set()

    def settle(self) -> None:
        self._apply(self.dialect.settle())

    def abort(self) -> None:
        """End at once, without a word."""
        if self._channel is not None:
            self._channel.abort()
        self._task.cancel()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            self._channel = channel = await Channel.open(self._api, self.dialect.path)
            try:
                await self._introduce(channel)
                self.opened.set()
                await self._exchange(channel)
            finally:
                await self._leave(channel)
        except ProviderError as error:
            self._owner.ended(error)
        finally:
            self.opened.set()

    async def _introduce(self, channel: Channel) -> None:
        """Say what we want and, where the provider answers that, wait until it has agreed."""
        try:
            async with asyncio.timeout(self._api.first_byte_s):
                for message in self.dialect.open():
                    await channel.send(message)
                is_ready = not self.dialect.greets
                while not is_ready:
                    is_ready = self._apply(self.dialect.receive(await channel.receive()))
        except TimeoutError:
            raise self._api.error("timeout", "the session did not begin") from None

    async def _exchange(self, channel: Channel) -> None:
        sender = asyncio.create_task(self._send(channel))
        try:
            while True:
                self._apply(self.dialect.receive(await channel.receive()))
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(self, channel: Channel) -> None:
        """Send what waits. A connection that ended is noticed by who reads."""
        try:
            while True:
                while self._queue:
                    for message in self._next():
                        await channel.send(message)
                self._wake.clear()
                try:
                    async with asyncio.timeout(self.dialect.keep_alive_s):
                        await self._wake.wait()
                except TimeoutError:
                    for message in self.dialect.keep_alive():
                        await channel.send(message)
        except ProviderError:
            return

    def _next(self) -> Sequence[str | bytes]:
        """The messages for the head of the queue."""
        head = self._queue.popleft()
        if head == "drop":
            return self.dialect.drop()
        if isinstance(head, _Piece):
            number, messages = self.dialect.commit()
            self._numbered[number] = head
            return messages
        assert isinstance(head, bytes)  # noqa: S101 - nothing else is queued
        audio = bytearray(head)
        while len(audio) < MESSAGE_LIMIT and self._queue:
            if not isinstance(more := self._queue[0], bytes):
                break
            audio += more
            self._queue.popleft()
        if len(audio) > MESSAGE_LIMIT:
            self._queue.appendleft(bytes(audio[MESSAGE_LIMIT:]))
            del audio[MESSAGE_LIMIT:]
        self.waiting -= len(audio)
        return self.dialect.send_audio(bytes(audio))

    def _apply(self, events: Sequence[Ready | Understood | Rejected]) -> bool:
        """Take what the provider said; True if it is ready now. Raises ProviderError."""
        is_ready = False
        for event in events:
            match event:
                case Ready():
                    is_ready = True
                case Understood(number, text):
                    if (piece := self._numbered.pop(number, None)) is not None:
                        piece.text = text
                        self._owner.understood()
                case Rejected(content, number):
                    error = complaint(self._api.provider, content, secret=self._api.secret)
                    if number is None:
                        raise error
                    if (piece := self._numbered.pop(number, None)) is not None:
                        self._owner.rejected(piece, error)
        return is_ready

    async def _leave(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                for message in self.dialect.close():
                    await channel.send(message)
                await channel.close()
        except (ProviderError, TimeoutError):
            pass  # it ended before we could say goodbye
        finally:
            channel.abort()
