"""What goes over an echoing stream: messages of all sizes, fragments, a ping, a burst, closes."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import perf_counter

from doctor.evidence import Echo
from doctor.probing.dial import Flaw
from doctor.probing.stream import Ended, Frame, ProbeStream
from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

BULK = 5  # times as long may the large messages take
BURST_FRAMES = 10
BEAT_S = 0.02
LATE_S = 0.3
PING_PAYLOAD_BYTES = 16
MISSES_LIMIT = 2  # after so many messages that never came, the rest are not sent
CUTS_LIMIT = 2  # ... or that were cut each time they were sent
RETRIES_LIMIT = 4
AT_ONCE_S = 0.3  # a younger stream was not cut because of its age
BESIDE_S = 0.2  # by when a silent stream ends that is cut with the one beside it
CLOSE_REQUEST = "hopscope:close"  # what the sidecar's echo reads (proxy/echo.py)
OpenStream = Callable[[], Awaitable[ProbeStream | None]]
Close = Callable[[ProbeStream, int, str, float], Awaitable[Echo]]


@dataclass(frozen=True, slots=True)
class Message:
    """One message in the fragments it is sent in. `patience` multiplies the time it may take."""

    name: str
    opcode: int
    fragments: tuple[bytes, ...]
    patience: float = 1.0

    @property
    def payload(self) -> bytes:
        return b"".join(self.fragments)


def messages() -> list[Message]:
    """Small first: what fails at a size has passed below it."""
    text = "".join(chr(97 + i % 26) for i in range(1024)).encode()
    return [
        Message("text 1 B", TEXT, (b"1",)),
        Message("text 1 KiB", TEXT, (text,)),
        Message("fragments 3", TEXT, (b"one, ", "zw\u00f6lf, ".encode(), b"three")),
        Message("binary 64 KiB", BINARY, (secrets.token_bytes(1 << 16),), BULK),
        Message("binary 1 MiB", BINARY, (secrets.token_bytes(1 << 20),), BULK),
    ]


class Battery:
    """The echoes of one hop. `echoes` grows; a stream that was cut is opened anew.

    A cut under a message may be the message's doing, or come of the stream's age and silence: a
    busy machine can leave one silent for longer than a hop allows. So the message is sent again,
    over a new stream, beside a silent one.
    """

    def __init__(self, stream: ProbeStream, open_stream: OpenStream, echo_s: float) -> None:
        self._echo_s = echo_s
        self._stream: ProbeStream | None = stream
        self._open_stream = open_stream
        self._owed: dict[bytes, int] = {}  # payloads that did not come in time, by their echo
        self._age_s = 0.0  # of the stream that was cut last
        self._retries = 0
        self._cuts = 0
        self.echoes: list[Echo] = []

    async def run(self) -> None:
        """Send everything but the closes."""
        first, *others = messages()
        steps = [lambda: self._echo(first), self._ping, self._burst]
        steps += [lambda message=message: self._echo(message) for message in others]  # type: ignore[misc]
        for step in steps:
            if len(self._owed) >= MISSES_LIMIT or self._cuts >= CUTS_LIMIT:
                break
            if self._stream is None:
                self._stream = await self._open_stream()
            if self._stream is None:
                break
            await step()
            if self.echoes[-1].fault == "cut":
                await self._try_again(step)

    async def _try_again(self, step: Callable[[], Awaitable[None]]) -> None:
        """Find out whether a message or the age of its stream is why it was cut."""
        self._retries += 1
        if self._retries > RETRIES_LIMIT:
            self._cuts = CUTS_LIMIT
            return
        cut, age_s = self.echoes.pop(), self._age_s
        beside = await self._open_stream()
        self._stream = await self._open_stream()
        again = cut
        if self._stream is not None:
            await step()
            again = self.echoes.pop()
        is_beside = again.fault == "cut" and beside is not None and await beside.is_over(BESIDE_S)
        if age_s >= AT_ONCE_S and (is_beside or not again.fault):
            cut = replace(cut, aged_s=age_s)
        elif again.fault == "cut":
            self._cuts += 1
        self.echoes.append(again if again.fault not in ("", "cut") else cut)
        if beside is not None:
            beside.abort()

    def abandon(self) -> None:
        if self._stream is not None:
            self._stream.abort()
            self._stream = None

    @property
    def stream(self) -> ProbeStream | None:
        """The stream as it was left, where it is still open."""
        return self._stream

    async def _echo(self, message: Message) -> None:
        stream = self._open
        within_s = self._echo_s * message.patience
        began = perf_counter()
        fault: Flaw = ""
        saw = ""
        try:
            async with asyncio.timeout(within_s):
                last = len(message.fragments) - 1
                for index, part in enumerate(message.fragments):
                    opcode = message.opcode if index == 0 else CONTINUATION
                    await stream.send(opcode, part, fin=index == last)
                opcode, payload, count = await self._next_message(message)
            if (opcode, payload) != (message.opcode, message.payload):
                fault, saw = "altered", _difference(message, opcode, payload)
            elif last and count == 1:
                saw = "came back in one frame"
        except TimeoutError:
            fault, saw = "missing", f"nothing came in {within_s:g} s"
            self._owed[message.payload] = len(self.echoes)
        except Ended as end:
            fault, saw = self._lose(end)
        self._add(message.name, began, fault, saw)

    async def _ping(self) -> None:
        payload = secrets.token_bytes(PING_PAYLOAD_BYTES)
        began = perf_counter()
        fault: Flaw = ""
        saw = ""
        try:
            async with asyncio.timeout(self._echo_s):
                await self._open.send(PING, payload)
                while (frame := await self._next()).opcode != PONG:
                    self._pay(frame.payload)
            if frame.payload != payload:
                fault, saw = "altered", "the pong carries another payload than the ping"
        except TimeoutError:
            fault, saw = "missing", f"no pong came in {self._echo_s:g} s"
            self._owed[payload] = len(self.echoes)
        except Ended as end:
            fault, saw = self._lose(end)
        self._add("ping", began, fault, saw)

    async def _burst(self) -> None:
        """Small frames at the beat of media: do they come back at that beat?

        What is held by a hop is held again; what a busy machine held up once is not. Where two
        bursts differ, a third decides: a busy machine may also send too late to be held.
        """
        began = perf_counter()
        fault, saw = await self._one_burst()
        if fault == "held":
            fault, saw = await self._one_burst()
            if not fault:
                fault, saw = await self._one_burst()
        self._add(f"burst {BURST_FRAMES} x 20 ms", began, fault, saw)

    async def _one_burst(self) -> tuple[Flaw, str]:
        stream = self._open
        began = perf_counter()
        sent: list[float] = []
        back: list[float] = []
        wanted = [b"beat %d " % index + b"." * 160 for index in range(BURST_FRAMES)]

        async def send() -> None:
            for index, payload in enumerate(wanted):
                await asyncio.sleep(began + index * BEAT_S - perf_counter())
                sent.append(perf_counter())
                await stream.send(TEXT, payload)

        sending = asyncio.create_task(send())
        fault: Flaw = ""
        saw = ""
        try:
            async with asyncio.timeout(BURST_FRAMES * BEAT_S + self._echo_s):
                while len(back) < BURST_FRAMES:
                    frame = await self._next()
                    if not self._pay(frame.payload) and frame.opcode == TEXT:
                        if frame.payload != wanted[len(back)]:
                            fault, saw = "altered", f"frame {len(back) + 1} came back as another"
                        back.append(perf_counter())
            await sending
            fault, saw = (fault, saw) if fault else judge_burst(sent, back)
        except TimeoutError:
            fault, saw = "missing", f"{len(back)} of {BURST_FRAMES} frames came back"
        except Ended as end:
            fault, saw = self._lose(end)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return fault, saw

    @property
    def _open(self) -> ProbeStream:
        assert self._stream is not None  # noqa: S101 - run() opens one before each step
        return self._stream

    async def _next(self) -> Frame:
        """The next frame that is no hop's own ping. Raises Ended where it is a Close."""
        while True:
            frame = await self._open.receive()
            if frame.opcode == CLOSE:
                code = "without a code" if frame.close.code is None else frame.close.code
                raise Ended("cut", f"Close {code} {frame.close.reason}".strip())
            if frame.rsv:
                raise Ended("altered", f"reserved bits {frame.rsv:03b} are set")
            if frame.opcode != PING:
                return frame
            await self._open.send(PONG, frame.payload)

    async def _next_message(self, wanted: Message) -> tuple[int, bytes, int]:
        """Opcode, payload and number of frames of the next message that is not owed."""
        while True:
            frame = await self._next()
            if frame.opcode == PONG:
                self._pay(frame.payload)
                continue
            opcode, parts, count = frame.opcode, [frame.payload], 1
            while not frame.fin:
                frame = await self._next()
                if frame.opcode == CONTINUATION:
                    parts.append(frame.payload)
                    count += 1
            payload = b"".join(parts)
            if payload == wanted.payload or not self._pay(payload):
                return opcode, payload, count

    def _pay(self, payload: bytes) -> bool:
        """Whether this is a message that was given up: it was held, not lost."""
        index = self._owed.pop(payload, None)
        if index is None:
            return False
        held = self.echoes[index]
        self.echoes[index] = replace(held, fault="held", saw="it came only behind another message")
        return True

    def _lose(self, end: Ended) -> tuple[Flaw, str]:
        self._age_s = self._open.age_s
        self.abandon()
        return ("altered" if end.fault == "altered" else "cut"), end.detail

    def _add(self, name: str, began: float, fault: Flaw, saw: str) -> None:
        ms = (perf_counter() - began) * 1000
        self.echoes.append(Echo(name, ms, fault, saw))


