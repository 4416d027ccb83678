"""The command line of the benchmark: `python -m bench`."""

import json
import os
import platform
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import typer
from rich.console import Console

from bench import report, rounds, telephone
from bench.load import Shape
from bench.payload import TooSmallError, client_frames, server_frames
from bench.process import allow_files, take_generator_cpu
from bench.relays import DIRECT, OURS, all_relays
from bench.sessions import RefusedError

PARTS = (*rounds.PARTS, *telephone.PARTS)
FILES_BESIDE_SESSIONS = 200
NOT_VALID = 2


def main(
    sessions: Annotated[int | None, typer.Option(min=1, help="Sessions under load [200].")] = None,
    rate: Annotated[
        float, typer.Option(min=0.1, help="Frames a second each way in a session.")
    ] = 50,
    size: Annotated[int, typer.Option("--bytes", min=1, help="Payload of a frame.")] = 270,
    pairs: Annotated[int | None, typer.Option(min=1, help="Interleaved rounds [7].")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Measured time of one load [3].")
    ] = None,
    payload: Annotated[
        Literal["media", "opaque", "both"],
        typer.Option(help="Twilio media messages, plain text, or for Hopscope one row of each."),
    ] = "both",
    saturated: Annotated[
        bool, typer.Option(help="As fast as possible instead of the rate.")
    ] = False,
    part: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this part: {', '.join(PARTS)} (repeatable)."),
    ] = None,
    relay: Annotated[
        list[str] | None, typer.Option(help="Only this relay beside Hopscope (repeatable).")
    ] = None,
    ours: Annotated[
        str | None,
        typer.Option(help="Measure this command with {listen} and {upstream} as Hopscope."),
    ] = None,
    idle_sessions: Annotated[int | None, typer.Option(min=1, help="Idle sessions [1000].")] = None,
    handshakes: Annotated[int | None, typer.Option(min=8, help="Handshakes [800].")] = None,
    calls: Annotated[int | None, typer.Option(min=1, help="Streaming calls [100].")] = None,
    call_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Measured time of those calls [60].")
    ] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Turns of the spoken call [10].")] = None,
    quick: Annotated[
        bool, typer.Option(help="A smoke run: everything once, small and short.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure as JSON.")] = False,
    check: Annotated[bool, typer.Option(help="Exit 1 when an aim is missed.")] = False,
) -> None:
    """What Hopscope costs: for each relayed frame beside other relays, and for each call."""
    parts = _chosen(part, list(PARTS), "--part")
    shape = Shape(
        sessions=sessions or (20 if quick else 200),
        rate=rate,
        size=size,
        seconds=seconds or (0.5 if quick else 3.0),
        saturated=saturated,
    )
    plan = rounds.Plan(
        shape=shape,
        payloads=("media", "opaque") if payload == "both" else (payload,),
        pairs=pairs or (1 if quick else 7),
        parts=tuple(p for p in rounds.PARTS if p in parts),
        side_rounds=1 if quick else 3,
        idle_sessions=idle_sessions or (100 if quick else 1000),
        handshakes=handshakes or (80 if quick else 800),
    )
    phone_plan = telephone.Plan(
        parts=tuple(p for p in telephone.PARTS if p in parts),
        calls=calls or (10 if quick else 100),
        seconds=call_seconds or (1 if quick else 60),
        turns=turns or (1 if quick else 10),
        is_quick=quick,
    )
    if "frames" not in plan.parts:
        plan = replace(plan, payloads=plan.payloads[:1])
    _check_size(plan)
    relays = all_relays(ours)
    names = _chosen(relay, [r.name for r in relays if r.name != DIRECT], "--relay")
    kept = (*names, OURS) if shape.saturated or "frames" not in parts else (*names, OURS, DIRECT)
    relays = [r for r in relays if r.name in kept]
    rows = rounds.rows_of(relays, plan)
    progress = Console(stderr=True, highlight=False)
    # Without this the relays would outlive a run that is ended from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        allow_files(2 * max(shape.sessions, plan.idle_sessions) + FILES_BESIDE_SESSIONS)
        where = {
            "pinning": take_generator_cpu(),
            "cpu": _cpu_model(),
            "system": f"{platform.system()} {platform.release()}",
            "python": f"Python {platform.python_version()}",
        }
        start = perf_counter()
        rounds.run(rows, plan, lambda line: _show(progress, line))
        phoned = telephone.run(phone_plan, lambda line: _show(progress, line))
        _show(progress, f"done in {perf_counter() - start:.0f} s", last=True)
    except RefusedError as refusal:
        _show(progress, f"no valid measurement: {refusal}", last=True)
        raise typer.Exit(NOT_VALID) from None
    aims = [*report.aims(rows, plan), *phoned.aims()]
    if as_json:
        told = report.as_json(rows, plan, where) | phoned.as_json()
        told["aims"] = [{**asdict(aim), "met": aim.is_met} for aim in aims]
        print(json.dumps(told, indent=2))
    else:
        _print_tables(rows, plan, phoned, where)
        for aim in aims:
            print(aim.sentence())
    if check:
        met = [aim.is_met for aim in aims]
        raise typer.Exit(1 if False in met else NOT_VALID if None in met else 0)


def _print_tables(
    rows: list[rounds.Row], plan: rounds.Plan, phoned: telephone.Figures, where: dict[str, str]
) -> None:
    shape = plan.shape
    pace = "as fast as possible" if shape.saturated else f"{shape.rate:g} frames a second each way"
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a log has no width, and a folded table cannot be searched
    if plan.parts:
        console.print(
            f"{shape.sessions} sessions, {pace}, {shape.size} bytes a frame,",
            f"medians of {plan.pairs}",
            soft_wrap=True,
        )
    console.print(", ".join(where.values()), soft_wrap=True)
    tables = [(report.table(rows, plan), report.remarks(rows))] if plan.parts else []
    for table, remarks in (*tables, *phoned.tables()):
        console.print(table)
        for line in remarks:
            console.print(line, soft_wrap=True)


def _show(progress: Console, line: str, *, last: bool = False) -> None:
    """Write one line of progress over the one before it; in a log, below it."""
    if progress.is_terminal:
        progress.file.write(f"\r\x1b[2K{line[: progress.width - 1]}" + ("\n" if last else ""))
        progress.file.flush()
    else:
        progress.print(line, soft_wrap=True)


def _check_size(plan: rounds.Plan) -> None:
    try:
        for payload in plan.payloads:
            next(client_frames(0, payload, plan.shape.size, plan.shape.rate))
            next(server_frames(0, payload, plan.shape.size))
    except TooSmallError as error:
        raise typer.BadParameter(f"{error}; --payload opaque takes any size") from None


def _chosen(asked: list[str] | None, known: list[str], option: str) -> list[str]:
    if unknown := set(asked or ()) - set(known):
        allowed = ", ".join(known)
        raise typer.BadParameter(f"{option} {', '.join(sorted(unknown))}: not one of {allowed}")
    return asked or known


def _cpu_model() -> str:
    with_models = Path("/proc/cpuinfo")
    if with_models.exists():
        for line in with_models.read_text().splitlines():
            if line.startswith("model name"):
                return f"{os.cpu_count()} x {line.partition(':')[2].strip()}"
    return f"{os.cpu_count()} x {platform.processor() or platform.machine()}"


if __name__ == "__main__":
    typer.run(main)
