"""The three measurements, each on a relay of its own that is started for it and ended after it."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.process import Tree, free_port, running
from bench.relays import Relay, Site
from bench.sessions import RefusedError, Upstream, sessions, upgrade_and_close

SETTLE_S = 0.5
FIRST_SESSIONS = 50  # opened and closed before memory is weighed
AT_ONCE = 8  # upgrades on their way at the same time
SPARE_CONNECTIONS = 200


@dataclass(frozen=True, slots=True)
class Frames:
    """What relayed frames cost: `busy` is the part of the time in which the relay used its CPU,
    `waited` the part in which it was ready and something else used it."""

    us_per_frame: float
    busy: float
    waited: float
    frames: int
    kept_pace: bool
    p50_us: float | None
    p99_us: float | None


@dataclass(frozen=True, slots=True)
class Handshakes:
    """What upgrades cost, each followed by a closing handshake."""

    per_s: float
    cpu_us: float


def frames(relay: Relay, shape: load.Shape) -> Frames:
    """CPU time per relayed frame, both directions counted, and the latency of single frames. One
    session more than asked carries the probes."""
    with (
        _started(relay, shape.sessions + 1) as (tree, port, upstream),
        sessions(port, upstream, shape.sessions + 1, shape.payload) as opened,
    ):
        carried = load.run(opened, shape, tree)
    if not carried.frames:
        raise RefusedError("no frame came through in the measured time")
    if relay.command is not None and not carried.cpu_s:
        # nginx listens before it has a worker, which was then not among the processes.
        raise RefusedError(
            "the relay used no CPU time: its worker was not there when it was counted"
        )
    p50_us = p99_us = None
    if len(carried.latencies_s) > 10:
        cuts = statistics.quantiles(carried.latencies_s, n=100, method="inclusive")
        p50_us, p99_us = cuts[49] * 1e6, cuts[98] * 1e6
    return Frames(
        us_per_frame=carried.cpu_s / carried.frames * 1e6,
        busy=carried.cpu_s / carried.elapsed_s,
        waited=carried.waited_s / carried.elapsed_s,
        frames=carried.frames,
        kept_pace=carried.kept_pace,
        p50_us=p50_us,
        p99_us=p99_us,
    )


def idle_session_bytes(relay: Relay, amount: int) -> float:
    """Growth of the relay's resident memory for each of many open, silent Twilio sessions."""
    with _started(relay, amount) as (tree, port, upstream):
        with sessions(port, upstream, FIRST_SESSIONS):
            time.sleep(SETTLE_S)
        time.sleep(SETTLE_S)
        before = tree.rss_bytes()
        with sessions(port, upstream, amount):
            time.sleep(SETTLE_S)
            return (tree.rss_bytes() - before) / amount


def handshakes(relay: Relay, amount: int) -> Handshakes:
    """Upgrades a second, a few at a time, and the relay's CPU time for one."""
    with _started(relay, AT_ONCE) as (tree, port, upstream):
        upgrade_and_close(port, upstream, AT_ONCE)
        rounds = max(1, amount // AT_ONCE)
        start, cpu_before = time.perf_counter(), tree.cpu_s()
        for _ in range(rounds):
            upgrade_and_close(port, upstream, AT_ONCE)
        elapsed_s, cpu_s = time.perf_counter() - start, tree.cpu_s() - cpu_before
    done = rounds * AT_ONCE
    return Handshakes(per_s=done / elapsed_s, cpu_us=cpu_s / done * 1e6)


def _beside(relay: Relay, site: Site) -> AbstractContextManager[object]:
    """What the relay talks to beside its upstream; it is not measured."""
    if relay.beside is None:
        return nullcontext()
    command = relay.beside(site)
    return running(command, {}, site.collector, site.directory, is_pinned=False)


@contextmanager
def _started(relay: Relay, amount: int) -> Iterator[tuple[Tree, int, Upstream]]:
    """The relay in front of an upstream, with room for that many sessions."""
    upstream = Upstream()
    try:
        if relay.command is None:
            yield Tree(()), upstream.port, upstream
            return
        # A worker of nginx that has dropped root's rights must be able to enter its directory.
        with tempfile.TemporaryDirectory(prefix="hopscope-bench-") as name:
            Path(name).chmod(0o755)
            connections = 2 * (amount + FIRST_SESSIONS) + SPARE_CONNECTIONS
            ports = free_port(), upstream.port, connections, free_port(), free_port()
            site = Site(Path(name), *ports)
            with (
                _beside(relay, site),
                running(
                    relay.command(site), relay.settings(site), site.listen, site.directory
                ) as tree,
            ):
                yield tree, site.listen, upstream
                relay.check(site)
    finally:
        upstream.close()
