"""Frame headers of a WebSocket stream (RFC 6455 section 5.2), read from a copy of the bytes.

The reader follows lengths and nothing else: what an endpoint would refuse (reserved bits, unknown
opcodes, a mask on the wrong side) it counts and passes over, because the stream goes on whatever
we think of it. Only a length that no frame can have ends its reading: from there it is blind,
says why, and counts bytes.

    bytes of a sender --> FrameReader.receive_data(data, now) --> Close seen, gone blind
                              |                 |
                              |                 `--> on_text: whole text messages, where wanted
                              `--> tally: frames, payload, sizes, gaps; plain lists of numbers
"""

import struct
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # a platform without a compiled wheel
    from websockets.utils import apply_mask as apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
OPCODES = {
    CONTINUATION: "continuation",
    TEXT: "text",
    BINARY: "binary",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
}

# Upper bounds of the histograms; what lies above the last one counts as +Inf.
# A 20 ms Twilio media message is about 300 bytes; 64 KiB is what its peers accept at most.
SIZE_BOUNDS = (16, 64, 125, 256, 320, 512, 1024, 2048, 4096, 16384, 65536, 262144, 1048576)
# Seconds between frames of one sender: 20 ms is the beat, the rest is how far it slips.
GAP_BOUNDS = (0.001, 0.005, 0.01, 0.015, 0.018, 0.022, 0.025, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 5)

_NEAR = 1025  # sizes below are looked up instead of searched
_SIZE_INDEX = bytes(bisect_left(SIZE_BOUNDS, size) for size in range(_NEAR))
CLOSE_LIMIT = 125  # RFC 6455 section 5.5: what a control frame may carry
_MAX_LENGTH = (1 << 63) - 1  # RFC 6455 section 5.2: the most significant bit MUST be 0
_NOTHING: tuple["Seen", ...] = ()


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One frame as announced. `rsv` holds RSV1 to RSV3 as a number from 0 to 7."""

    opcode: int
    fin: bool
    rsv: int
    is_masked: bool
    length: int


@dataclass(frozen=True, slots=True)
class CloseSeen:
    """A Close frame; code None where the payload was empty or cut short (RFC 6455 7.1.5)."""

    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class WentBlind:
    """The reader can't follow any more. `offset` is the byte of the stream where it stopped."""

    reason: str
    offset: int


Seen = CloseSeen | WentBlind