def judge_burst(sent: list[float], back: list[float]) -> tuple[Flaw, str]:
    """Whether frames that left at the beat of media came back held up. Times are seconds."""
    delays = [received - left for left, received in zip(sent, back, strict=True)]
    worst = max(delays)
    took, comes = sent[-1] - sent[0], back[-1] - back[0]
    if comes < took / 3:
        return "held", f"sent over {took * 1000:.0f} ms, they came within {comes * 1000:.0f} ms"
    if worst - min(delays) > LATE_S:
        return "held", f"one came {worst * 1000:.0f} ms after it was sent"
    return "", ""


def _difference(wanted: Message, opcode: int, payload: bytes) -> str:
    if opcode != wanted.opcode:
        return f"opcode {wanted.opcode} came back as opcode {opcode}"
    if len(payload) != len(wanted.payload):
        return f"{len(wanted.payload)} bytes came back as {len(payload)}"
    pairs = zip(wanted.payload, payload, strict=True)
    at = next(index for index, (ours, theirs) in enumerate(pairs) if ours != theirs)
    return f"byte {at} of {len(payload)} came back as another"


async def close_by_client(stream: ProbeStream, code: int, reason: str, echo_s: float) -> Echo:
    """Send a Close; the echo answers with the same code (RFC 6455 section 5.5.1)."""
    sending = stream.send_close(code, reason)
    return await _close(stream, f"close {code} by client", code, sending, echo_s)


async def close_by_server(stream: ProbeStream, code: int, reason: str, echo_s: float) -> Echo:
    """Ask the sidecar's echo to close, and see what comes of it."""
    request = f"{CLOSE_REQUEST} {code} {reason}".encode()
    sending = stream.send(TEXT, request)
    return await _close(stream, f"close {code} by server", code, sending, echo_s)


async def _close(
    stream: ProbeStream, name: str, code: int, sending: Awaitable[None], echo_s: float
) -> Echo:
    began = perf_counter()
    fault: Flaw = ""
    saw = ""
    try:
        async with asyncio.timeout(echo_s):
            await sending
            seen = await stream.receive_end()
        if seen is None:
            fault, saw = "close_lost", "EOF without a Close"
        elif seen.code != code:
            fault, saw = "close_changed", f"Close {seen.code} {seen.reason}".strip()
    except TimeoutError:
        fault, saw = "missing", f"no Close came in {echo_s:g} s"
    except Ended as end:
        fault, saw = "close_lost", end.detail
    finally:
        stream.abort()
    return Echo(name, (perf_counter() - began) * 1000, fault, saw)
