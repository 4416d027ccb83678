"""The load generator: both ends of every session on raw sockets, with no parsing of frames.

It spins on its CPU instead of sleeping: a sleep of epoll lasts a millisecond at least, and would
turn evenly paced frames into bursts. It keeps account of every byte and of its own schedule, and
refuses the measurement when one of them does not add up.
"""

import gc
import select
import selectors
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from bench.payload import Payload, client_frames, server_frames
from bench.process import Tree
from bench.sessions import RefusedError, Session, refusing_errors

WARM_UP_S = 1.0
DRAIN_S = 20.0
SILENCE_S = 1.5  # after this long with nothing arriving, what is missing is lost
BATCH = 16  # sends, and receives, before the clock is read again
LATE_S = 0.05  # how far the generator may fall behind its schedule
BACKLOG_S = 0.1  # a relay that holds more than this of the load has not kept pace
PROBE_PERIOD_S = 0.0037  # no multiple of the period of the load
IN_FLIGHT = 1  # frames on their way each way in a session, when saturated: more would be joined


@dataclass(frozen=True, slots=True)
class Shape:
    """The load that is asked for: `rate` frames a second each way in every session."""

    sessions: int
    rate: float
    size: int
    seconds: float
    saturated: bool
    payload: Payload = "media"


@dataclass(frozen=True, slots=True)
class Load:
    """What one measured window carried, and what it cost the relay."""

    frames: int
    elapsed_s: float
    cpu_s: float
    waited_s: float
    kept_pace: bool
    latencies_s: list[float]


@dataclass(slots=True)
class Flow:
    """One direction of one session: frames of one size from a socket to the other end's."""

    send: Callable[[bytes], int]
    frames: Iterator[bytes]
    frame_size: int
    arrives_at: int
    sent: int = 0

    def push(self) -> bool:
        """Send the next frame; False when the relay has stopped reading."""
        try:
            sent = self.send(next(self.frames))
        except BlockingIOError:
            return False
        if sent != self.frame_size:
            raise RefusedError("a socket took half a frame: the load is far beyond the relay")
        self.sent += sent
        return True


@dataclass(slots=True)
class Ends:
    """Every socket of the load, what has arrived at each, and the probe that is on its way."""

    poll: Callable[[], Sequence[tuple[int, int]]]
    recv_into: dict[int, Callable[[bytearray], int]]
    received: dict[int, int]
    probe_at: int
    buffer: bytearray = field(default_factory=lambda: bytearray(1 << 16))
    probed: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    def receive(self) -> Sequence[tuple[int, int]]:
        """Read what has arrived, without waiting."""
        events = self.poll()
        for fd, _ in events:
            size = self.recv_into[fd](self.buffer)
            if not size:
                raise RefusedError("the relay closed a session under load")
            self.received[fd] += size
            if fd == self.probe_at and self.probed:
                self.latencies_s.append(perf_counter() - self.probed)
                self.probed = 0.0
        return events


def run(opened: list[Session], shape: Shape, tree: Tree) -> Load:
    """Load the sessions for the asked time; the last of them carries the probes."""
    for session in opened:
        session.client.setblocking(False)
        session.server.setblocking(False)
    flows = [flow for i, session in enumerate(opened) for flow in _flows(i, session, shape)]
    ends = _ends(opened)
    window = _Window(ends, flows, shape, tree)
    gc.collect()
    gc.disable()
    try:
        with refusing_errors("under load"):
            if shape.saturated:
                _saturate(ends, flows, window)
            else:
                _pace(ends, flows, window, shape)
            load = window.close()
            _drain(ends, flows)
    finally:
        gc.enable()
    return load


