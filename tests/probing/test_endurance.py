"""Streams that are left silent, and streams under the beat of media."""

import asyncio

from doctor.probing.endurance import LAST_WORDS
from peers import RunningSidecar
from probing.broken_hops import (
    Peer,
    faults,
    passing,
    payload_of,
    probe,
)


def test_a_stream_that_is_left_alone_lives_or_dies_at_its_time(sidecar: RunningSidecar) -> None:
    found = probe(passing(sidecar), sidecar, idle_s=0.3)
    assert found.silence is not None
    assert (found.silence.wanted_s, found.silence.died_after_s) == (0.3, None)
    assert found.phase("idle") is not None

    async def dies(peer: Peer) -> None:
        passed = asyncio.ensure_future(passing(sidecar)(peer))
        await asyncio.wait([passed], timeout=1.0)
        peer.writer.transport.abort()
        await asyncio.gather(passed, return_exceptions=True)

    found = probe(dies, sidecar, idle_s=5.0)
    assert found.silence is not None
    assert found.silence.died_after_s is not None
    assert 0.8 < found.silence.died_after_s < 2.0
    assert ("idle", "cut") in faults(found)


def test_a_stream_that_died_without_a_word_shows_at_the_last_message(
    sidecar: RunningSidecar,
) -> None:
    async def zombie(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if payload_of(frame) != LAST_WORDS:
            writer.write(frame)

    found = probe(passing(sidecar, frames=zombie), sidecar, idle_s=0.1)
    assert found.silence is not None
    assert found.silence.how == "nothing came back in 1 s"
    assert ("idle", "cut") in faults(found)


def test_media_is_sent_at_its_beat_and_timed(sidecar: RunningSidecar) -> None:
    found = probe(passing(sidecar), sidecar, soak_s=0.5)
    assert found.soak is not None
    assert (found.soak.sent, found.soak.received, found.soak.fault) == (25, 25, "")
    assert 0 < found.soak.round_trip_ms < 100
    assert found.soak.worst_gap_ms >= 15
    assert found.phase("media") is not None


def test_media_that_is_lost_or_stalls_is_told(sidecar: RunningSidecar) -> None:
    async def lose(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if b'"chunk": "20"' not in payload_of(frame):
            writer.write(frame)

    found = probe(passing(sidecar, frames=lose), sidecar, soak_s=0.5)
    assert found.soak is not None
    assert (found.soak.received, found.soak.fault) == (24, "missing")

    async def stall(frame: bytes, writer: asyncio.StreamWriter) -> None:
        if b'"chunk": "10"' in payload_of(frame):
            await asyncio.sleep(0.5)
        writer.write(frame)

    found = probe(passing(sidecar, frames=stall), sidecar, soak_s=0.5)
    assert found.soak is not None
    assert (found.soak.received, found.soak.fault) == (25, "held")
    assert found.soak.worst_gap_ms > 300


def test_media_that_comes_back_as_other_bytes_is_altered(sidecar: RunningSidecar) -> None:
    async def turn(frame: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(frame.replace(b'"chunk": "10"', b'"chunk": "01"'))

    found = probe(passing(sidecar, frames=turn), sidecar, soak_s=0.3)
    assert found.soak is not None
    assert (found.soak.received, found.soak.fault) == (15, "altered")
