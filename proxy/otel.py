"""OpenTelemetry, where its environment variables ask for it and the extra `otel` is installed.

What is wrong with it is one log line a while; no call waits for a collector or fails by it.
"""

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from prometheus_client import CollectorRegistry

from proxy.otel_settings import Wanted, read_wanted
from proxy.redact import HIDDEN, shown_text
from proxy.telemetry import Follower

if TYPE_CHECKING:
    from proxy.otlp import Exports

# How often a failing export is logged; what lies between is counted.
REPEAT_S = 60.0
# What a collector may take when the process ends; what it has not taken by then is lost.
FLUSH_S = 5.0
REASON_LIMIT = 300
INSTALL = "OpenTelemetry is not installed: pip install 'hopscope[otel]'"
# The memory address of an exporter's connection; a query and a password of its URL.
_NOISE = re.compile(r"<[^<>]* object at 0x[0-9a-f]+>(?:: )?")
_QUERY = re.compile(r"\?[^\s'\")]+")
_USERINFO = re.compile(r"(?<=://)[^\s/@]*@")


class Followed(Protocol):
    """A telemetry, as far as it is followed."""

    followers: list[Follower]


class Heard:
    """A gateway that runs without a sidecar, as far as it is followed: a listener of its events."""

    def __init__(self) -> None:
        self.followers: list[Follower] = []

    def shown(self, event: str, fields: Mapping[str, Any]) -> None:
        for follower in self.followers:
            follower.shown(event, fields)


Follow = Callable[[Followed, Sequence[CollectorRegistry]], None]


@asynccontextmanager
async def exported(environ: Mapping[str, str] = os.environ) -> AsyncIterator[Follow]:
    """Export what is logged from now on, and what the given follows are told and count.

    What is yielded takes a telemetry and its registries, to which more may be added later.
    """
    wanted = read_wanted(environ)
    log = structlog.get_logger()
    for doubt in wanted.doubts:
        log.warning("otel_off" if not wanted.signals else "otel_doubt", because=doubt)
    complaints = Complaints()
    exports = _started(wanted, complaints) if wanted.signals else None
    if exports is None:
        yield lambda _followed, _collectors: None
        return
    measuring: list[asyncio.Task[None]] = []
    following: list[tuple[Followed, Sequence[CollectorRegistry]]] = []

    def follow(followed: Followed, collectors: Sequence[CollectorRegistry]) -> None:
        followed.followers.append(exports)
        following.append((followed, collectors))
        if exports.has_metrics:
            measure = _measure_for_ever(exports, collectors, wanted.metric_interval_s)
            measuring.append(asyncio.create_task(measure))

    processors = structlog.get_config()["processors"]
    try:
        structlog.configure(processors=[*processors[:-1], exports, *processors[-1:]])
        log.info("otel", signals=list(wanted.signals))
        yield follow
    finally:
        structlog.configure(processors=processors)
        for task in measuring:
            task.cancel()
        for followed, collectors in following:
            followed.followers.remove(exports)
            exports.measure(collectors)
        await _closed(exports.closing())
        complaints.close()


def _started(wanted: Wanted, complaints: "Complaints") -> "Exports | None":
    """The exports, or None and a line that says why there are none."""
    complaints.open()
    log = structlog.get_logger()
    try:
        from proxy.otlp import Exports

        return Exports(wanted.signals, metadata.version("hopscope"))
    except ImportError as error:
        missing = (error.name or "").partition(".")[0] == "opentelemetry"
        log.warning("otel_off", because=INSTALL if missing else shown_reason(str(error)))
    except Exception as error:  # noqa: BLE001 - a value that OpenTelemetry's SDK refuses
        log.warning("otel_off", because=f"{type(error).__name__}: {shown_reason(str(error))}")
    complaints.close()
    return None


async def _measure_for_ever(
    exports: "Exports", collectors: Sequence[CollectorRegistry], interval_s: float
) -> None:
    while True:
        await asyncio.sleep(interval_s)
        exports.measure(collectors)


async def _closed(closing: Sequence[Callable[[], object]]) -> None:
    """Let each send its rest, all at once, for FLUSH_S. Their threads may outlive the loop."""
    loop = asyncio.get_running_loop()
    ended = [asyncio.Event() for _ in closing]

    def close(end: Callable[[], object], event: asyncio.Event) -> None:
        try:
            end()
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(event.set)

    for end, event in zip(closing, ended, strict=True):
        threading.Thread(target=close, args=(end, event), daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            for event in ended:
                await event.wait()
    except TimeoutError:
        reason = f"the last records were not taken within {FLUSH_S:g} s"
        structlog.get_logger().warning("otel_export_failed", reason=reason, unsaid=0)


class Complaints(logging.Handler):
    """What OpenTelemetry's own loggers say, as one line a while, from whatever thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._told_at = -REPEAT_S
        self._unsaid = 0
        self._logger = logging.getLogger("opentelemetry")

    def open(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False  # stderr has no place for them

    def close(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock()
        if now - self._told_at < REPEAT_S:
            self._unsaid += 1
            return
        self._told_at, unsaid, self._unsaid = now, self._unsaid, 0
        structlog.get_logger().warning(
            "otel_export_failed", reason=_reason_of(record), unsaid=unsaid
        )


def _reason_of(record: logging.LogRecord) -> str:
    """The message; of all but the exporters without what it quotes.

    A wrong OTEL_EXPORTER_OTLP_HEADERS, which holds the token, is quoted by who parses it.
    """
    if not record.name.startswith("opentelemetry.exporter."):
        return re.sub(r"%(?:\.\d+)?[a-z]", HIDDEN, str(record.msg))[:REASON_LIMIT]
    kind: Any = record.exc_info[0] if record.exc_info else None
    return shown_reason(record.getMessage() + (f": {kind.__name__}" if kind else ""))


def shown_reason(text: str) -> str:
    """An error's text without secrets of the collector's URL."""
    text = _USERINFO.sub(f"{HIDDEN}@", _QUERY.sub(f"?{HIDDEN}", _NOISE.sub("", text)))
    return shown_text(text)[:REASON_LIMIT]