class _Window:
    """The measured part of a run: after the warm-up, before the drain."""

    def __init__(self, ends: Ends, flows: list[Flow], shape: Shape, tree: Tree) -> None:
        self._ends, self._flows, self._shape, self._tree = ends, flows, shape, tree
        self._opened = self._cpu_before = self._waited_before = 0.0
        self._frames_before = 0
        self.start = perf_counter()
        self.opens = self.start + WARM_UP_S
        self.ends_at = self.opens + shape.seconds
        self.blocked = 0

    def open(self) -> None:
        """Begin to measure: the warm-up is over."""
        self._ends.latencies_s.clear()
        self.blocked = 0
        self.opens = float("inf")
        self._waited_before = self._tree.waited_s()
        self._opened, self._cpu_before = perf_counter(), self._tree.cpu_s()
        self._frames_before = self._arrived()

    def close(self) -> Load:
        """End the measurement while the load still runs."""
        cpu_s, elapsed_s = self._tree.cpu_s() - self._cpu_before, perf_counter() - self._opened
        arrived = self._arrived()
        backlog = sum(f.sent // f.frame_size for f in self._flows) - arrived
        shape = self._shape
        allowed = BACKLOG_S * shape.rate * len(self._flows)
        return Load(
            frames=arrived - self._frames_before,
            elapsed_s=elapsed_s,
            cpu_s=cpu_s,
            waited_s=self._tree.waited_s() - self._waited_before,
            kept_pace=shape.saturated or (not self.blocked and backlog <= allowed),
            latencies_s=list(self._ends.latencies_s),
        )

    def _arrived(self) -> int:
        return sum(self._ends.received[f.arrives_at] // f.frame_size for f in self._flows)


def _pace(ends: Ends, flows: list[Flow], window: _Window, shape: Shape) -> None:
    """Send frame n of all at its own time, so that sessions are spread over the period."""
    *load, probe, _ = flows
    # A session's two directions are half a period apart.
    clients, servers = load[::2], load[1::2]
    half = len(servers) // 2
    order = [f for pair in zip(clients, servers[half:] + servers[:half], strict=True) for f in pair]
    per_second = len(order) * shape.rate
    sent, probe_due = 0, window.start
    while (now := perf_counter()) < window.ends_at:
        if now >= window.opens:
            window.open()
        behind = int((now - window.start) * per_second) - sent
        if behind > LATE_S * per_second and now > window.start + WARM_UP_S:
            late_ms = behind / per_second * 1000
            raise RefusedError(f"the generator fell {late_ms:.0f} ms behind its schedule")
        for n in range(sent, sent + min(behind, BATCH)):
            if not order[n % len(order)].push():
                window.blocked += 1
            sent += 1
        if not ends.probed and now >= probe_due:
            probe_due = now + PROBE_PERIOD_S
            ends.probed = perf_counter()
            probe.push()
        ends.receive()


def _saturate(ends: Ends, flows: list[Flow], window: _Window) -> None:
    """Keep a few frames on their way in every direction, each sent on its own."""
    to = {flow.arrives_at: flow for flow in flows}
    for flow in flows:
        for _ in range(IN_FLIGHT):
            flow.push()
    while (now := perf_counter()) < window.ends_at:
        if now >= window.opens:
            window.open()
        for fd, _ in ends.receive():
            flow, received = to[fd], ends.received[fd]
            while flow.sent - received < IN_FLIGHT * flow.frame_size and flow.push():
                pass


def _drain(ends: Ends, flows: list[Flow]) -> None:
    """Wait for the frames that are on their way, and refuse when they do not arrive."""
    heard = start = perf_counter()
    while missing := [f for f in flows if f.sent != ends.received[f.arrives_at]]:
        if ends.receive():
            heard = perf_counter()
        if perf_counter() > min(heard + SILENCE_S, start + DRAIN_S):
            lost = sum(abs(flow.sent - ends.received[flow.arrives_at]) for flow in missing)
            raise RefusedError(f"{lost} bytes too few or too many came out of the relay")


def _flows(number: int, session: Session, shape: Shape) -> tuple[Flow, Flow]:
    """Client to server, server to client."""
    size, payload = shape.size, shape.payload
    up = client_frames(number, payload, size, shape.rate)
    down = server_frames(number, payload, size)
    extended = 0 if size < 126 else 2 if size < 65536 else 8
    return (
        Flow(session.client.send, up, size + 6 + extended, session.server.fileno()),
        Flow(session.server.send, down, size + 2 + extended, session.client.fileno()),
    )


def _ends(opened: list[Session]) -> Ends:
    sockets = [end for session in opened for end in (session.client, session.server)]
    return Ends(
        poll=_readiness([s.fileno() for s in sockets]),
        recv_into={s.fileno(): s.recv_into for s in sockets},
        received={s.fileno(): 0 for s in sockets},
        probe_at=opened[-1].server.fileno(),
    )


def _readiness(fds: list[int]) -> Callable[[], Sequence[tuple[int, int]]]:
    """A call that returns what can be read now, never waiting."""
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        return lambda: epoll.poll(0, BATCH)
    selector = selectors.DefaultSelector()
    for fd in fds:
        selector.register(fd, selectors.EVENT_READ)
    return lambda: [(key.fd, mask) for key, mask in selector.select(0)]
