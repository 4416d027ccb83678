"""The command line: one verb a function, nothing but wiring.

Exit codes: 0 healthy, 1 broken, 2 cannot tell, 64 usage (sysexits.h EX_USAGE).
"""

import json
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from proxy.exchange import OUTCOMES
from proxy.history import Book, HistoryError, Query, default_file, open_for_reading
from proxy.logs import LogWriter
from proxy.routes import Upstream
from proxy.settings import Settings, SettingsError, load_settings

BROKEN, USAGE = 1, 64
INTERRUPTED = 130  # as shells report SIGINT

app = typer.Typer(
    help="Names the hop that broke the WebSocket of a voice call.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True)
    ] = False,
) -> None:
    if version:
        sys.stdout.write(f"hopscope {metadata.version('hopscope')}\n")
        raise typer.Exit


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings; hopscope.toml of this folder by default."),
]
Listen = Annotated[str | None, typer.Option(help="Where the ingress dials.", metavar="HOST:PORT")]
AdminAddress = Annotated[
    str | None, typer.Option(help="Metrics and admin API.", metavar="HOST:PORT")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AdminUrl = Annotated[
    str, typer.Option("--admin", help="The sidecar's admin address.", metavar="URL")
]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Keep nothing on disk.")]
HistoryFile = Annotated[
    Path | None, typer.Option("--file", help="The history file, if not the one in the settings.")
]


@app.command()
def proxy(
    upstream: Annotated[
        str | None,
        typer.Option(help="The gateway: http://HOST:PORT or unix:/path.", metavar="URL"),
    ] = None,
    listen: Listen = None,
    admin: AdminAddress = None,
    config: ConfigFile = None,
    no_history: NoHistory = False,
    log_format: Annotated[
        Literal["json", "console"], typer.Option(help="Lines for machines or for people.")
    ] = "json",
) -> None:
    """Run the sidecar alone, in front of any gateway."""
    from proxy import process

    def load() -> Settings:
        history = {"enabled": False} if no_history else None
        settings = load_settings(
            config, upstream=upstream, listen=listen, admin=admin, history=history
        )
        if not settings.routes():
            raise SettingsError("upstream: none is set; name the gateway with --upstream URL")
        return settings

    load()  # a refused setting is an answer to the command line, not a line of the log
    _log_and_run(lambda log: process.serve(load, log), as_json=log_format == "json")


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Place one simulated stream, print what was seen, end.")
    ] = False,
    seconds: Annotated[float, typer.Option(help="How long the demo speaks.", min=0.1, max=60)] = 3,
    listen: Listen = None,
    admin: AdminAddress = None,
    no_history: NoHistory = False,
    as_json: AsJson = False,
) -> None:
    """Run the sidecar in front of a built-in echo endpoint, whatever the routes say."""
    from proxy import process
    from proxy.echo import echo_endpoint

    if demo:
        _demo(seconds, as_json)
        return
    if as_json:
        _fail("--json goes with --demo; the log of a running sidecar is JSON anyway", USAGE)

    def load(echo: Upstream) -> Settings:
        kept = {"enabled": False} if no_history else None
        return load_settings(upstream=echo, route=[], listen=listen, admin=admin, history=kept)

    async def serve(log: LogWriter) -> None:
        async with echo_endpoint() as echo:
            await process.serve(lambda: load(echo), log)

    _log_and_run(serve)


@app.command()
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
        sys.stderr.write("no recorded exchange matches\n")
    else:
        report.print_rows(Console(), rows)


@app.command()
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


@app.command()
def tap(admin: AdminUrl = "http://127.0.0.1:9101", as_json: AsJson = False) -> None:
    """Watch handshakes, requests and sessions as they happen."""
    from proxy import process, report

    try:
        process.run(report.follow(admin, Console(), as_json=as_json))
    except KeyboardInterrupt:
        return
    except (OSError, ValueError) as error:
        _fail(f"{admin}: {error}", BROKEN)


def _log_and_run(
    serve: Callable[[LogWriter], Coroutine[Any, Any, None]], *, as_json: bool = True
) -> None:
    """Run a sidecar whose log goes to stdout; what keeps it from starting is said on stderr."""
    from proxy import logs, process

    log = logs.configure(as_json=as_json)
    try:
        process.run(serve(log))
    except (OSError, ValueError, HistoryError) as error:
        _fail(str(error), BROKEN)
    finally:
        log.close()


def _demo(seconds: float, as_json: bool) -> None:
    import structlog
    from rich.progress import Progress

    from proxy import process, report
    from proxy.demo import place_demo_call

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    row: dict[str, Any] = {}

    async def call() -> None:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("a Twilio-shaped stream through the sidecar", total=1.0)
            row.update(
                await place_demo_call(seconds, lambda share: bar.update(task, completed=share))
            )

    try:
        process.run(call())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        _print_json(row)
    else:
        report.print_row(Console(), row)
    if row["outcome"] != "upgraded":
        raise typer.Exit(BROKEN)


def _book(file: Path | None, config: Path | None) -> closing[Book]:
    chosen = file or load_settings(config).history.file or default_file()
    return closing(open_for_reading(chosen))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """The console script. Usage errors end with 64, and so do settings that are refused."""
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()  # empty where the help was printed instead
        code = _complain(f"{message} See `hopscope --help`." if message else "", USAGE)
    except SettingsError as error:
        code = _complain(str(error), USAGE)
    except HistoryError as error:
        code = _complain(str(error), BROKEN)
    except typer.Abort:
        code = BROKEN
    sys.exit(code or 0)


def _complain(message: str, code: int) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"hopscope: {line}\n")
    return code


def _fail(message: str, code: int) -> NoReturn:
    raise typer.Exit(_complain(message, code))


if __name__ == "__main__":
    main()
