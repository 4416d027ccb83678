"""What passed over a stream, frame by frame, for those who asked for it (pure).

Off unless a route or an operator asks. Payloads may hold secrets, so a frame is searched before it
is kept, and what can't be searched is not kept: parts of a fragmented or compressed text are told
with their lengths alone. A capture is bounded in bytes and forgets its oldest frames first; all
captures together are bounded in bytes and in age. Nothing is written to disk.
"""

import base64
import json
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, apply_mask
from proxy.redact import shown_text
from proxy.searched import searched_text

# One frame of more is kept without its payload: a mebibyte is what voice gateways take at most.
PAYLOAD_LIMIT = 1 << 20
# What a frame costs beside its payload, about.
_OVERHEAD = 200
# What is made of JSON before other work has a turn.
CHUNK_BYTES = 64 << 10
_SENDERS = ("client", "server")
_MAX_LENGTH = (1 << 63) - 1


class Frame(NamedTuple):
    """One frame as it passed. `at` is seconds since the 101; `mask` is empty where there was none.

    `payload` is unmasked and searched for secrets. It is None where it was not kept, and `note`
    says why; where something in it was hidden, `note` says that, and `length` is still the wire's.
    """

    at: float
    sender: str
    opcode: int
    fin: bool
    rsv: int
    mask: bytes
    length: int
    payload: bytes | None
    note: str | None = None

    def line(self) -> dict[str, Any]:
        """As JSON; a text's payload is `text`, another's `base64`."""
        line: dict[str, Any] = {
            "at": round(self.at, 6),
            "sender": self.sender,
            "opcode": self.opcode,
            "fin": self.fin,
            "rsv": self.rsv,
            "mask": self.mask.hex(),
            "length": self.length,
        }
        if self.payload is not None:
            try:
                line["text"] = self.payload.decode() if self.opcode == TEXT else None
            except UnicodeDecodeError:
                line["text"] = None
            if line["text"] is None:
                del line["text"]
                line["base64"] = base64.b64encode(self.payload).decode()
        if self.note is not None:
            line["note"] = self.note
        return line


def parse_frame(line: dict[str, Any]) -> Frame:
    """The frame of `Frame.line`. Raises ValueError, KeyError or TypeError for what is none."""
    payload: bytes | None = None
    if "text" in line:
        payload = str(line["text"]).encode()
    elif "base64" in line:
        payload = base64.b64decode(line["base64"], validate=True)
    sender = line["sender"]
    if sender not in _SENDERS:
        raise ValueError(f"sender: {sender!r}")
    return Frame(
        float(line["at"]),
        sender,
        int(line["opcode"]) & 15,
        bool(line["fin"]),
        int(line["rsv"]) & 7,
        bytes.fromhex(line["mask"]),
        int(line["length"]),
        payload,
        line.get("note"),
    )


Cut = tuple[bool, int, int, bytes, int, bytes | None]


class FrameCutter:
    """Cuts the bytes of one sender into whole frames. `skip` bytes belong to a frame under way."""

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip
        self._pending = bytearray()
        self._frame: tuple[bool, int, int, bytes, int] | None = None
        self.is_blind = False

    def receive_data(self, data: bytes) -> Iterator[Cut]:
        """(fin, rsv, opcode, mask, length, payload) of each frame that is now complete."""
        pending = self._pending
        if not (pending or self._skip or self._frame or self.is_blind):
            # The usual case, on the hot path: frames come whole.
            start = 0
            while found := _whole_frame(data, start):
                whole, start = found
                yield whole
            data = data[start:]
        pending += data
        while not self.is_blind:
            if self._skip:
                cut = min(self._skip, len(pending))
                del pending[:cut]
                self._skip -= cut
                if self._skip:
                    return
                if self._frame is not None:  # too long to be kept; it has passed now
                    frame, self._frame = self._frame, None
                    yield (*frame, None)
            if self._frame is None and not self._read_header():
                return
            assert self._frame is not None  # noqa: S101 - the header was read
            length = self._frame[4]
            if length > PAYLOAD_LIMIT:
                self._skip = length
                continue
            if len(pending) < length:
                return
            payload = bytes(pending[:length])
            del pending[:length]
            frame, self._frame = self._frame, None
            yield (*frame, apply_mask(payload, frame[3]) if frame[3] else payload)
        pending.clear()

    def _read_header(self) -> bool:
        """Take a frame's header off what is pending; False where it is not all there yet."""
        pending = self._pending
        if len(pending) < 2:
            return False
        first, second = pending[0], pending[1]
        length, size = second & 127, 2
        extra = {126: 2, 127: 8}.get(length, 0)
        is_masked = second > 127
        if len(pending) < size + extra + 4 * is_masked:
            return False
        if extra:
            length = int.from_bytes(pending[2 : 2 + extra], "big")
            size += extra
        if length > _MAX_LENGTH:
            self.is_blind = True
            return False
        mask = bytes(pending[size : size + 4]) if is_masked else b""
        del pending[: size + len(mask)]
        self._frame = (first > 127, first >> 4 & 7, first & 15, mask, length)
        return True


def _whole_frame(data: bytes, start: int) -> tuple[Cut, int] | None:
    """The frame that stands there and where it ends; None where it is not whole, or long."""
    if len(data) < start + 2:
        return None
    first, second = data[start], data[start + 1]
    length, begin = second & 127, start + 2
    if length == 127:
        return None
    if length == 126:
        begin += 2
        length = int.from_bytes(data[start + 2 : begin], "big")
    mask = b""
    if second > 127:
        begin += 4
        mask = data[begin - 4 : begin]
    end = begin + length
    if len(data) < end:
        return None
    payload = data[begin:end]
    if mask:
        payload = apply_mask(payload, mask)
    return (first > 127, first >> 4 & 7, first & 15, mask, length, payload), end


