"""The relay's processes: started on one CPU, timed, weighed and ended by their ids."""

import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.sessions import RefusedError, refusing_errors

START_S = 15.0
STOP_S = 5.0
SETTLE_S = 0.5
SETTLED = 0.1  # of a CPU: what a program uses at most that has loaded all it needs
SETTLING_LIMIT_S = 30.0
_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
# The CPUs that this run may use; none where the system does not tell.
_CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its descendants, as they were when the relay was ready."""

    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """User and system time of all of them, in seconds."""
        with refusing_errors("when the relay's CPU time was read"):
            return sum(map(_cpu_s, self.pids))

    def waited_s(self) -> float:
        """How long their main threads stood ready while something else had the CPU, in seconds; 0
        where the kernel does not tell."""
        return sum(map(_waited_s, self.pids))

    def rss_bytes(self) -> int:
        """Resident memory of all of them; pages that they share count for each."""
        with refusing_errors("when the relay's memory was read"):
            return sum(map(_rss_bytes, self.pids))


@contextmanager
def running(
    command: list[str],
    settings: dict[str, str],
    port: int,
    directory: Path,
    *,
    log: int = subprocess.DEVNULL,
    is_pinned: bool = True,
) -> Iterator[Tree]:
    """The command as a process of the first CPU, from its port being open until the end.

    `settings` join its environment, `log` is where its output goes (a descriptor); without
    `is_pinned` it has all CPUs that this run may use.
    """
    root = Path(__file__).resolve().parent.parent
    # A setting of the machine's user must not change what is measured.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOPSCOPE_")}
    environment |= {"PYTHONPATH": str(root), **settings}
    with tempfile.TemporaryFile() as complaints:
        with _on_cpus(_CPUS[:1] if is_pinned else _CPUS):
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=complaints,
            )
        tree = Tree((process.pid,))
        try:
            _wait_until_open(process, port, complaints)
            tree = Tree((process.pid, *_descendants(process.pid)))
            yield tree
        finally:
            _stop(process, tree)


def settle(tree: Tree) -> None:
    """Wait until a program has loaded what it loads at its start."""
    deadline = time.monotonic() + SETTLING_LIMIT_S
    is_busy = True
    while is_busy and time.monotonic() < deadline:
        before = tree.cpu_s()
        time.sleep(SETTLE_S)
        is_busy = tree.cpu_s() - before > SETTLED * SETTLE_S


def take_generator_cpu() -> str:
    """Move this process to the second CPU, and say where the two run."""
    if len(_CPUS) < 2:
        return "relay and generator not pinned"
    os.sched_setaffinity(0, {_CPUS[1]})
    return f"relay on CPU {_CPUS[0]}, generator on CPU {_CPUS[1]}"


def allow_files(amount: int) -> None:
    """Raise the limit of open files, which the relays inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < amount:
        if hard != resource.RLIM_INFINITY and hard < amount:
            raise RefusedError(f"{amount} open files are needed, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (amount, hard))


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _on_cpus(cpus: list[int]) -> Iterator[None]:
    """What is started here starts on these CPUs, and its children with it."""
    if len(_CPUS) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _wait_until_open(process: subprocess.Popen[bytes], port: int, complaints: IO[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    complaints.seek(0)
    said = complaints.read().decode(errors="replace").strip().splitlines()
    raise RefusedError(f"the relay did not start: {said[-1] if said else 'no word on stderr'}")


def _stop(process: subprocess.Popen[bytes], tree: Tree) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
            return
        except subprocess.TimeoutExpired:
            pass
        # A killed master cannot end its workers.
        for pid in tree.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(STOP_S)


def _descendants(pid: int) -> list[int]:
    if not _HAS_PROC:
        return [child.pid for child in _psutil().Process(pid).children(recursive=True)]
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found, level = [], {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found += sorted(level)
    return found


def _cpu_s(pid: int) -> float:
    if not sys.platform.startswith("linux"):
        times = _psutil().Process(pid).cpu_times()
        return float(times.user + times.system)
    # The clock that clock_getcpuclockid(3) names for a process: utime and stime of all its
    # threads in nanoseconds, where /proc/PID/stat counts ticks of ten milliseconds.
    return time.clock_gettime(~pid << 3 | 2)


def _waited_s(pid: int) -> float:
    with suppress(OSError):
        return int((_PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _rss_bytes(pid: int) -> int:
    if not _HAS_PROC:
        return int(_psutil().Process(pid).memory_info().rss)
    pages = (_PROC / str(pid) / "statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second is a name that may hold spaces."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _psutil() -> Any:
    try:
        return importlib.import_module("psutil")
    except ImportError:
        raise RefusedError(f"on {sys.platform} the CPU time of a relay needs psutil") from None
