"""`hopscope replay`: play a captured stream again (see hopscope.py)."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer

BROKEN, CANNOT_TELL, USAGE = 1, 2, 64
FILE_LIMIT = 1 << 30
DIFFERENCES_SHOWN = 20


def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Of `hopscope export ID --jsonl FILE`.")
    ],
    to: Annotated[str, typer.Option(help="Where: ws:// or wss://.", metavar="URL")],
    fast: Annotated[bool, typer.Option("--fast", help="Without the pauses of then.")] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--param", help="A <Parameter> that the capture hides.", metavar="NAME=VALUE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Play the client's side of a captured stream again, and tell what is answered otherwise."""
    from doctor.replaying.differences import compare
    from doctor.replaying.playing import play
    from doctor.replaying.script import write_script
    from proxy.exports.captured import parse_lines

    if urlsplit(to).scheme not in ("ws", "wss") or not urlsplit(to).hostname:
        _fail(f"--to {to}: should be a URL such as wss://voice.example.com/voice/stream")
    pairs = [text.partition("=") for text in parameter or []]
    if not all(name and equals for name, equals, _ in pairs):
        _fail("--param: should be NAME=VALUE")
    try:
        if file.stat().st_size > FILE_LIMIT:
            _fail(f"{file}: is longer than a capture can be")
        with file.open(encoding="utf-8") as lines:
            captured = parse_lines(lines)
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except ValueError as error:
        _fail(f"{file}: {error}")
    script = write_script(captured, {name: value for name, _, value in pairs})
    if not script.lines:
        _fail(f"{file}: holds nothing that a client sent")
    replayed = asyncio.run(
        _with_bar(lambda told: play(script, captured, to, is_fast=fast, progress=told))
    )
    differences = compare(script.expected, replayed.received)
    told = {
        "status": replayed.status,
        "sent": replayed.sent,
        "of": len(script.lines),
        "received": len(replayed.received),
        "expected": len(script.expected),
        "close_code": {"expected": script.close_code, "got": replayed.close_code},
        "differences": differences,
        "missing": list(script.missing),
        "error": replayed.error,
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if as_json else _text(told))
    raise typer.Exit(_exit_code(told))


def _exit_code(told: dict[str, Any]) -> int:
    if not told["error"] and not told["differences"]:
        return 0
    # What the capture does not hold may be why it went otherwise.
    return CANNOT_TELL if told["missing"] else BROKEN


def _text(told: dict[str, Any]) -> str:
    from doctor.diagnosis.text import printable

    lines = [
        f"sent {told['sent']} of {told['of']}, received {told['received']}; then {told['expected']}"
    ]
    if told["error"]:
        lines.append(told["error"])
    found = told["differences"]
    for each in found[:DIFFERENCES_SHOWN]:
        lines.append(f"message {each['message']}")
        lines.append(f"  then  {each['expected'] or 'nothing'}")
        lines.append(f"  now   {each['got'] or 'nothing'}")
    if len(found) > DIFFERENCES_SHOWN:
        lines.append(f"and {len(found) - DIFFERENCES_SHOWN} more; --json has all")
    lines += [f"not in the capture: {each}" for each in told["missing"]]
    if any("hidden" in each for each in told["missing"]):
        lines.append("--param NAME=VALUE gives a <Parameter> its value")
    if not found and not told["error"]:
        lines.append("the same answers as then")
    return "".join(f"{printable(line)}\n" for line in lines)


async def _with_bar(work: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("the stream of then", total=1.0)
        return await work(lambda share: bar.update(task, completed=share))


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise typer.Exit(USAGE)
