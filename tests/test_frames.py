"""Frame headers are read from any stream, however it is cut, and nothing is ever raised."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from frames_told import IMPOSSIBLE, KEY, encode, read, tally, told
from proxy.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    GAP_BOUNDS,
    PING,
    TEXT,
    CloseSeen,
    FrameHeader,
    FrameReader,
    WentBlind,
    close_frame,
    parse_close,
)

quickly = settings(derandomize=True, deadline=None, max_examples=40)


@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
@pytest.mark.parametrize("opcode", range(16), ids=hex)
def test_every_opcode_is_counted_as_it_is(opcode: int, mask: bool) -> None:
    data = encode(opcode, b"\x03\xe8", mask=mask) + encode(opcode, mask=mask)
    seen = told(data, is_client=mask)
    assert (seen.frames, seen.payload, seen.sizes) == tally((opcode, 2), (opcode, 0))
    assert seen.headers == [
        FrameHeader(opcode, True, 0, mask, 2),
        FrameHeader(opcode, True, 0, mask, 0),
    ]
    assert (seen.mask_misfits, seen.blind, seen.bytes_to_boundary) == (0, None, 0)


@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
@pytest.mark.parametrize("length", [0, 1, 16, 17, 125, 126, 1024, 1025, 65535, 65536])
def test_every_length_is_read_as_another_library_writes_it(length: int, mask: bool) -> None:
    data = Frame(Opcode.BINARY, b"\x81" * length).serialize(mask=mask, extensions=[])
    last = Frame(Opcode.PING, b"x").serialize(mask=mask, extensions=[])
    seen = told(data + last, is_client=mask)
    assert (seen.frames, seen.payload, seen.sizes) == tally((BINARY, length), (PING, 1))
    assert seen.headers[0] == FrameHeader(BINARY, True, 0, mask, length)


@pytest.mark.parametrize("length", [0, 5, 125, 126])
@pytest.mark.parametrize("width", [16, 64])
def test_a_length_that_is_longer_than_it_need_be_is_read_all_the_same(
    width: int, length: int
) -> None:
    data = encode(BINARY, b"\x88" * length, width=width)
    seen = told(data + encode(TEXT, b"next"))
    assert (seen.frames, seen.payload, seen.sizes) == tally((BINARY, length), (TEXT, 4))


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("rsv", range(8))
def test_fin_and_reserved_bits_are_told_and_change_nothing(rsv: int, fin: bool) -> None:
    data = encode(TEXT, b"abc", fin=fin, rsv=rsv) + encode(CONTINUATION, b"d")
    seen = told(data, text_limit=100)
    assert seen.headers[0] == FrameHeader(TEXT, fin, rsv, True, 3)
    assert (seen.frames, seen.payload, seen.sizes) == tally((TEXT, 3), (CONTINUATION, 1))
    assert seen.texts == ([b"abc"] if fin and not rsv else [])


def test_control_frames_between_fragments_are_frames_of_their_own() -> None:
    data = (
        encode(TEXT, b"Hel", fin=False)
        + encode(PING, b"?")
        + encode(CONTINUATION, b"l", fin=False)
        + encode(CONTINUATION, b"o")
    )
    seen = told(data, text_limit=100)
    assert (seen.frames, seen.payload, seen.sizes) == tally(
        (TEXT, 3), (PING, 1), (CONTINUATION, 1), (CONTINUATION, 1)
    )
    assert [header.fin for header in seen.headers] == [False, True, False, True]
    assert seen.texts == []


@pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])
def test_masks_on_the_wrong_side_are_counted(is_client: bool) -> None:
    right, wrong = (encode(TEXT, b"abc", mask=mask) for mask in (is_client, not is_client))
    seen = told(right + wrong + wrong + right, is_client=is_client, text_limit=100)
    assert seen.mask_misfits == 2
    assert seen.texts == [b"abc"] * 4


CLOSES = {
    "empty": (b"", CloseSeen(None, "")),
    "one byte": (b"\x03", CloseSeen(None, "")),
    "code": (b"\x03\xe8", CloseSeen(1000, "")),
    "code that no endpoint may send": (b"\x03\xee", CloseSeen(1006, "")),
    "code 0": (b"\x00\x00", CloseSeen(0, "")),
    "reason": (b"\x0f\xa0go away", CloseSeen(4000, "go away")),
    "reason beyond ascii": (b"\x03\xe8" + "über".encode(), CloseSeen(1000, "über")),
    "bad utf-8": (b"\x03\xe8a\xffb", CloseSeen(1000, "a\ufffdb")),
    "utf-8 cut short": (b"\x03\xe8a\xc3", CloseSeen(1000, "a\ufffd")),
    "as long as may be": (b"\x03\xe8" + b"x" * 123, CloseSeen(1000, "x" * 123)),
}


@pytest.mark.parametrize(("payload", "close"), CLOSES.values(), ids=CLOSES)
@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
@pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])
def test_a_close_is_read_whoever_sends_it_masked_or_not(
    payload: bytes, close: CloseSeen, mask: bool, is_client: bool
) -> None:
    seen = told(encode(CLOSE, payload, mask=mask), is_client=is_client)
    assert seen.events == [close]
    assert seen.mask_misfits == (mask != is_client)


def test_a_close_with_a_long_form_of_its_length_is_read() -> None:
    assert told(encode(CLOSE, b"\x03\xe9", width=64)).events == [CloseSeen(1001, "")]


@pytest.mark.parametrize("length", [126, 1000])
def test_a_close_that_is_too_long_has_no_code_and_what_follows_is_read(length: int) -> None:
    data = encode(CLOSE, b"\x03\xe8" + b"x" * (length - 2)) + encode(CLOSE, b"\x03\xe9")
    seen = told(data)
    assert seen.events == [CloseSeen(None, ""), CloseSeen(1001, "")]
    assert seen.payload[CLOSE] == length + 2


def test_a_close_whose_payload_never_comes_is_a_frame_and_no_event() -> None:
    seen = told(encode(CLOSE, b"\x03\xe8bye")[:-1])
    assert (seen.frames[CLOSE], seen.events, seen.bytes_to_boundary) == (1, [], 1)


def test_what_follows_a_close_is_read_too() -> None:
    data = encode(CLOSE, b"\x03\xe8") + encode(TEXT, b"late") + encode(CLOSE, b"")
    seen = told(data)
    assert seen.events == [CloseSeen(1000, ""), CloseSeen(None, "")]
    assert (seen.frames, seen.payload, seen.sizes) == tally((CLOSE, 2), (TEXT, 4), (CLOSE, 0))


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
def test_a_length_that_no_frame_can_have_ends_the_reading_once(length: int, mask: bool) -> None:
    before = encode(TEXT, b"abc") + encode(CLOSE, b"\x03\xe8")
    head = bytes((0x82, mask << 7 | 127)) + length.to_bytes(8, "big") + KEY * mask
    seen = told(before + head + encode(CLOSE, b"\x03\xe9") * 3, text_limit=100)
    assert seen.events == [CloseSeen(1000, ""), WentBlind(IMPOSSIBLE, len(before))]
    assert (seen.frames, seen.payload, seen.sizes) == tally((TEXT, 3), (CLOSE, 2))
    assert seen.texts == [b"abc"]
    assert (seen.blind, seen.bytes_to_boundary) == (IMPOSSIBLE, None)


def test_the_longest_length_that_a_frame_can_have_is_waited_for() -> None:
    longest = (1 << 63) - 1
    seen = told(b"\x82\x7f" + longest.to_bytes(8, "big") + b"\x88\x00" * 3, is_client=False)
    assert seen.events == []
    assert seen.payload[BINARY] == longest
    assert seen.bytes_to_boundary == longest - 6


def test_a_reader_that_was_born_blind_only_counts_bytes() -> None:
    reader = FrameReader(1.0, is_client=True)
    reader.blind = "no websocket"
    assert list(reader.receive_data(encode(CLOSE), 2.0)) == []
    assert (reader.wire_bytes, sum(reader.frames), reader.last) == (6, 0, 2.0)
    assert reader.blind == "no websocket"


@pytest.mark.parametrize("mask", [True, False], ids=["masked", "bare"])
def test_texts_up_to_the_limit_are_handed_out_in_order(mask: bool) -> None:
    texts = [b"a" * 125, b"b", b"c" * 126, b"d" * 127, b"", "é".encode()]
    data = b"".join(
        encode(TEXT, text, mask=mask) + encode(BINARY, b"x", mask=mask) for text in texts
    )
    seen = told(data, text_limit=126)
    assert seen.texts == [text for text in texts if len(text) <= 126]
    assert seen.frames[TEXT] == len(texts)


def test_texts_are_handed_out_with_the_time_of_their_last_byte() -> None:
    reader = FrameReader(0.0, is_client=False)
    given: list[tuple[bytes, float]] = []
    reader.on_text = lambda payload, now: given.append((payload, now))
    reader.text_limit = 100
    for now, piece in enumerate((b"\x81", b"\x03a", b"b", b"c\x81\x01d\x81\x01"), start=1):
        reader.receive_data(piece, float(now))
    assert given == [(b"abc", 4.0), (b"d", 4.0)]


def test_a_text_that_is_no_longer_wanted_is_dropped_in_the_middle() -> None:
    reader = FrameReader(0.0, is_client=False)
    given: list[bytes] = []
    reader.on_text = lambda payload, _now: given.append(payload)
    reader.text_limit = 100
    reader.receive_data(b"\x81\x03ab", 0.0)
    reader.on_text, reader.text_limit = None, 0
    assert list(reader.receive_data(b"c\x88\x00", 0.0)) == [CloseSeen(None, "")]
    assert given == []


def test_who_is_handed_a_text_may_change_what_is_wanted_from_the_next_on() -> None:
    reader = FrameReader(0.0, is_client=False)
    given: list[bytes] = []

    def take_one(payload: bytes, _now: float) -> None:
        given.append(payload)
        reader.on_text, reader.text_limit = None, 0

    reader.on_text, reader.text_limit = take_one, 100
    reader.receive_data(b"\x81\x01a\x81\x01b\x81\x00", 0.0)
    assert given == [b"a"]
    assert reader.frames[TEXT] == 3


def test_the_bytes_to_the_boundary_are_known_whenever_a_header_is_whole() -> None:
    reader = FrameReader(0.0, is_client=True)
    data = encode(BINARY, b"abc") + encode(BINARY, b"x" * 126) + encode(PING)
    known = [reader.bytes_to_boundary]
    for at in range(len(data)):
        reader.receive_data(data[at : at + 1], 0.0)
        known.append(reader.bytes_to_boundary)
    unknown: list[int | None] = [None]
    assert known == [
        0,
        *unknown * 5,
        *(3, 2, 1, 0),
        *unknown * 7,
        *range(126, -1, -1),
        *unknown * 5,
        0,
    ]


def gaps_of(reader: FrameReader) -> dict[float, int]:
    """The histogram without its empty buckets; infinity is what lies above the last bound."""
    bounds = [*GAP_BOUNDS, float("inf")]
    return {bound: count for bound, count in zip(bounds, reader.gaps, strict=True) if count}


def test_a_gap_is_the_silence_before_a_frame() -> None:
    reader = FrameReader(10.0, is_client=False)
    reader.receive_data(b"\x82\x01a", 10.5)  # 0.5 s after the start; bounds are inclusive
    reader.receive_data(b"\x82\x01a\x82\x01b", 10.5625)  # 62.5 ms, and none in the same piece
    reader.receive_data(b"\x82\x7e", 12.0)  # no header yet, but a sign of life after 1.4375 s
    reader.receive_data(b"\x01\x00", 13.0)  # complete: 1 s
    for now in (14.0, 20.0):
        reader.receive_data(b"x" * 128, now)  # payload begins no frame, but ends a silence
    assert gaps_of(reader) == {0.5: 1, 0.1: 1, 0.001: 1, 1: 1}
    assert (reader.longest_gap, reader.last) == (6.0, 20.0)
    measured = 0.5 + 0.0625 + 0 + 1.0
    assert reader.last - 10.0 - reader.within_frames == measured


lengths = st.one_of(st.integers(0, 130), st.sampled_from([1024, 1025, 65535, 65536]))
payloads = st.builds(lambda size, byte: bytes([byte]) * size, lengths, st.integers(0, 255))
data_frames = st.builds(
    Frame, st.sampled_from([Opcode.CONT, Opcode.TEXT, Opcode.BINARY]), payloads, st.booleans()
)
control_frames = st.builds(
    Frame, st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]), st.binary(max_size=125)
)


def cut(data: bytes, places: list[float]) -> list[bytes]:
    """Cut in as many places, given as shares of the whole."""
    at = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


@given(
    st.lists(st.tuples(st.one_of(data_frames, control_frames), st.booleans())),
    st.lists(st.floats(0, 1), max_size=20),
    st.booleans(),
)
@quickly
def test_random_sequences_are_read_as_another_library_wrote_them(
    sent: list[tuple[Frame, bool]], places: list[float], is_client: bool
) -> None:
    data = b"".join(frame.serialize(mask=mask, extensions=[]) for frame, mask in sent)
    seen = read(cut(data, places), is_client=is_client, text_limit=1024)
    frames = [frame for frame, _ in sent]
    assert seen.headers == [
        FrameHeader(frame.opcode, frame.fin, 0, mask, len(frame.data)) for frame, mask in sent
    ]
    assert (seen.frames, seen.payload, seen.sizes) == tally(
        *((frame.opcode, len(frame.data)) for frame in frames)
    )
    assert seen.events == [
        parse_close(bytes(frame.data)) for frame in frames if frame.opcode is Opcode.CLOSE
    ]
    texts = [frame.data for frame in frames if frame.opcode is Opcode.TEXT and frame.fin]
    assert seen.texts == [text for text in texts if len(text) <= 1024]
    assert seen.mask_misfits == sum(mask != is_client for _, mask in sent)
    assert (seen.blind, seen.bytes_to_boundary) == (None, 0)


# Bytes that are frames more often than chance would have it.
shortish = st.lists(st.sampled_from([0, 1, 2, 5, 126, 127, 0x81, 0x82, 0x88, 254, 255])).map(bytes)


@given(st.one_of(st.binary(max_size=200), shortish), st.booleans())
@settings(quickly, max_examples=100)
def test_arbitrary_bytes_are_read_alike_however_they_are_cut(data: bytes, is_client: bool) -> None:
    seen = told(data, is_client=is_client, text_limit=1000)
    assert len(seen.headers) == sum(seen.frames)
    assert sum(isinstance(event, WentBlind) for event in seen.events) == (seen.blind is not None)


def parsed(data: bytes, *, is_masked: bool) -> Frame:
    """The frame as another library reads it, which must be all there is."""
    stream = StreamReader()
    stream.feed_data(data)
    try:
        next(Frame.parse(stream.read_exact, mask=is_masked))
    except StopIteration as result:
        assert not stream.buffer
        frame: Frame = result.value
        return frame
    pytest.fail("the frame is cut short")


@pytest.mark.parametrize("mask", [b"", KEY], ids=["bare", "masked"])
@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        pytest.param("", "", id="none"),
        pytest.param("the sidecar is restarting", "the sidecar is restarting", id="reason"),
        pytest.param("x" * 200, "x" * 123, id="too long"),
        pytest.param("é" * 100, "é" * 61, id="whole characters only"),
    ],
)
def test_a_close_of_ours_is_one_that_others_read(reason: str, kept: str, mask: bytes) -> None:
    data = close_frame(1001, reason, mask)
    frame = parsed(data, is_masked=bool(mask))
    frame.check()
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(frame.data) == Close(1001, kept)
    assert told(data, is_client=bool(mask)).events == [CloseSeen(1001, kept)]
