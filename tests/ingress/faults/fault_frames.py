"""What the laboratory's broken hops do to a stream: whole frames are read, and carried wrongly.

A carrier gets one frame and its sender, and gives the frames that are passed on in its place. The
masks are taken off and put on again; a carrier sees plain payloads.
"""

import asyncio
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

Options = dict[str, Any]
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Sender = Literal["client", "server"]
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    def encode(self, sender: Sender) -> bytes:
        """As RFC 6455 section 5.2 has it."""
        size = len(self.payload)
        mask = 0x80 if sender == "client" else 0
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode])
        if size < 126:
            head += bytes([mask | size])
        elif size < 1 << 16:
            head += struct.pack("!BH", mask | 126, size)
        else:
            head += struct.pack("!BQ", mask | 127, size)
        if not mask:
            return head + self.payload
        key = os.urandom(4)
        return head + key + _masked(self.payload, key)


def _masked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    long = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(long)).to_bytes(size)


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Raises IncompleteReadError where the stream ends."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    key = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    plain = _masked(payload, key) if key else payload
    return Frame(first & 0x0F, plain, bool(first & 0x80), first >> 4 & 7)


Carrier = Callable[[Frame, Sender, Options], Iterator[Frame]]


def swallows_pings(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Control frames are its own affair, and it forgets to answer (D18)."""
    if frame.opcode not in (PING, PONG):
        yield frame


def empties_pongs(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """A pong without the payload of its ping."""
    yield replace(frame, payload=b"") if frame.opcode == PONG else frame


def closes_1000(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Whatever the code of a Close was, 1000 is passed on (D20)."""
    normal = struct.pack("!H", 1000)
    yield replace(frame, payload=normal) if frame.opcode == CLOSE else frame


def closes_1006(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Closes are not passed on: the connection is ended in their place."""
    if frame.opcode == CLOSE:
        raise EOFError
    yield frame


def swallows_closes(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Closes are not passed on, and the connection stays."""
    if frame.opcode != CLOSE:
        yield frame


def joins_fragments(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Each message becomes one frame (D38)."""
    parts = options.setdefault("_parts", {}).setdefault(sender, [])
    if frame.opcode > BINARY:
        yield frame
        return
    parts.append(frame)
    if frame.fin:
        yield Frame(parts[0].opcode, b"".join(each.payload for each in parts))
        parts.clear()


def cuts_frames(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Frames become fragments of 4 KiB (D38)."""
    step = 4096
    if frame.opcode > BINARY or len(frame.payload) <= step:
        yield frame
        return
    starts = range(0, len(frame.payload), step)
    for start in starts:
        opcode = frame.opcode if start == 0 else CONTINUATION
        is_last = frame.fin and start == starts[-1]
        yield Frame(opcode, frame.payload[start : start + step], fin=is_last)


def limits_messages(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """Close 1009 for what is larger than its limit (D33)."""
    if len(frame.payload) > options["limit_bytes"]:
        raise TooBig
    yield frame


def drops_large(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """The connection ends where a frame is larger than its buffer (D33)."""
    if len(frame.payload) > options["limit_bytes"]:
        raise EOFError
    yield frame


def truncates(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """What is larger than its buffer is cut off."""
    yield replace(frame, payload=frame.payload[: options["limit_bytes"]])


def makes_text_binary(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """It knows one kind of message."""
    yield replace(frame, opcode=BINARY) if frame.opcode == TEXT else frame


def sets_rsv1(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """It marks messages as compressed that are not (D36)."""
    is_marked = sender == "server" and frame.opcode in (TEXT, BINARY)
    yield replace(frame, rsv=4) if is_marked else frame


def passes_nothing(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """The 101 comes, and nothing else."""
    yield from ()


def is_one_way(frame: Frame, sender: Sender, options: Options) -> Iterator[Frame]:
    """What the client says arrives; what the server says does not."""
    if sender == "client":
        yield frame


FRAME_FAULTS: dict[str, Carrier] = {
    each.__name__: each
    for each in (
        *(swallows_pings, empties_pongs, closes_1000, closes_1006, swallows_closes),
        *(joins_fragments, cuts_frames, limits_messages, drops_large, truncates),
        *(makes_text_binary, sets_rsv1, passes_nothing, is_one_way),
    )
}
# Of the whole stream: `idle_s` and `age_s` with `closes_with`, a code or 0 for EOF; `held_ms`.
STREAM_FAULTS = ("ends_when_idle", "ends_by_age", "holds_frames", "ends_at_once", "eof_as_1000")
FAULTS = (*FRAME_FAULTS, *STREAM_FAULTS)


class TooBig(Exception):  # noqa: N818 - a verdict on a message
    pass


class _Idle(Exception):  # noqa: N818 - what a stream is
    pass


async def carry(client: Pair, server: Pair, hop: Options) -> None:
    """Carry frames both ways until one side ends, then end both."""
    hop = dict(hop)  # what carriers keep is one stream's
    if "ends_at_once" in hop["does"]:
        return
    ways = [
        asyncio.create_task(_pump("client", client[0], server[1], hop)),
        asyncio.create_task(_pump("server", server[0], client[1], hop)),
    ]
    age_s = hop.get("age_s") if "ends_by_age" in hop["does"] else None
    done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED, timeout=age_s)
    for way in pending:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    error = next((way.exception() for way in done), None)
    code = _code(error, hop, is_old=not done)
    if code:
        close = Frame(CLOSE, struct.pack("!H", code))
        for writer, sender in ((client[1], "server"), (server[1], "client")):
            writer.write(close.encode(sender))  # type: ignore[arg-type]
            with suppress(OSError):
                await writer.drain()


def _code(error: BaseException | None, hop: Options, *, is_old: bool) -> int:
    if is_old or isinstance(error, _Idle):
        return int(hop.get("closes_with", 0))
    if isinstance(error, TooBig):
        return 1009
    return 1000 if "eof_as_1000" in hop["does"] else 0


async def _pump(
    sender: Sender, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hop: Options
) -> None:
    """One direction. Ends by an exception that says why, or behind a Close."""
    carriers = [FRAME_FAULTS[name] for name in hop["does"] if name in FRAME_FAULTS]
    idle_s = hop.get("idle_s") if "ends_when_idle" in hop["does"] else None
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                frame = await read_frame(reader)
        except TimeoutError:
            raise _Idle from None
        frames = [frame]
        for carrier in carriers:
            frames = [out for each in frames for out in carrier(each, sender, hop)]
        data = b"".join(each.encode(sender) for each in frames)
        if "holds_frames" in hop["does"] and sender == "server" and frame.opcode <= BINARY:
            # Nagle's way: what is small waits for more.
            held = hop.setdefault("_held", [])
            held.append(data)
            if len(held) == 1:
                loop.call_later(hop["held_ms"] / 1000, _release, writer, held)
            continue
        writer.write(data)
        await writer.drain()


def _release(writer: asyncio.StreamWriter, held: list[bytes]) -> None:
    writer.write(b"".join(held))
    held.clear()
