"""Probing beside a running call: the call does not notice."""

import asyncio
from itertools import pairwise
from time import perf_counter

from doctor.evidence import Hop, Probe
from doctor.probing import ProbeOptions, probe_chain
from doctor.probing.asking import Switched
from doctor.probing.stream import ProbeStream
from peers import KEY, RunningSidecar
from probing.broken_hops import admin_of
from proxy.frames import TEXT

FRAMES = 100
BEAT_S = 0.02
# A listener hears a hole from here on; a busy machine of two cores makes smaller ones by itself.
HOLE_S = 0.25


async def _call(port: int) -> list[tuple[bytes, float]]:
    """Two seconds of media at its beat over an echoing stream; what came back, and when."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET /call HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY.encode() + b"\r\n\r\n"
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    stream = ProbeStream(Switched(reader, writer, bytearray()))
    began = perf_counter()
    back: list[tuple[bytes, float]] = []

    async def listen() -> None:
        while len(back) < FRAMES:
            back.append(((await stream.receive()).payload, perf_counter()))

    listening = asyncio.create_task(listen())
    for number in range(FRAMES):
        await asyncio.sleep(began + number * BEAT_S - perf_counter())
        await stream.send(TEXT, b"%d" % number)
    async with asyncio.timeout(5):
        await listening
    stream.abort()
    return back


def test_a_call_that_runs_beside_a_whole_probing_has_no_hole(
    echoing_sidecar: RunningSidecar,
) -> None:
    sidecar = echoing_sidecar
    hop = Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}")
    options = ProbeOptions(admin=admin_of(sidecar), soak_s=0.5)

    async def run() -> tuple[list[tuple[bytes, float]], list[tuple[Probe, ...]]]:
        calling = asyncio.create_task(_call(sidecar.port))
        probed = []
        while not calling.done():
            probed.append(await probe_chain([hop, hop], options, lambda _: None))
        return await calling, probed

    back, probed = asyncio.run(run())
    assert [payload for payload, _ in back] == [b"%d" % number for number in range(FRAMES)]
    times = [at for _, at in back]
    holes = [after - before for before, after in pairwise(times)]
    assert max(holes) < HOLE_S
    assert len(probed) >= 1
    assert all(probe.echoes for found in probed for probe in found)
