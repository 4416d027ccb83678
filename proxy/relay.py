"""Both directions of every session after its 101: forward first, observe second.

    client socket --recv--> send --> server socket         one Side each; what one side read and
                      |                                    the other does not take waits in `out`,
                      `--> session.receive_data            and the first is not read meanwhile

All sessions share one watch (`proxy.watch`), which calls `readable` and `writable`.
"""

import os
import socket
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from proxy.capture import Capture, Captures
from proxy.frames import close_frame
from proxy.session import SENDERS, Ending, Sender, Session
from proxy.settings import Limits
from proxy.watch import READ, WRITE, Watch
from proxy.wire import Wire

# How long the other end may read what is left after one end was reset.
LINGER_S = 5.0
# How long both ends may answer our Close.
GOODBYE_S = 2.0
# Upper bounds of hopscope_relay_seconds: from before recv until after send.
RELAY_BOUNDS = (25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.25, 1.0)


class Side:
    """One of the two sockets of a session. `sender` is who speaks on it."""

    __slots__ = (
        "deaf",
        "detour",
        "eof",
        "fd",
        "fin_sent",
        "gone",
        "held",
        "out",
        "out_since",
        "pair",
        "peer",
        "read",
        "recv",
        "send",
        "sender",
        "sock",
        "watched",
    )

    peer: "Side"
    pair: "Pair"

    def __init__(self, sock: socket.socket, sender: Sender, out: bytes, session: Session) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.read = session.reading(sender)
        self.sender: Sender = sender
        self.out = out  # read from the peer and not yet taken by this side
        self.out_since = 0.0  # when this side last took something, while `out` waits
        self.eof = False  # nothing more comes from this side
        self.fin_sent = False  # nothing more goes to this side
        self.deaf = False  # it takes nothing more, and what it sent before is still to be read
        self.gone = False  # reset; its socket is closed
        self.detour = False  # its data no longer just passes: a goodbye was said, the peer is gone
        self.held = False  # the sidecar said goodbye: its frames are read and not passed on
        self.watched = 0


class Pair:
    """A session with its two sides and what its clock needs to know."""

    __slots__ = ("client", "deadline", "goodbye", "on_end", "server", "session")

    def __init__(
        self, session: Session, client: Side, server: Side, on_end: Callable[[Session], None]
    ) -> None:
        self.session = session
        self.client, self.server = client, server
        client.peer, server.peer = server, client
        client.pair = server.pair = self
        self.on_end = on_end
        self.goodbye: str | None = None  # the reason of the Close that the sidecar sends
        self.deadline: float | None = None  # when the pair ends, whatever is still open


