"""How many streaming calls one core carries without a hole in what the callers hear.

The gateway has a core to itself and speech that costs nothing (bench/gateway.py); the callers have
the other. First as many calls as are asked for, on quiet lines; then as many who all talk all the
time; then more and more on quiet lines, a short time each, until they are not held.
"""

import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from bench.callers import Crowd, Heard, Line, Place
from bench.gateway import NO_BARGE_IN
from bench.process import allow_files, free_port, running, settle
from bench.report import WAITED_AT_MOST, Aim
from bench.sessions import RefusedError, refusing_errors

STEP_CALLS = 50
STEPS_LIMIT = 10
STEP_SECONDS = 8.0
EVERY_S = 0.05  # from one call to the next, while they are placed
WARM_UP_S = 2.0
ATTEMPTS = 3
SPARE_FILES = 200
# What comes later than this after a key was pressed comes from a gateway that is behind.
ANSWER_AT_MOST_S = 0.5
# How late the callers may be themselves. A second of audio is on its way, so from there on it would
# count as the gateway's.
LATE_AT_MOST_S = 0.8

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    calls: int
    line: Line
    seconds: float
    is_step: bool = False  # towards the limit


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a load. `busy` is the part of the measured time in which the gateway used its
    core, `waited` the part in which something else used it; `heard` counts from the first call on.
    """

    load: Load
    busy: float
    waited: float
    us_per_frame: float
    bytes_per_call: float
    heard: Heard

    @property
    def is_held(self) -> bool:
        """Nobody heard a hole, and nobody waited for what costs nothing."""
        slowest_s = max(self.heard.answers_s, default=0.0)
        return not self.heard.underruns and slowest_s <= ANSWER_AT_MOST_S


def loads_for(calls: int, seconds: float) -> list[Load]:
    """What is measured whatever comes of it."""
    return [Load(calls, "quiet", seconds), Load(calls, "talking", seconds / 3)]


def run(loads: Sequence[Load], progress: Progress, *, wants_limit: bool) -> list[Carried]:
    """Carry each load by a gateway of its own. Raises RefusedError."""
    found = [_attempt(load, progress) for load in loads]
    if wants_limit and found[0].is_held:
        for load in steps(max(load.calls for load in loads)):
            try:
                found.append(_attempt(load, progress))
            except RefusedError:
                break  # so many are beyond the callers, too
            if not found[-1].is_held:
                break
    return found


def steps(held: int) -> Iterator[Load]:
    """Ever more calls on quiet lines."""
    first = held // STEP_CALLS + 1
    for number in range(first, first + STEPS_LIMIT):
        yield Load(number * STEP_CALLS, "quiet", STEP_SECONDS, is_step=True)


def _attempt(load: Load, progress: Progress) -> Carried:
    """Measure, again when it is refused."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            carried = carry(load)
        except RefusedError as refusal:
            progress(f"{load.calls} {load.line} calls refused, {refusal}")
            if attempt == ATTEMPTS:
                raise
        else:
            underruns, busy = carried.heard.underruns, carried.busy
            progress(f"{load.calls} {load.line} calls: {underruns} underruns, {busy:.0%} of a core")
            break
    return carried


def carry(load: Load) -> Carried:
    """Start a gateway, place the calls, and look at both for the asked time."""
    allow_files(load.calls + SPARE_FILES)
    token, port = secrets.token_hex(16), free_port()
    command = [sys.executable, "-m", "bench.gateway", f"127.0.0.1:{port}"]
    if load.line == "talking":
        command.append(NO_BARGE_IN)
    with (
        tempfile.TemporaryDirectory(prefix="hopscope-bench-") as directory,
        running(command, {"TWILIO_AUTH_TOKEN": token}, port, Path(directory)) as tree,
    ):
        settle(tree)
        before = tree.rss_bytes()
        crowd = Crowd(Place(f"http://127.0.0.1:{port}/voice/webhook", token), load.line)
        heard = crowd.heard
        try:
            with refusing_errors("while calls ran"):
                crowd.fill(load.calls, EVERY_S)
                crowd.run(min(WARM_UP_S, load.seconds))
                frames = heard.sent + heard.received
                start, cpu_s, waited_s = time.perf_counter(), tree.cpu_s(), tree.waited_s()
                crowd.run(load.seconds)
                elapsed_s = time.perf_counter() - start
                cpu_s, waited_s = tree.cpu_s() - cpu_s, tree.waited_s() - waited_s
                frames = heard.sent + heard.received - frames
                grown = tree.rss_bytes() - before
        finally:
            crowd.hang_up()
    if heard.late_s > LATE_AT_MOST_S:
        raise RefusedError(f"the callers were {heard.late_s:.2f} s late themselves")
    return Carried(
        load,
        busy=cpu_s / elapsed_s,
        waited=waited_s / elapsed_s,
        us_per_frame=cpu_s / max(frames, 1) * 1e6,
        bytes_per_call=grown / load.calls,
        heard=heard,
    )


def table(found: Sequence[Carried]) -> Table:
    """One line for each load."""
    drawn = Table()
    drawn.add_column("callers", no_wrap=True)
    for column in (
        *("calls", "seconds", "underruns", "worst gap ms", "answer p50 ms", "worst ms"),
        *("core used", "CPU us/frame", "kB/call", "marks echoed"),
    ):
        drawn.add_column(column, justify="right")
    for each in found:
        load, heard = each.load, each.heard
        drawn.add_row(
            load.line,
            str(load.calls),
            f"{load.seconds:g}",
            str(heard.underruns),
            f"{heard.gap_s * 1000:.0f}",
            _ms(median, heard.answers_s),
            _ms(max, heard.answers_s),
            f"{each.busy:.0%}",
            f"{each.us_per_frame:.1f}",
            f"{each.bytes_per_call / 1000:.0f}",
            f"{heard.echoed} of {heard.marks}",
        )
    return drawn


def remarks(found: Sequence[Carried]) -> list[str]:
    """What a reader must know beside the table."""
    lines = []
    if any(each.load.is_step for each in found):
        held = max(e.load.calls for e in found if e.is_held and e.load.line == "quiet")
        beyond = "; more were not held" if not found[-1].is_held else "; more were not measured"
        lines.append(f"One core held {held} calls on quiet lines{beyond}.")
    waited = max((each.waited for each in found), default=0.0)
    if waited > WAITED_AT_MOST:
        lines.append(f"Something else ran on the gateway's CPU: it waited up to {waited:.0%}.")
    return lines


def aims(found: Sequence[Carried]) -> list[Aim]:
    """No underrun in what was asked for; callers who all talk at once are no aim."""
    return [
        Aim(
            f"{each.load.calls} calls on one core for {each.load.seconds:g} s",
            each.heard.underruns,
            0,
            " underruns",
        )
        for each in found
        if each.load.line == "quiet" and not each.load.is_step
    ]


def as_json(found: Sequence[Carried]) -> list[dict[str, Any]]:
    return [asdict(each) | {"is_held": each.is_held} for each in found]


def _ms(of: Callable[[list[float]], float], samples: list[float]) -> str:
    return f"{of(samples) * 1000:.0f}" if samples else ""
