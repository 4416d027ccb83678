"""Log lines: one JSON object each, written by a thread of their own.

A pipe whose reader has stopped blocks whoever writes to it; the relay must not be that one.
"""

import queue
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from proxy.exchange import iso
from proxy.report import event_line

# Lines that wait for a slow reader; beyond that they are counted, not kept.
QUEUE_LIMIT = 10_000
FLUSH_S = 5.0


class LogWriter:
    """Writes lines to a stream in the background. `dropped` counts those it had no room for."""

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUE_LIMIT)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    debug = info = warning = error = msg  # structlog calls the writer by the line's level

    def close(self) -> None:
        """Write what is left, as far as the reader takes it in time."""
        try:
            self._lines.put(None, timeout=FLUSH_S)
        except queue.Full:
            return
        self._thread.join(FLUSH_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            lines = [line]
            try:
                while (more := self._lines.get_nowait()) is not None:
                    lines.append(more)
                self._lines.put_nowait(None)
            except queue.Empty:
                pass
            try:
                self._stream.write("\n".join([*lines, ""]))
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += len(lines)  # nobody reads any more; the calls go on


def configure(stream: TextIO | None = None, *, as_json: bool = True) -> LogWriter:
    """Send structlog's events to a stream, stdout by default."""
    writer = LogWriter(stream or sys.stdout)
    renderer: Any = structlog.processors.JSONRenderer() if as_json else _render_for_people
    structlog.configure(
        processors=[_add_time, structlog.processors.add_log_level, renderer],
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    return writer


def _add_time(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """`at` of a handshake is when it began; every other line is stamped when it is written."""
    return {"event": event.pop("event"), "at": event.pop("at", iso(time.time())), **event}


def _render_for_people(_logger: object, _name: str, event: MutableMapping[str, Any]) -> str:
    return event_line(str(event.pop("event")), event).plain
