"""What the sidecar saw, told to everyone who asked: log, metrics, history and live listeners."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from proxy.exchange import Exchange
from proxy.history import History
from proxy.logs import LogWriter
from proxy.metrics import Metrics
from proxy.promises import Missing
from proxy.session import Session

LISTENERS_LIMIT = 32
# Events that wait for one slow listener; beyond that it loses the oldest.
LISTENER_QUEUE = 500
# How often one kind of repeated warning is logged; what lies between is counted.
REPEAT_S = 10.0
# What a filter on the level should find.
_FAILURES = {"unreachable", "timeout", "upstream_closed", "malformed", "not_an_upgrade"}
_WARNINGS = {
    "connection_failed",
    "connection_refused",
    "records_dropped",
    "reload_refused",
    "stream_never_arrived",
    "went_blind",
}


class Follower(Protocol):
    """Who is told of records themselves, at once: neither waits nor raises."""

    def exchange_ended(self, exchange: Exchange, line: Mapping[str, Any]) -> None:
        """Called before its log line is written."""

    def session_ended(self, line: Mapping[str, Any]) -> None:
        """Called before its log line is written."""

    def shown(self, event: str, fields: Mapping[str, Any]) -> None:
        """Anything else, too, the gateway's events included."""


class Telemetry:
    """Turns records into log lines, metrics, rows and live events. Never raises, never waits."""

    def __init__(self, metrics: Metrics, history: History, log: LogWriter | None = None) -> None:
        self.metrics = metrics
        self.history = history
        self.followers: list[Follower] = []
        self._log_writer = log
        self._log = structlog.get_logger()
        self._listeners: set[asyncio.Queue[tuple[str, dict[str, Any]]]] = set()
        self._repeated: dict[str, tuple[float, int]] = {}
        self._dropped = {"history": 0, "log": 0}

    def exchange_ended(self, exchange: Exchange) -> None:
        """A handshake was answered (its session may follow), or a plain request is over."""
        line = exchange.line()
        for follower in self.followers:
            follower.exchange_ended(exchange, line)
        self._tell(exchange.event, line)
        self.metrics.exchange_ended(exchange)
        self.history.add_event(exchange.event, exchange.at, line, exchange.detail())

    def session_ended(self, session: Session) -> None:
        line = session.line(session.ended_at or 0)
        for follower in self.followers:
            follower.session_ended(line)
        self._tell("session", line)
        self.metrics.session_ended(session)
        self.history.add_session(line)

    def went_blind(self, session: Session, sender: str, reason: str, offset: int) -> None:
        self.say("went_blind", id=session.id, sender=sender, reason=reason, offset=offset)

    def stream_never_arrived(self, missing: Missing) -> None:
        self.metrics.never_arrived.inc()
        self._tell("stream_never_arrived", missing.line())

    def connection_refused(self, peer: str, reason: str) -> None:
        """A connection was turned away at the door; one line a while, each counted."""
        self.metrics.connections_refused.labels(reason).inc()
        now = time.monotonic()
        told_at, unsaid = self._repeated.get(reason, (-REPEAT_S, 0))
        if now - told_at < REPEAT_S:
            self._repeated[reason] = (told_at, unsaid + 1)
            return
        self._repeated[reason] = (now, 0)
        self.say("connection_refused", client=peer, reason=reason, unsaid=unsaid)

    def say(self, event: str, **fields: Any) -> None:
        """A line about the sidecar itself."""
        self._tell(event, fields)

    def show(self, event: str, fields: Mapping[str, Any]) -> None:
        """Let those who watch live see what another part of the process has logged itself."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()  # the newest events are the ones worth seeing
            queue.put_nowait((event, dict(fields)))
        for follower in self.followers:
            follower.shown(event, fields)

    def flush(self) -> None:
        """Hand pending rows to the history's thread, and count what was lost on the way."""
        self.history.flush()
        lost = {
            "history": self.history.dropped,
            "log": self._log_writer.dropped if self._log_writer else 0,
        }
        for what, count in lost.items():
            if count > self._dropped[what]:
                self.metrics.records_dropped.labels(what).inc(count - self._dropped[what])
                self._dropped[what] = count
                error = self.history.error if what == "history" else None
                self.say("records_dropped", what=what, in_all=count, error=error)

    @contextmanager
    def listen(self) -> Iterator["asyncio.Queue[tuple[str, dict[str, Any]]]"]:
        """A queue of events from now on, as (name, fields), for one live listener."""
        queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(LISTENER_QUEUE)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    @property
    def has_room_to_listen(self) -> bool:
        return len(self._listeners) < LISTENERS_LIMIT

    def _tell(self, event: str, fields: dict[str, Any]) -> None:
        is_bad = event in _WARNINGS or fields.get("outcome") in _FAILURES
        (self._log.warning if is_bad else self._log.info)(event, **fields)
        self.show(event, fields)


def as_server_sent_event(event: str, fields: dict[str, Any]) -> bytes:
    """One event of text/event-stream (html.spec.whatwg.org, section 9.2)."""
    return f"event: {event}\ndata: {json.dumps(fields)}\n\n".encode()
