"""`hopscope history`, `show` and `tap`: what the sidecar saw, from its file or as it happens."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from proxy.exchange import OUTCOMES
from proxy.history import Book, HistoryError, Query, default_file, open_for_reading
from proxy.settings import load_settings

BROKEN, USAGE = 1, 64
ROWS_LIMIT = 500  # of one call
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings; hopscope.toml of this folder by default."),
]
AdminUrl = Annotated[
    str, typer.Option("--admin", help="The sidecar's admin address.", metavar="URL")
]
HistoryFile = Annotated[
    Path | None, typer.Option("--file", help="The history file, if not the one in the settings.")
]


def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    ingress: Annotated[str | None, typer.Option(help="Only this ingress.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only this outcome.")] = None,
    call_sid: Annotated[str | None, typer.Option("--call", help="Only this CallSid.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Plain requests, too.")] = False,
    file: HistoryFile = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List recorded handshakes, newest first."""
    from proxy import report

    if outcome is not None and outcome not in OUTCOMES:
        _fail(f"--outcome: one of {', '.join(OUTCOMES)}", USAGE)
    query = Query(None if every else "handshake", limit, None, ingress, outcome, call_sid)
    with _book(file, config) as book:
        rows = book.find(query)
    if as_json:
        _print_json({"handshakes": rows, "next": rows[-1]["id"] if len(rows) == limit else None})
    elif not rows:
        _say_that_none_matches(query)
    else:
        report.print_rows(Console(), rows)


def _say_that_none_matches(query: Query) -> None:
    """A history without handshakes is a finding, too: webhooks came, and no upgrade did."""
    asked_for = query.ingress or query.outcome or query.call_sid
    what = "no recorded exchange" if query.kind is None else "no recorded handshake"
    hint = "" if query.kind is None else "; --all lists plain requests, too"
    sys.stderr.write(f"{what}{' matches' if asked_for else ''}{hint}\n")


def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="From history, log or stamp.")],
    file: HistoryFile = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one handshake: both heads, its violations, its session."""
    from proxy import report

    with _book(file, config) as book:
        row = book.get(event_id)
    if row is None:
        _fail(f"{event_id}: not in the history; `hopscope history` lists what is", BROKEN)
    if as_json:
        _print_json(row)
    else:
        report.print_row(Console(), row)


class Kept:
    """What a history has of single calls, for `hopscope twilio`. Opened when it is asked."""

    def __init__(self, file: Path | None, config: Path | None) -> None:
        self._where = file, config

    async def rows_of(self, call_sid: str) -> tuple[list[dict[str, Any]] | None, str]:
        """All rows of a call, newest first; or None, and why there is no history."""
        try:
            with _book(*self._where) as book:
                return book.find(Query(None, ROWS_LIMIT, call_sid=call_sid)), ""
        except HistoryError as error:
            return None, str(error)

    async def row(self, row_id: str) -> dict[str, Any] | None:
        with _book(*self._where) as book:
            return book.get(row_id)


def tap(admin: AdminUrl = "http://127.0.0.1:9101", as_json: AsJson = False) -> None:
    """Watch handshakes, requests and sessions as they happen."""
    from proxy import process, report

    try:
        process.run(report.follow(admin, Console(), as_json=as_json))
    except KeyboardInterrupt:
        return
    except (OSError, ValueError) as error:
        _fail(f"{admin}: {error}", BROKEN)


def _book(file: Path | None, config: Path | None) -> closing[Book]:
    chosen = file or load_settings(config).history.file or default_file()
    return closing(open_for_reading(chosen))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"hopscope: {line}\n")
    raise typer.Exit(code)