class FrameReader:
    """The frames of one sender. Everything it counts is public and only ever grows."""

    __slots__ = (
        "_capture",
        "_capture_header",
        "_pending",
        "_skip",
        "blind",
        "frames",
        "gaps",
        "last",
        "longest_gap",
        "mask_bit",
        "mask_misfits",
        "on_text",
        "payload",
        "sizes",
        "tap",
        "text_limit",
        "wire_bytes",
        "within_frames",
    )

    def __init__(self, started: float, *, is_client: bool) -> None:
        self.frames = [0] * 16  # by opcode
        self.payload = [0] * 16  # bytes, by opcode
        self.sizes = [0] * (len(SIZE_BOUNDS) + 1)
        self.gaps = [0] * (len(GAP_BOUNDS) + 1)
        self.last = started  # when the sender was last heard; the session's start before
        self.longest_gap = 0.0
        self.within_frames = 0.0  # seconds between the reads of frames that came in pieces
        self.wire_bytes = 0
        self.mask_bit = 128 if is_client else 0  # RFC 6455 section 5.1: clients mask, servers don't
        self.mask_misfits = 0  # frames that broke that rule
        self.blind: str | None = None
        # Takes each unfragmented, uncompressed text message of at most `text_limit` bytes.
        self.on_text: Callable[[bytes, float], None] | None = None
        self.text_limit = 0
        self.tap: Callable[[FrameHeader], None] | None = None
        self._skip = 0  # payload bytes of the current frame that are still to come
        self._pending = b""  # an incomplete frame header
        self._capture: bytearray | None = None  # payload of the current frame, where it is wanted
        self._capture_header = (0, b"")  # its opcode and mask

    @property
    def bytes_to_boundary(self) -> int | None:
        """How many bytes complete the current frame: 0 between frames, None where unknown."""
        if self.blind is not None or self._pending:
            return None
        return self._skip

    @property
    def total_payload(self) -> int:
        return sum(self.payload)

    def receive_data(self, data: bytes, now: float) -> Sequence[Seen]:
        """Read the next bytes of the stream, seen at `now` (seconds on any steady clock)."""
        n = len(data)
        self.wire_bytes += n
        if self.blind is not None:
            self._hear(now)
            return _NOTHING
        seen: list[Seen] | None = None
        if self._skip:
            self._hear(now)
            if self._capture is not None:
                self._capture += data[: self._skip]
                if self._skip <= n:
                    seen = self._receive_captured(seen, now)
            if self._skip >= n:
                self._skip -= n
                return seen or _NOTHING
        i = self._skip
        if self._pending:
            data = self._pending + data
            n = len(data)
            self._pending = b""
        while n - i >= 2:
            first, second = data[i], data[i + 1]
            length = second & 127
            head = 6 if second > 127 else 2
            if length > 125:
                head += 2 if length == 126 else 8
            if n - i < head:
                break
            if length == 126:
                length = data[i + 2] << 8 | data[i + 3]
            elif length == 127:
                length = int.from_bytes(data[i + 2 : i + 10], "big")
                if length > _MAX_LENGTH:
                    return self._go_blind(seen, n - i)
            opcode = first & 15
            self.frames[opcode] += 1
            self.payload[opcode] += length
            size = _SIZE_INDEX[length] if length < _NEAR else bisect_left(SIZE_BOUNDS, length)
            self.sizes[size] += 1
            gap = now - self.last
            self.last = now
            if gap > self.longest_gap:
                self.longest_gap = gap
            self.gaps[bisect_left(GAP_BOUNDS, gap)] += 1
            if second & 128 != self.mask_bit:
                self.mask_misfits += 1
            if self.tap is not None:
                self.tap(FrameHeader(opcode, first > 127, first >> 4 & 7, second > 127, length))
            i += head
            end = i + length
            # 0x81 is a whole, uncompressed text message: FIN set, RSV1 to RSV3 clear.
            if first == 0x81 and length <= self.text_limit and end <= n:
                payload = data[i:end]
                if second > 127:
                    payload = apply_mask(payload, data[i - 4 : i])
                if self.on_text is not None:
                    self.on_text(payload, now)
            elif opcode == CLOSE and length > CLOSE_LIMIT:
                seen = seen or []
                seen.append(CloseSeen(None, ""))
            elif opcode == CLOSE or (first == 0x81 and length <= self.text_limit):
                self._capture = bytearray(data[i:end])
                self._capture_header = (opcode, data[i - 4 : i] if second > 127 else b"")
                if end <= n:
                    seen = self._receive_captured(seen, now)
            i = end
        if i < n:
            self._hear(now)
            self._pending = data[i:]
            self._skip = 0
        else:
            self._skip = i - n
        return seen or _NOTHING

    def _hear(self, now: float) -> None:
        """Take bytes that begin no frame: they end a silence all the same."""
        gap = now - self.last
        self.longest_gap = max(self.longest_gap, gap)
        self.within_frames += gap
        self.last = now

    def _receive_captured(self, seen: list[Seen] | None, now: float) -> list[Seen] | None:
        """Take the payload that is now complete: a text for `on_text`, a Close as an event."""
        opcode, mask = self._capture_header
        payload = bytes(self._capture or b"")
        self._capture = None
        if mask:
            payload = apply_mask(payload, mask)
        if opcode == CLOSE:
            # Appended, not joined: 64 KiB of empty Closes are 32768 of them.
            seen = seen or []
            seen.append(parse_close(payload))
            return seen
        if self.on_text is not None:
            self.on_text(payload, now)
        return seen

    def _go_blind(self, seen: list[Seen] | None, left: int) -> Sequence[Seen]:
        self.blind = "a frame announces 2**63 bytes or more"
        return [*(seen or ()), WentBlind(self.blind, self.wire_bytes - left)]


def parse_close(payload: bytes) -> CloseSeen:
    """Read a Close payload (RFC 6455 section 5.5.1); bad UTF-8 is shown with replacements."""
    if len(payload) < 2:
        return CloseSeen(None, "")
    return CloseSeen(int.from_bytes(payload[:2], "big"), payload[2:125].decode(errors="replace"))


def close_frame(code: int, reason: str, mask: bytes = b"") -> bytes:
    """A Close frame of our own: masked towards the server, bare towards the client."""
    # What is cut off must leave whole characters: RFC 6455 section 5.5.1 wants UTF-8.
    text = reason.encode()[: CLOSE_LIMIT - 2].decode(errors="ignore").encode()
    payload = struct.pack("!H", code) + text
    if not mask:
        return bytes((0x88, len(payload))) + payload
    return bytes((0x88, 0x80 | len(payload))) + mask + apply_mask(payload, mask)
