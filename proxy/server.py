"""The running sidecar: it accepts, counts, keeps time, reloads and drains.

`Sidecar` owns what the connections share. It never looks at a request itself.
"""

import asyncio
import errno
import gc
import os
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from math import inf
from time import perf_counter

from proxy.clients import Occupancy
from proxy.connection import Connection
from proxy.echo import echo_endpoint
from proxy.history import History
from proxy.logs import LogWriter
from proxy.metrics import Metrics
from proxy.probes import Probes
from proxy.promises import Promises
from proxy.relay import GOODBYE_S, Pair, Relay
from proxy.routes import Upstream
from proxy.session import Session
from proxy.settings import HostPort, Settings
from proxy.telemetry import Telemetry
from proxy.watch import watch_of
from proxy.wire import Wire, read_limit

BACKLOG = 1024
ACCEPTS_AT_ONCE = 64  # before other work of the loop gets a turn
TICK_S = 0.5
LAST_REQUESTS_S = 2.0  # Twilio asks for what comes behind a stream as soon as that has ended
_POLL_S = 0.05
# When descriptors have run out, accepting again at once would only spin.
OUT_OF_FILES_S = 1.0
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nProxy-Status: hopscope; error=connection_limit_reached\r\n\r\n"
)


class Sidecar:
    """One listening sidecar. `start`, then `drain`, then `close`."""

    def __init__(
        self,
        settings: Settings,
        history: History,
        log: LogWriter | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.settings = settings
        self.routes = settings.routes()
        self.relay = Relay(settings.limits, watch_of(self._loop))
        self.metrics = Metrics(self.relay)
        self.telemetry = Telemetry(self.metrics, history, log)
        self.probes = Probes()
        self.promises = Promises()
        self.sampling = settings.media.sampling()
        self.captures = settings.capture.captures()
        self.occupancy = Occupancy()
        self.echo: Upstream | None = None
        self.address: HostPort | None = None  # where it listens, once it does
        self.is_draining = False
        self.at_drain: list[Callable[[], None]] = []  # what else is to take no new calls then
        self._call_left_at = -inf  # when a stream ended whose call goes on; on the loop's clock
        self._has_said_goodbye = False
        self.is_closed = False
        self.history = history
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None
        self._blind_told: set[str] = set()
        self._stack = AsyncExitStack()
        self._empty = asyncio.Event()

    async def start(self) -> HostPort:
        """Listen; the address with the port that was given out. Raises OSError."""
        self.echo = await self._stack.enter_async_context(echo_endpoint())
        self._listener = _listen(self.settings.listen)
        self._loop.add_reader(self._listener, self._accept)
        ticker = self._loop.create_task(self._tick_for_ever())
        self._stack.callback(ticker.cancel)
        gc.freeze()  # what exists now lives as long as the process
        address = self.address = HostPort(*self._listener.getsockname()[:2])
        self.telemetry.say(
            "listening",
            listen=str(address),
            routes=[f"{route.name} -> {route.upstream}" for route in self.routes],
        )
        return address

    def reload(self, settings: Settings) -> None:
        """Take new settings; running sessions and the listening address stay as they are."""
        kept = {"listen": self.settings.listen, "admin": self.settings.admin}
        changed = [name for name, value in kept.items() if getattr(settings, name) != value]
        self.settings = settings.model_copy(update=kept)
        self.routes = settings.routes()
        self.relay.set_limits(settings.limits)
        self.sampling = settings.media.sampling()
        bounds = settings.capture
        self.captures.set_limits(bounds.session_bytes, bounds.total_bytes, bounds.seconds)
        self.telemetry.say(
            "reloaded",
            routes=[f"{route.name} -> {route.upstream}" for route in self.routes],
            needs_restart=changed,
        )

    async def drain(self) -> None:
        """Take no new streams; let calls end with all that they still ask, then say goodbye.

        Who answers a running call answers its status callbacks, and the webhook behind its stream:
        refused, they end it with "application error". So does a stream that was promised before.
        """
        if self.is_draining:
            return
        self.is_draining = True
        seconds = self.settings.drain_seconds
        self.telemetry.say("draining", sessions=len(self.relay.pairs), for_at_most_s=seconds)
        for tell in self.at_drain:
            tell()
        self._stop_connections()
        until = self._loop.time() + seconds
        while self._has_calls and self._loop.time() < until:  # noqa: ASYNC110 - or time passes
            await asyncio.sleep(_POLL_S)
        if self.relay.pairs:
            await self.say_goodbye()
            while self._has_last_requests:  # noqa: ASYNC110 - time alone ends them
                await asyncio.sleep(_POLL_S)
        self._stop_listening()
        self._stop_connections()
        if not await self._emptied(max(until - self._loop.time(), 0)):
            await self.say_goodbye()
        self.telemetry.say("drained", sessions=len(self.relay.pairs))

    @property
    def _has_calls(self) -> bool:
        """Whether there are streams, or may be, or a call behind one."""
        return (
            bool(self.relay.pairs)
            or any(not connection.is_idle for connection in self._connections)
            or self.promises.are_fresh(time.monotonic())
            or self._has_last_requests
        )

    @property
    def _has_last_requests(self) -> bool:
        return self._loop.time() < self._call_left_at + LAST_REQUESTS_S

    def _stop_connections(self) -> None:
        for connection in list(self._connections):
            connection.stop()

    async def say_goodbye(self) -> None:
        """End all sessions with Close 1001 at a frame boundary."""
        self._has_said_goodbye = True  # to sessions that begin now, too
        for pair in list(self.relay.pairs.values()):
            self._say_goodbye(pair)
        await self._emptied(GOODBYE_S + 2 * TICK_S)

    async def close(self) -> None:
        """End what is left, at once."""
        self.is_closed = True
        self._stop_listening()
        for task in list(self._connections.values()):
            task.cancel()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)
        self.relay.close()
        await self._stack.aclose()
        self.telemetry.flush()

    def begin_session(
        self, session: Session, client: Wire, server: Wire, place: str | None
    ) -> None:
        """The relay takes over from a connection, which has sent the 101."""

        def end(ended: Session) -> None:
            if place is not None:
                self.occupancy.leave(place)
            self._look_at(ended)
            # Behind a stream that the gateway ended Twilio asks at once, and a drain may begin now.
            is_asked_next = self.is_draining or ended.ended_by == "server"
            if ended.media.call_sid is not None and is_asked_next:
                self._call_left_at = self._loop.time()
            self._blind_told.discard(ended.id)
            self.captures.end(ended.id, perf_counter())
            self.telemetry.session_ended(ended)
            self._check_empty()

        if any(route.capture for route in self.routes if route.name == session.route):
            session.capture = self.captures.begin(session.id, session.started_at)
        self.relay.begin(session, client, server, end)
        if self._has_said_goodbye and session.id in self.relay.pairs:
            self._say_goodbye(self.relay.pairs[session.id])

    def _say_goodbye(self, pair: Pair) -> None:
        self.relay.say_goodbye(pair, "drain", "the sidecar is restarting", perf_counter())

    def forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        self._check_empty()

    @property
    def occupied(self) -> int:
        """Client connections that are open, sessions included."""
        return len(self._connections) + len(self.relay.pairs)

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - only called while it is watched
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause_accepting(error)
                return
            peer = address[0] if isinstance(address, tuple) else ""
            self._welcome(sock, peer.removeprefix("::ffff:"))

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        if self.occupied >= self.settings.limits.connections:
            self.telemetry.connection_refused(peer, "connections")
            sock.setblocking(False)
            try:
                sock.send(_FULL)
            except OSError:
                pass
            finally:
                sock.close()
            return
        client = Wire(sock, read_limit(self.settings.limits))
        connection = Connection(self, client, peer)
        self._connections[connection] = self._loop.create_task(connection.serve())

    def _pause_accepting(self, error: OSError) -> None:
        reason = "files" if error.errno in (errno.EMFILE, errno.ENFILE) else "accept"
        self.telemetry.connection_refused("", reason)
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._loop.call_later(OUT_OF_FILES_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.relay.tick(perf_counter())
            self.captures.tick(perf_counter())
            for pair in list(self.relay.pairs.values()):
                self._look_at(pair.session)
            for missing in self.promises.overdue(time.monotonic(), self.routes):
                self.telemetry.stream_never_arrived(missing)
            self.telemetry.flush()

    def _look_at(self, session: Session) -> None:
        """Take whose stream it is, and say once that its frames can't be followed any more."""
        self.promises.receive_start(session.id, session.media.call_sid)
        if not session.blind or session.id in self._blind_told:
            return
        self._blind_told.add(session.id)
        for sender, blind in session.blind:
            self.telemetry.went_blind(session, sender, blind.reason, blind.offset)

    def _check_empty(self) -> None:
        if not self._connections and not self.relay.pairs:
            self._empty.set()

    async def _emptied(self, seconds: float) -> bool:
        """Whether the last connection and session ended in time."""
        self._empty.clear()
        self._check_empty()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


def _listen(address: HostPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