class Relay:
    """All running sessions. Times are perf_counter() seconds."""

    def __init__(self, limits: Limits, watch: Watch) -> None:
        self.set_limits(limits)
        self.pairs: dict[str, Pair] = {}
        self.times = [0] * (len(RELAY_BOUNDS) + 1)
        self.times_sum = 0.0
        self._watch = watch
        watch.attach(self.readable, self.writable)

    def set_limits(self, limits: Limits) -> None:
        """Take other limits, for running sessions, too."""
        self.limits = limits
        self._read_size = limits.write_buffer_bytes

    def begin(
        self, session: Session, client: Wire, server: Wire, on_end: Callable[[Session], None]
    ) -> None:
        """Take over two wires, with what was read ahead from each and not yet taken by it."""
        wires = (client, server)
        sides = [
            Side(wire.release(), sender, bytes(wire.out), session)
            for sender, wire in zip(SENDERS, wires, strict=True)
        ]
        pair = Pair(session, sides[0], sides[1], on_end)
        self.pairs[session.id] = pair
        now = perf_counter()
        for side, wire in zip(sides, wires, strict=True):
            side.out_since = now
            if wire.buffer and not side.gone:
                self._forward(side, bytes(wire.buffer), now)
        for side, wire in zip(sides, wires, strict=True):
            if wire.error is not None and not side.gone:
                self._stop_sending(side, now)
            elif wire.eof and not side.gone:
                self._receive_eof(side, now)
            self._rewatch(side)

    def capture(self, session_id: str, captures: Captures) -> Capture | None:
        """Begin to keep what passes over a running session; None where that can't be followed."""
        pair = self.pairs.get(session_id)
        if pair is None:
            return None
        session = pair.session
        if session.capture is None:
            skips = {sender: session.readers[sender].bytes_to_boundary for sender in SENDERS}
            known: dict[str, int] = {who: skip for who, skip in skips.items() if skip is not None}
            if len(known) != len(skips):
                return None  # blind, or within a header: the next try may be luckier
            session.capture = captures.begin(session_id, session.started_at, known)
            for side in (pair.client, pair.server):
                side.read = session.reading(side.sender)
        return session.capture

    def close(self) -> None:
        """End every session at once; for the very end of the process."""
        for pair in list(self.pairs.values()):
            pair.session.end("drain", "sidecar", perf_counter())
            self._finish(pair)

    def readable(self, side: Side) -> None:
        """Pass on what one side sent. This is the hot path: no call in it without a reason."""
        now = perf_counter()
        try:
            data = side.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._receive_reset(side, now)
            return
        if not data:
            self._receive_eof(side, now)
            return
        peer = side.peer
        if side.detour or peer.out:
            self._forward(side, data, now)
            return
        try:
            sent = peer.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._observe(side, data, now)
            self._stop_sending(peer, now)
            return
        if sent != len(data):
            self._hold_back(side, data[sent:], now)
        spent = perf_counter() - now
        self.times_sum += spent
        self.times[bisect_left(RELAY_BOUNDS, spent)] += 1
        try:
            if seen := side.read(data, now):
                side.pair.session.receive_seen(side.sender, seen, now)
        except Exception as error:  # noqa: BLE001 - a defect of a reader costs sight, not the call
            side.pair.session.lose_sight(side.sender, repr(error))

    def writable(self, side: Side) -> None:
        """Let one side take more of what waits for it."""
        now = perf_counter()
        try:
            side.out = side.out[side.send(side.out) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._stop_sending(side, now)
            return
        side.out_since = now
        pair = side.pair
        if pair.goodbye is None and pair.deadline is not None:
            pair.deadline = now + LINGER_S  # it reads what is left, at its own pace
        self._settle(pair, now)

    def tick(self, now: float) -> None:
        """Apply the limits on time; called about once a second."""
        limits = self.limits
        for pair in list(self.pairs.values()):
            session = pair.session
            quiet = now - session.last_at
            if pair.deadline is not None:
                if now >= pair.deadline:
                    for side in (pair.client, pair.server):
                        if side.deaf:
                            session.end_reset(side.sender, now)
                    session.end_quietly(now)
                    self._finish(pair)
            elif stalled := self._stalled(pair, now):
                session.end("timeout", stalled.sender, now)
                self._finish(pair)
            elif session.eof_from and quiet >= limits.half_close_seconds:
                session.end_quietly(now)
                self._finish(pair)
            elif 0 < limits.session_seconds <= now - session.started_at:
                self.say_goodbye(pair, "timeout", "session_seconds reached", now)
            elif 0 < limits.session_idle_seconds <= quiet:
                self.say_goodbye(pair, "timeout", "session_idle_seconds reached", now)

    def say_goodbye(self, pair: Pair, ending: Ending, reason: str, now: float) -> None:
        """End a session from our side: Close 1001 both ways, each behind a whole frame."""
        if pair.goodbye is not None:
            return
        pair.goodbye = reason
        pair.session.end(ending, "sidecar", now)
        pair.deadline = now + GOODBYE_S
        for side in (pair.client, pair.server):
            side.detour = True
            self._hold_at_boundary(side, now)
        self._settle(pair, now)

    def _forward(self, side: Side, data: bytes, now: float) -> None:
        """Pass on data where something is in the way: a backlog, a goodbye, a peer that is gone."""
        peer = side.peer
        if side.held or peer.gone or peer.deaf:
            self._observe(side, data, now)
            self._settle(side.pair, now)
        elif side.pair.goodbye is not None:
            self._forward_last(side, data, now)
        else:
            self._hold_back(side, data, now)
            self._observe(side, data, now)
            self._settle(side.pair, now)

    def _hold_back(self, side: Side, rest: bytes, now: float) -> None:
        """Keep what the peer does not take yet, and read no more until it has."""
        peer = side.peer
        if not peer.out:
            peer.out_since = now
        peer.out += rest
        self._rewatch(side)
        self._rewatch(peer)

    def _observe(self, side: Side, data: bytes, now: float) -> None:
        try:
            side.pair.session.receive_data(side.sender, data, now)
        except Exception as error:  # noqa: BLE001 - as in `readable`
            side.pair.session.lose_sight(side.sender, repr(error))

    def _forward_last(self, side: Side, data: bytes, now: float) -> None:
        """Pass on the rest of the frame that was under way when the sidecar said goodbye."""
        reader = side.pair.session.readers[side.sender]
        while data and not side.held:
            # A header that is not complete is passed on byte by byte until its length is known.
            step = reader.bytes_to_boundary or 1
            self._observe(side, data[:step], now)
            side.peer.out += data[:step]
            data = data[step:]
            self._hold_at_boundary(side, now)
        self._observe(side, data, now)
        self._settle(side.pair, now)

    def _hold_at_boundary(self, side: Side, now: float) -> None:
        """Put our Close behind the last whole frame of a sender, towards its peer."""
        session, peer = side.pair.session, side.peer
        reader = session.readers[side.sender]
        if side.held or (reader.blind is None and reader.bytes_to_boundary != 0):
            return
        side.held = True
        has_closed = any(close.sender == side.sender for close in session.closes)
        if reader.blind is not None or has_closed or peer.gone or peer.fin_sent:
            return
        mask = b"" if peer.sender == "client" else os.urandom(4)
        peer.out += close_frame(1001, side.pair.goodbye or "", mask)
        peer.out_since = now

    def _receive_eof(self, side: Side, now: float) -> None:
        """Carry a half-close: the other direction goes on until it ends, too."""
        if side.deaf:  # the send that failed took the error which reading would have told
            self._receive_reset(side, now)
            return
        side.eof = True
        side.pair.session.receive_eof(side.sender)
        self._settle(side.pair, now)

    def _stop_sending(self, side: Side, now: float) -> None:
        """A send failed. What this side sent before its reset may still wait in the kernel.

        A gateway that sends Close and closes at once, while the caller still talks, is reset by
        its own kernel: its Close is read first, as the caller would have without us in between.
        """
        if side.gone or side.eof:
            self._receive_reset(side, now)
            return
        side.deaf = side.fin_sent = side.peer.detour = True
        side.out = b""
        side.pair.deadline = now + LINGER_S
        self._settle(side.pair, now)

    def _receive_reset(self, side: Side, now: float) -> None:
        """One side is gone. The other gets what was sent before, an EOF, and time to read both."""
        pair = side.pair
        if side.gone:
            return
        pair.session.end_reset(side.sender, now)
        self._watch.set(side, 0)
        side.sock.close()
        side.eof = side.gone = side.fin_sent = side.peer.detour = True
        side.out = b""
        pair.deadline = now + LINGER_S
        self._settle(pair, now)

    def _settle(self, pair: Pair, now: float) -> None:
        """Write what waits, send the EOFs that are due, and finish when both ends have ended."""
        if pair.session.id not in self.pairs:
            return
        for side in (pair.client, pair.server):
            if side.out and not side.watched & WRITE and not self._flush(side, now):
                return
        if pair.goodbye is not None and self._is_goodbye_heard(pair):
            for side in (pair.client, pair.server):
                self._send_fin(side)
        for side in (pair.client, pair.server):
            if side.peer.eof:
                self._send_fin(side)
        ends = (pair.client, pair.server)
        if all(side.eof and not side.out for side in ends):
            pair.session.end_quietly(now)
            self._finish(pair)
            return
        for side in ends:
            self._rewatch(side)

    def _flush(self, side: Side, now: float) -> bool:
        """Send what a side will take now; False when that showed that it is gone."""
        try:
            side.out = side.out[side.send(side.out) :]
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            self._stop_sending(side, now)
            return False
        return True

    def _is_goodbye_heard(self, pair: Pair) -> bool:
        closed = {close.sender for close in pair.session.closes}
        return all(
            side.held and not side.out and (side.eof or side.sender in closed)
            for side in (pair.client, pair.server)
        )

    def _send_fin(self, side: Side) -> None:
        if side.out or side.fin_sent:
            return
        side.fin_sent = True
        with suppress(OSError):  # gone already: reading it says how
            side.sock.shutdown(socket.SHUT_WR)

    def _stalled(self, pair: Pair, now: float) -> Side | None:
        for side in (pair.client, pair.server):
            if side.out and now - side.out_since >= self.limits.stall_seconds:
                return side
        return None

    def _rewatch(self, side: Side) -> None:
        if side.gone or side.pair.session.id not in self.pairs:
            return
        read = READ if not side.eof and not side.peer.out else 0
        self._watch.set(side, read | (WRITE if side.out else 0))

    def _finish(self, pair: Pair) -> None:
        if self.pairs.pop(pair.session.id, None) is None:
            return
        for side in (pair.client, pair.server):
            if not side.gone:
                self._watch.set(side, 0)
                side.sock.close()
        pair.on_end(pair.session)
