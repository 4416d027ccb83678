"""Callers by the hundred: Twilio's side of many media streams, on raw sockets in one thread.

Each sends a frame every 20 ms, plays what it is sent through Twilio's buffer as the simulated
caller has it (doctor/caller/playout.py), echoes marks, and answers each with a key, so that the
agent speaks on. Their frames leave one by one, spread over the 20 ms.
"""

import asyncio
import heapq
import selectors
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

from bench.payload import CLOSE, TEXT, client_frame
from bench.sessions import RefusedError
from doctor.addresses import Detour, parse_stream_url
from doctor.caller.documents import Refused, read_answer
from doctor.caller.forms import Party, call_form
from doctor.caller.messages import Audio, Clear, Mark, ServerMessages, TwilioMessages
from doctor.caller.playout import PAUSE_S, Playout
from doctor.caller.speech import sentences
from doctor.caller.verbs import Connect
from doctor.caller.webhooks import Fetched, FetchFailed, Webhooks
from doctor.dial import Patience, Unanswered, default_tls
from doctor.exchange import request_head
from doctor.signing import Signer, new_sid
from doctor.websocket import upgrade_fields
from gateway import g711

Line = Literal["quiet", "talking"]

PATIENCE_S = 10.0
NAP_S = 0.001  # with hundreds of callers something is always due
KEY = "#"
# Of full scale; -64 dBFS, the noise of a line on which nobody speaks.
NOISE = 20.0
NOISE_S = 5
GOLDEN = 0.6180339887  # multiples of it fill an interval evenly, however many there are
# Nobody checks here what becomes of it.
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True, slots=True)
class Place:
    """Where calls go, and what signs them."""

    webhook_url: str
    token: str = field(repr=False)


@dataclass(slots=True)
class Heard:
    """What the callers met with, all together; times in seconds."""

    sent: int = 0  # media messages, callers' and gateway's
    received: int = 0
    underruns: int = 0
    gap_s: float = 0.0  # longest time between two frames of an utterance
    marks: int = 0
    echoed: int = 0
    clears: int = 0
    answers_s: list[float] = field(default_factory=list)  # from a key to the first frame
    late_s: float = 0.0  # the farthest that we were behind our own schedule


class Caller:
    """One call from `start` on. Raises RefusedError where the gateway ends it."""

    def __init__(
        self,
        connection: socket.socket,
        messages: TwilioMessages,
        parameters: dict[str, str],
        frames: Sequence[bytes],
        heard: Heard,
        now: float,
    ) -> None:
        self._connection, self._messages, self._heard = connection, messages, heard
        self._frames = cycle(frames)
        self._reader = ServerMessages(messages.stream_sid)
        self._playout = Playout(now)
        self._buffer = bytearray()
        self._chunk = 0
        self._is_to_press = False
        self._pressed_at: float | None = None
        self._last_audio: float | None = None  # within the utterance
        self._dry_at = now  # when all that came will have been played
        self._send(messages.connected())
        self._send(messages.start(["inbound"], parameters))

    def tick(self, now: float) -> None:
        """20 ms have passed."""
        if self._is_to_press:
            self._is_to_press = False
            self._pressed_at = now
            self._send(self._messages.dtmf(KEY))
        for name in self._playout.advance(now):
            self._heard.echoed += 1
            self._is_to_press = True
            self._send(self._messages.mark(name))
        self._playout.take_heard()
        self._chunk += 1
        self._send(self._messages.media("inbound", self._chunk * 20, next(self._frames)))
        self._heard.sent += 1

    def receive(self, now: float) -> None:
        """Take what has arrived."""
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return
        if not data:
            raise RefusedError("the gateway cut a call off")
        self._buffer += data
        for text in take_messages(self._buffer):
            self._obey(text, now)

    def hang_up(self) -> int:
        """Say `stop`, and close without waiting; how often the agent's speech broke off."""
        with suppress(OSError, RefusedError):
            self._send(self._messages.stop())
        self._connection.close()
        return self._playout.underruns

    def _obey(self, text: str, now: float) -> None:
        heard = self._heard
        match self._reader.receive_text(text):
            case Audio(audio):
                heard.received += 1
                if self._last_audio is not None:
                    heard.gap_s = max(heard.gap_s, now - self._last_audio)
                    # The buffer takes so long a hole for a pause. Ours have a mark before them.
                    heard.underruns += now - self._dry_at >= PAUSE_S
                self._last_audio = now
                self._dry_at = max(self._dry_at, now) + g711.seconds(audio)
                if self._pressed_at is not None:
                    heard.answers_s.append(now - self._pressed_at)
                    self._pressed_at = None
                self._playout.receive_audio(audio, now)
            case Mark(name):
                heard.marks += 1
                self._last_audio = None
                self._playout.receive_mark(name, now)
            case Clear():
                heard.clears += 1
                self._last_audio = None
                self._dry_at = now
                self._playout.clear(now)
            case None:
                raise RefusedError(f"Twilio would not take {text[:80]}")

    def _send(self, text: str) -> None:
        frame = client_frame(text.encode())
        try:
            sent = self._connection.send(frame)
        except BlockingIOError:
            sent = 0
        if sent != len(frame):
            raise RefusedError("the gateway has stopped to read: the load is far beyond it")


