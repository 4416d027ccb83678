"""The sidecar as a process: signals, settings that are read again, and an orderly end.

SIGTERM and SIGINT drain, and a second one says goodbye at once. SIGHUP reads the settings again;
a file that is refused is reported and the running settings stay.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any

from proxy.admin import Admin
from proxy.history import MEMORY_ROWS, Book, History, default_file
from proxy.logs import LogWriter
from proxy.otel import exported
from proxy.server import Sidecar
from proxy.settings import HostPort, Settings, SettingsError, admin_token
from proxy.watch import best_loop

if sys.platform != "win32":
    import resource

# Beside two descriptors a connection: the listeners, the log, the history and its kin.
SPARE_FILES = 64


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the best loop of this system."""
    with asyncio.Runner(loop_factory=best_loop) as runner:
        runner.run(main)


def open_history(settings: Settings) -> History:
    """The history that the settings name, or one in memory. Raises HistoryError."""
    kept = settings.history
    file = (kept.file or default_file()) if kept.enabled else None
    rows = kept.rows if kept.enabled else min(kept.rows, MEMORY_ROWS)
    return History(Book(file, rows=rows, days=kept.days))


@asynccontextmanager
async def running_sidecar(
    settings: Settings, log: LogWriter | None = None
) -> AsyncIterator[tuple[Sidecar, Admin]]:
    """A sidecar with its admin address; both closed at the end. Raises OSError, HistoryError."""
    history = open_history(settings)
    sidecar = Sidecar(settings, history, log)
    admin = Admin(sidecar, admin_token())
    try:
        yield sidecar, admin
    finally:
        await sidecar.close()
        await admin.close()
        history.close()


Beside = Callable[[Sidecar, Admin], AbstractAsyncContextManager[Any]]


async def serve(
    load: Callable[[], Settings],
    log: LogWriter,
    beside: Beside = lambda _sidecar, _admin: nullcontext(),
) -> None:
    """Run the sidecar until it is told to stop. `load` reads the settings, now and on SIGHUP.

    What runs `beside` it begins before the sidecar listens and ends after it has drained.
    """
    settings = load()
    _raise_file_limit(2 * settings.limits.connections + SPARE_FILES)
    async with (
        exported() as follow,
        running_sidecar(settings, log) as (sidecar, admin),
        beside(sidecar, admin),
    ):
        follow(sidecar.telemetry, admin.collectors)
        with _named("admin", settings.admin):
            admin_address = await admin.start(settings.admin)
        sidecar.telemetry.say("admin", listen=str(admin_address), pid=os.getpid())
        stop, hurry = asyncio.Event(), asyncio.Event()
        _on_signals(lambda: (hurry if stop.is_set() else stop).set(), lambda: reload(sidecar, load))
        with _named("listen", settings.listen):
            await sidecar.start()  # says "listening": from there on a signal drains
        await stop.wait()
        drained = asyncio.create_task(sidecar.drain())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not drained.done():
            await sidecar.say_goodbye()
            drained.cancel()


@contextmanager
def _named(setting: str, address: HostPort) -> Iterator[None]:
    """Say which setting names the address that can't be had."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"another program listens there; choose another with --{setting}"
        else:
            reason = error.strerror or str(error)
        raise OSError(f"{setting} = {address}: {reason}") from None


def reload(sidecar: Sidecar, load: Callable[[], Settings]) -> None:
    """Take the settings as they are written now, or say what is wrong and keep the old ones."""
    try:
        sidecar.reload(load())
    except SettingsError as error:
        sidecar.telemetry.say("reload_refused", reasons=str(error).splitlines())


def _on_signals(stop: Callable[[], None], hang_up: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop))
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)


def _raise_file_limit(wanted: int) -> None:
    """Ask for as many descriptors as `limits.connections` may need, as far as the system lets."""
    if sys.platform == "win32":
        return  # its sockets are not counted as files
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        new = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (new, hard))