class Capture:
    """The frames of one session, from when it was asked for. `now` is on the session's clock."""

    def __init__(self, started: float, limit: int, skips: Mapping[str, int] | None = None) -> None:
        skips = skips or {}
        # Frames as mere tuples: these the garbage collector learns to pass over, and a capture
        # may hold some hundred thousand.
        self._frames: deque[tuple[Any, ...]] = deque()
        self.bytes = 0
        self.dropped = 0  # frames that made room for newer ones
        self._started = started
        self._limit = limit
        self._cutters = {sender: FrameCutter(skips.get(sender, 0)) for sender in _SENDERS}
        # Within a fragmented text message. Who comes later can't know, and takes no chance.
        self._in_text = dict.fromkeys(_SENDERS, bool(skips))
        self._is_stopped = False

    def receive_data(self, sender: str, data: bytes, now: float) -> None:
        if self._is_stopped:
            return
        for fin, rsv, opcode, mask, length, payload in self._cutters[sender].receive_data(data):
            kept, note = self._searched(sender, fin, rsv, opcode, payload)
            at = now - self._started
            self._frames.append((at, sender, opcode, fin, rsv, mask, length, kept, note))
            self.bytes += _OVERHEAD + len(kept or b"")
            if self.bytes > self._limit:
                self._make_room()

    @property
    def frames(self) -> list[Frame]:
        """What is kept, the oldest first."""
        return [Frame(*kept) for kept in self._frames]

    def lines(self) -> Iterator[dict[str, Any]]:
        """The same as JSON, each made when it is asked for; what comes from now on is not in it."""
        return (Frame(*kept).line() for kept in list(self._frames))

    def __len__(self) -> int:
        return len(self._frames)

    def stop(self) -> None:
        """Keep nothing any more, though the session goes on."""
        self._is_stopped = True
        self._frames.clear()

    def _make_room(self) -> None:
        while self.bytes > self._limit and len(self._frames) > 1:
            oldest = Frame(*self._frames.popleft())
            self.bytes -= _OVERHEAD + len(oldest.payload or b"")
            self.dropped += 1

    def _searched(
        self, sender: str, fin: bool, rsv: int, opcode: int, payload: bytes | None
    ) -> tuple[bytes | None, str | None]:
        """A frame's payload without what may be secret, and the note on it."""
        is_part_of_text = opcode == CONTINUATION and self._in_text[sender]
        if opcode in (TEXT, BINARY, CONTINUATION):
            is_text = opcode == TEXT or is_part_of_text
            self._in_text[sender] = is_text and not fin
        if payload is None:
            return None, "too long to be kept"
        if is_part_of_text or (opcode == TEXT and not fin):
            return None, "a part of a text can't be searched"
        if rsv:
            return None, "compressed: it can't be searched"
        if opcode == TEXT:
            searched = searched_text(payload)
        elif opcode == CLOSE and len(payload) > 2:
            reason = payload[2:].decode(errors="replace")
            searched = payload[:2] + shown_text(reason).encode()
        elif opcode in (PING, PONG, BINARY, CLOSE, CONTINUATION):
            searched = payload
        else:
            return None, "a reserved opcode"
        return searched, None if searched == payload else "secrets were hidden"


class Captures:
    """The captures of all sessions, by id: running ones, and ended ones until they are too old."""

    def __init__(self, session_bytes: int, total_bytes: int, seconds: float) -> None:
        self.set_limits(session_bytes, total_bytes, seconds)
        self._known: OrderedDict[str, tuple[Capture, float | None]] = OrderedDict()

    def set_limits(self, session_bytes: int, total_bytes: int, seconds: float) -> None:
        self._session_bytes, self._total_bytes, self._seconds = session_bytes, total_bytes, seconds

    def begin(
        self, session_id: str, started: float, skips: Mapping[str, int] | None = None
    ) -> Capture:
        """The capture of a session; the one that it has, if it has one."""
        if session_id not in self._known:
            capture = Capture(started, min(self._session_bytes, self._total_bytes), skips)
            self._known[session_id] = (capture, None)
        return self._known[session_id][0]

    def end(self, session_id: str, now: float) -> None:
        """The session is over: from now on its capture grows old."""
        if session_id in self._known:
            self._known[session_id] = (self._known[session_id][0], now)

    def get(self, session_id: str) -> Capture | None:
        found = self._known.get(session_id)
        return found[0] if found else None

    def lines(self) -> list[dict[str, Any]]:
        """What there is, the newest last."""
        return [
            {
                "id": session_id,
                "is_running": ended is None,
                "frames": len(capture),
                "bytes": capture.bytes,
                "dropped": capture.dropped,
            }
            for session_id, (capture, ended) in self._known.items()
        ]

    def tick(self, now: float) -> None:
        """Forget what is too old, and the oldest of what is too much, about once a second."""
        for session_id, (_, ended) in list(self._known.items()):
            if ended is not None and now - ended > self._seconds:
                del self._known[session_id]
        total = sum(capture.bytes for capture, _ in self._known.values())
        for session_id, (capture, _) in list(self._known.items()):
            if total <= self._total_bytes:
                return
            total -= capture.bytes
            capture.stop()
            del self._known[session_id]


def json_chunks(lines: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Lines of JSON, some at a time."""
    some = bytearray()
    for line in lines:
        some += json.dumps(line).encode() + b"\n"
        if len(some) >= CHUNK_BYTES:
            yield bytes(some)
            some.clear()
    yield bytes(some)