class Crowd:
    """Callers who are on the line at the same time."""

    def __init__(self, place: Place, line: Line) -> None:
        self._place = place
        self._clip = clip(line)
        self._selector = selectors.DefaultSelector()
        self._callers: list[Caller] = []
        self._due: list[tuple[float, int]] = []  # when, and whose next frame leaves
        self.heard = Heard()

    def fill(self, amount: int, every_s: float) -> None:
        """Place calls, one every so often, while those that run go on. Raises RefusedError."""
        with ThreadPoolExecutor(1) as placing:
            for number in range(amount):
                opening = placing.submit(open_stream, self._place, number)
                self.run(every_s)
                while not opening.done():
                    self.run(NAP_S)
                self._join(number, *opening.result())

    def run(self, seconds: float) -> None:
        """Carry all calls on for so long."""
        due, callers, select = self._due, self._callers, self._selector.select
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            while due and due[0][0] <= now:
                at, number = due[0]
                self.heard.late_s = max(self.heard.late_s, now - at)
                callers[number].tick(now)
                heapq.heapreplace(due, (at + g711.FRAME_S, number))
            arrived = select(0)
            for key, _ in arrived:
                key.data.receive(time.monotonic())
            if not arrived:
                time.sleep(NAP_S)

    def hang_up(self) -> None:
        """End all calls; from then on `heard` has their underruns."""
        self._selector.close()
        for caller in self._callers:
            self.heard.underruns += caller.hang_up()

    def _join(
        self,
        number: int,
        connection: socket.socket,
        messages: TwilioMessages,
        parameters: dict[str, str],
    ) -> None:
        connection.setblocking(False)
        turn = number * 7 % len(self._clip)  # nobody says the same at the same time
        frames = self._clip[turn:] + self._clip[:turn]
        now = time.monotonic()
        caller = Caller(connection, messages, parameters, frames, self.heard, now)
        self._callers.append(caller)
        self._selector.register(connection, selectors.EVENT_READ, caller)
        # Spread over the 20 ms, whenever they were placed.
        phase_s = number * GOLDEN % 1 * g711.FRAME_S
        heapq.heappush(self._due, (now + phase_s + g711.FRAME_S, number))


def take_messages(buffer: bytearray) -> list[str]:
    """Take the whole messages off a buffer of a server's frames (RFC 6455 section 5.2).

    For a peer that neither masks nor fragments. Raises RefusedError at a Close.
    """
    found = []
    at = 0
    while len(buffer) - at >= 2:
        opcode, size, begin = buffer[at] & 0xF, buffer[at + 1], at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, begin = int.from_bytes(buffer[begin : begin + width]), begin + width
        if len(buffer) < begin + size:
            break
        at = begin + size
        if opcode == CLOSE:
            code = int.from_bytes(buffer[begin : begin + 2])
            reason = buffer[begin + 2 : at].decode(errors="replace")
            raise RefusedError(f"the gateway ended a call: {code} {reason}")
        if opcode == TEXT:
            found.append(buffer[begin:at].decode())
    del buffer[:at]
    return found


def clip(line: Line) -> tuple[bytes, ...]:
    """What a caller sends for ever, frame by frame."""
    if line == "talking":
        audio = b"".join(sentence.audio for sentence in sentences())
    else:
        noise = np.random.default_rng(0).normal(0, NOISE, NOISE_S * g711.BYTES_PER_SECOND)
        audio = g711.encode(noise.astype(np.int16))
    size = g711.FRAME_BYTES
    whole = len(audio) - len(audio) % size
    return tuple(audio[start : start + size] for start in range(0, whole, size))


def open_stream(place: Place, number: int) -> tuple[socket.socket, TwilioMessages, dict[str, str]]:
    """Place a call: its webhook, its TwiML, the upgrade of its stream. Raises RefusedError."""
    party = Party(
        new_sid("AC"), new_sid("CA"), f"+1202555{number % 10000:04}", "+12025550199", "inbound"
    )
    signer = Signer(place.token)
    try:
        fetched = asyncio.run(_fetch(place, party, signer))
        document = read_answer(fetched.content_type, fetched.body)
        stream = next(verb.stream for verb in document.verbs if isinstance(verb, Connect))
        target, _ = parse_stream_url(stream.url, fetched.url, may_be_plain=True)
        connection = socket.create_connection(
            (target.address.host, target.address.port), PATIENCE_S
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fields = upgrade_fields(target, WEBSOCKET_KEY, signer.sign(target.url))
        connection.sendall(request_head("GET", target.path, fields))
        head = connection.recv(1 << 16)
    except (FetchFailed, Unanswered, Refused, OSError, StopIteration) as failure:
        raise RefusedError(f"a call was not taken: {failure!r}") from failure
    if not head.startswith(b"HTTP/1.1 101 ") or not head.endswith(b"\r\n\r\n"):
        raise RefusedError(f"a stream was answered {head[:80]!r}")
    messages = TwilioMessages(party.account_sid, party.call_sid, new_sid("MZ"))
    return connection, messages, dict(stream.parameters)


async def _fetch(place: Place, party: Party, signer: Signer) -> Fetched:
    host = urlsplit(place.webhook_url).hostname or ""
    webhooks = Webhooks(signer, Detour(host), default_tls(), Patience())
    return await webhooks.fetch(place.webhook_url, "POST", call_form(party, "ringing"))
