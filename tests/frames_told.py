"""What a reader of frames told of bytes, and bytes that another library wrote."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from feeds import every_split
from proxy.frames import (
    SIZE_BOUNDS,
    FrameHeader,
    FrameReader,
    Seen,
)

KEY = b"\x01\x02\x03\x04"
IMPOSSIBLE = "a frame announces 2**63 bytes or more"


class Told(NamedTuple):
    """Everything that a reader tells of a stream but the times."""

    headers: list[FrameHeader]
    events: list[Seen]
    texts: list[bytes]
    frames: list[int]
    payload: list[int]
    sizes: list[int]
    mask_misfits: int
    wire_bytes: int
    blind: str | None
    bytes_to_boundary: int | None


def read(pieces: Iterable[bytes], *, is_client: bool = True, text_limit: int = 0) -> Told:
    reader = FrameReader(0.0, is_client=is_client)
    headers: list[FrameHeader] = []
    events: list[Seen] = []
    texts: list[bytes] = []
    reader.tap = headers.append
    reader.text_limit = text_limit
    if text_limit:
        reader.on_text = lambda payload, _now: texts.append(payload)
    for piece in pieces:
        events += reader.receive_data(piece, 0.0)
    return Told(
        headers,
        events,
        texts,
        reader.frames,
        reader.payload,
        reader.sizes,
        reader.mask_misfits,
        reader.wire_bytes,
        reader.blind,
        reader.bytes_to_boundary,
    )


def told(data: bytes, *, is_client: bool = True, text_limit: int = 0) -> Told:
    """What a reader tells of a stream, which must be the same for every way to cut it."""
    whole, *others = (
        read(pieces, is_client=is_client, text_limit=text_limit) for pieces in every_split(data)
    )
    for other in others:
        assert other == whole
    assert whole.wire_bytes == len(data)
    return whole


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """RFC 6455 section 5.3, a byte at a time."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def encode(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bool = True,
    width: int = 0,
) -> bytes:
    """A frame that no endpoint would send, too; `width` of its length is 7, 16 or 64 bits."""
    size = len(payload)
    width = width or (7 if size < 126 else 16 if size < 65536 else 64)
    marker = {7: size, 16: 126, 64: 127}[width]
    length = b"" if width == 7 else size.to_bytes(width // 8, "big")
    head = bytes((fin << 7 | rsv << 4 | opcode, mask << 7 | marker)) + length
    return head + (KEY + masked(payload) if mask else payload)


def tally(*frames: tuple[int, int]) -> tuple[list[int], list[int], list[int]]:
    """Frames and bytes by opcode, and sizes, of (opcode, length)."""
    counts, payload, sizes = [0] * 16, [0] * 16, [0] * (len(SIZE_BOUNDS) + 1)
    for opcode, length in frames:
        counts[opcode] += 1
        payload[opcode] += length
        sizes[bisect_left(SIZE_BOUNDS, length)] += 1
    return counts, payload, sizes
