"""What comes back over a stream: each fault by a hop in front of a real sidecar."""

import asyncio
import re
from time import monotonic

import pytest
from websockets.utils import apply_mask

from doctor.evidence import Probe
from doctor.probing.battery import AT_ONCE_S
from peers import RunningSidecar
from probing.broken_hops import (
    Handler,
    Peer,
    faults,
    passing,
    payload_of,
    probe,
)
from proxy.frames import BINARY, CLOSE, PING, PONG, TEXT

CLOSES = ["close 1000 by client", "close 4000 by client", "close 4001 by server"]


def test_bytes_that_come_back_as_others_are_altered(sidecar: RunningSidecar) -> None:
    async def flip(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == BINARY and len(frame) < 100_000:
            frame = frame[:-1] + bytes((frame[-1] ^ 1,))
        writer.write(frame)

    found = probe(passing(sidecar, frames=flip), sidecar)
    assert list(faults(found)) == [("echo", "altered")]
    [bad] = [echo for echo in found.echoes if echo.fault]
    assert (bad.name, bad.saw) == ("binary 64 KiB", "byte 65535 of 65536 came back as another")


def test_a_message_that_waits_for_the_next_is_held(sidecar: RunningSidecar) -> None:
    kept: dict[asyncio.StreamWriter, bytes] = {}

    async def one_behind(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE:
            writer.write(kept.pop(writer, b"") + frame)
        else:
            writer.write(kept.pop(writer, b""))
            kept[writer] = frame

    found = probe(passing(sidecar, frames=one_behind), sidecar)
    assert ("echo", "held") in faults(found)
    assert found.echoes[0].name == "text 1 B"
    assert (found.echoes[0].fault, found.echoes[0].saw) == (
        "held",
        "it came only behind another message",
    )


def test_media_that_comes_back_in_one_lump_is_held(sidecar: RunningSidecar) -> None:
    lumps: dict[asyncio.StreamWriter, bytearray] = {}

    async def lump(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if not payload_of(frame).startswith(b"beat"):
            writer.write(frame)
            return
        if writer not in lumps:
            lumps[writer] = bytearray()
            flush = lambda: writer.write(bytes(lumps.pop(writer)))  # noqa: E731
            asyncio.get_running_loop().call_later(0.25, flush)
        lumps[writer] += frame

    found = probe(passing(sidecar, frames=lump), sidecar)
    assert list(faults(found)) == [("echo", "held")]
    assert found.broken is not None
    assert found.broken.detail.startswith("burst 10 x 20 ms: sent over ")


def test_media_that_was_held_up_once_was_held_by_chance(sidecar: RunningSidecar) -> None:
    lump: list[bytes] = []

    async def once(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if not payload_of(frame).startswith(b"beat") or len(lump) > 10:
            writer.write(frame)
            return
        lump.append(frame)
        if len(lump) == 10:
            writer.write(b"".join(lump))
            lump.append(b"no more")

    assert list(faults(probe(passing(sidecar, frames=once), sidecar))) == []


def test_a_message_that_never_comes_back_is_missing(sidecar: RunningSidecar) -> None:
    async def swallow(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if len(payload_of(frame)) != 1024:
            writer.write(frame)

    found = probe(passing(sidecar, frames=swallow), sidecar)
    assert list(faults(found)) == [("echo", "missing")]
    assert [echo.name for echo in found.echoes if echo.fault] == ["text 1 KiB"]


def test_a_ping_that_is_swallowed_is_missing_and_one_that_a_hop_answers_is_altered(
    sidecar: RunningSidecar,
) -> None:
    async def swallow(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 != PING:
            writer.write(frame)

    found = probe(passing(sidecar, asks=swallow), sidecar)
    assert [(echo.name, echo.fault) for echo in found.echoes if echo.fault] == [("ping", "missing")]

    async def answer(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x8a\0" if frame[0] & 15 == 10 else frame)

    found = probe(passing(sidecar, frames=answer), sidecar)
    assert [(echo.name, echo.fault) for echo in found.echoes if echo.fault] == [("ping", "altered")]


def test_a_stream_that_ends_under_a_large_message_is_cut_and_the_rest_is_tried_anew(
    sidecar: RunningSidecar,
) -> None:
    async def cut(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if 60_000 < len(frame) < 70_000:
            writer.write(b"\x88\x0d\x03\xf1too big yes")
            writer.close()
        else:
            writer.write(frame)

    found = probe(passing(sidecar, frames=cut), sidecar)
    assert list(faults(found)) == [("echo", "cut")]
    bad = {echo.name: echo.saw for echo in found.echoes if echo.fault}
    assert bad == {"binary 64 KiB": "Close 1009 too big yes"}
    assert [echo.name for echo in found.echoes][-4:] == [
        "binary 1 MiB",
        "close 1000 by client",
        "close 4000 by client",
        "close 4001 by server",
    ]


def ending_old(sidecar: RunningSidecar, ends: dict[int, str]) -> Handler:
    """A hop that ends streams under texts of 1 KiB, once they are old: by the text's number, "one"
    is that text's stream, "all" every stream of the hop."""
    born: dict[asyncio.StreamWriter, float] = {}
    count = 0

    async def frames(frame: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += len(payload_of(frame)) == 1024
        if len(payload_of(frame)) != 1024 or count not in ends:
            writer.write(frame)
            return
        await asyncio.sleep(born[writer] + AT_ONCE_S + 0.1 - monotonic())
        for each in list(born) if ends[count] == "all" else [writer]:
            each.close()

    passed = passing(sidecar, frames=frames)

    async def handle(peer: Peer) -> None:
        born[peer.writer] = monotonic()
        await passed(peer)

    return handle


def texts_of(found: Probe) -> list[tuple[str, bool]]:
    """The fault of the text of 1 KiB, and whether it is told by its stream's age."""
    return [(e.fault, e.aged_s is not None) for e in found.echoes if e.name == "text 1 KiB"]


def test_a_message_that_comes_back_over_a_new_stream_was_cut_for_the_age_of_the_old_one(
    sidecar: RunningSidecar,
) -> None:
    found = probe(ending_old(sidecar, {1: "one"}), sidecar)
    assert texts_of(found) == [("cut", True)]
    assert list(faults(found)) == [("echo", "cut")]
    assert found.broken is not None
    assert re.fullmatch(
        r"text 1 KiB: EOF without a Close, at an age of 0\.\d s", found.broken.detail
    )
    assert found.echoes[-1].name == "close 4001 by server", "the rest was sent"


def test_a_silent_stream_that_is_cut_beside_it_excuses_the_message(sidecar: RunningSidecar) -> None:
    found = probe(ending_old(sidecar, {1: "all", 2: "all"}), sidecar)
    assert texts_of(found) == [("cut", True)]


def test_a_message_that_is_cut_twice_beside_a_stream_that_lives_is_to_blame(
    sidecar: RunningSidecar,
) -> None:
    found = probe(ending_old(sidecar, {1: "one", 2: "one"}), sidecar)
    assert texts_of(found) == [("cut", False)]


def test_where_a_silent_stream_dies_too_it_tells_what_the_age_of_another_only_hints_at(
    sidecar: RunningSidecar,
) -> None:
    passed = ending_old(sidecar, {1: "one"})

    async def mortal(peer: Peer) -> None:
        serving = asyncio.ensure_future(passed(peer))
        await asyncio.wait([serving], timeout=2.0)
        peer.writer.transport.abort()
        await asyncio.gather(serving, return_exceptions=True)

    found = probe(mortal, sidecar, idle_s=10.0)
    assert texts_of(found) == [("cut", True)]
    assert list(faults(found)) == [("idle", "cut")]


def test_streams_that_end_at_once_are_not_tried_for_every_message(sidecar: RunningSidecar) -> None:
    async def end(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    found = probe(passing(sidecar, frames=end), sidecar)
    assert [(e.name, e.fault, e.aged_s) for e in found.echoes][:2] == [
        ("text 1 B", "cut", None),
        ("ping", "cut", None),
    ]
    assert [echo.name for echo in found.echoes[2:]] == CLOSES


def test_a_close_that_is_lost_once_was_lost_by_chance(sidecar: RunningSidecar) -> None:
    lost: set[bytes] = set()

    async def lose(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE and frame not in lost:
            lost.add(frame)
            writer.close()
        else:
            writer.write(frame)

    found = probe(passing(sidecar, frames=lose), sidecar)
    assert len(lost) == 3
    assert list(faults(found)) == []


def test_fragments_that_a_hop_joins_are_told_and_no_fault(sidecar: RunningSidecar) -> None:
    parts = bytearray()

    async def join(frame: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal parts
        if frame[0] & 15 not in (0, TEXT) or (frame[0] == 0x81):
            writer.write(frame)
            return
        parts += payload_of(frame)
        if frame[0] & 128:
            writer.write(bytes((0x81, len(parts))) + parts)
            parts = bytearray()

    found = probe(passing(sidecar, frames=join), sidecar)
    assert list(faults(found)) == []
    [said] = [echo.saw for echo in found.echoes if echo.name == "fragments 3"]
    assert said == "came back in one frame"


def test_a_close_that_gets_lost_and_one_that_changes_are_told(sidecar: RunningSidecar) -> None:
    async def lose(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE:
            writer.close()
        else:
            writer.write(frame)

    found = probe(passing(sidecar, frames=lose), sidecar)
    assert list(faults(found)) == [("close", "close_lost")]

    async def change(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x88\x02\x03\xe8" if frame[0] & 15 == CLOSE else frame)

    found = probe(passing(sidecar, frames=change), sidecar)
    assert list(faults(found)) == [("close", "close_changed")]
    assert [(echo.name, echo.saw) for echo in found.echoes if echo.fault] == [
        ("close 4000 by client", "Close 1000"),
        ("close 4001 by server", "Close 1000"),
    ]


def test_after_two_messages_that_never_came_the_rest_are_not_sent(sidecar: RunningSidecar) -> None:
    async def swallow(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == CLOSE:
            writer.write(frame)

    found = probe(passing(sidecar, frames=swallow), sidecar)
    assert [(echo.name, echo.fault) for echo in found.echoes] == [
        ("text 1 B", "missing"),
        ("ping", "missing"),
        ("close 1000 by client", ""),
        ("close 4000 by client", ""),
        ("close 4001 by server", ""),
    ]


@pytest.mark.parametrize(
    ("first", "saw"),
    [
        (b"\xc1", "reserved bits 100 are set"),
        (b"\x82", "opcode 1 came back as opcode 2"),
    ],
)
def test_a_frame_whose_first_byte_changes_is_altered(
    sidecar: RunningSidecar, first: bytes, saw: str
) -> None:
    async def change(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(first + frame[1:] if len(payload_of(frame)) == 1024 else frame)

    found = probe(passing(sidecar, frames=change), sidecar)
    assert [(echo.name, echo.fault, echo.saw) for echo in found.echoes if echo.fault] == [
        ("text 1 KiB", "altered", saw)
    ]


def test_a_ping_of_a_hop_is_answered_and_no_message(sidecar: RunningSidecar) -> None:
    heard = bytearray()

    async def ping_first(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x89\x03hop" + frame)

    async def listen(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if frame[0] & 15 == PONG:
            heard.extend(apply_mask(frame[6:], frame[2:6]))
        else:
            writer.write(frame)

    passed = passing(sidecar, frames=ping_first, asks=listen)
    found = probe(passed, sidecar, idle_s=0.1, soak_s=0.1)
    assert list(faults(found)) == []
    assert heard.startswith(b"hophop")


def test_a_frame_that_announces_more_than_is_ever_sent_is_altered(
    sidecar: RunningSidecar,
) -> None:
    async def announce(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x82\x7f\0\0\1\0\0\0\0\0" if frame[0] & 15 == BINARY else frame)

    found = probe(passing(sidecar, frames=announce), sidecar)
    assert ("binary 64 KiB", "altered", "a frame announces 1099511627776 bytes") in [
        (echo.name, echo.fault, echo.saw) for echo in found.echoes
    ]


def test_a_frame_that_a_server_masks_is_read_all_the_same(sidecar: RunningSidecar) -> None:
    async def mask(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if len(payload_of(frame)) == 1:
            frame = frame[:1] + b"\x81abcd" + apply_mask(frame[2:], b"abcd")
        writer.write(frame)

    assert list(faults(probe(passing(sidecar, frames=mask), sidecar))) == []
