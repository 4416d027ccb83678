"""The command line: one verb a function, nothing but wiring.

Exit codes: 0 healthy, 1 broken, 2 cannot tell, 64 usage (sysexits.h EX_USAGE).
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from typer.main import get_command

from deployment.command import ingress
from doctor.commands.call import call
from doctor.commands.compare import compare
from doctor.commands.diagnosis import doctor, explain, lint, rules
from doctor.commands.lab import lab
from doctor.commands.replay import replay
from doctor.commands.twilio import twilio_verb
from gateway.calls import DialError
from gateway.command import dial
from gateway.settings import GatewaySettings
from gateway.settings import SettingsError as GatewaySettingsError
from proxy.exchange import iso, new_id
from proxy.export_command import capture, export
from proxy.history import CALL, TWILIO_ERROR, History, HistoryError
from proxy.history_command import Kept, history, show, tap
from proxy.logs import LogWriter
from proxy.routes import Upstream
from proxy.settings import Settings, SettingsError, load_settings
from proxy.usage import complaint, plain_flags

BROKEN, USAGE = 1, 64
INTERRUPTED = 130  # as shells report SIGINT

app = typer.Typer(
    help="Names the hop that broke the WebSocket of a voice call.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        sys.stdout.write(f"hopscope {metadata.version('hopscope')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        # By a callback of its own: before the command line is told that it names no verb.
        typer.Option(
            "--version",
            help="Print the version and end.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    pass


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings; hopscope.toml of this folder by default."),
]
Listen = Annotated[str | None, typer.Option(help="Where the ingress dials.", metavar="HOST:PORT")]
AdminAddress = Annotated[
    str | None, typer.Option(help="Metrics and admin API.", metavar="HOST:PORT")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Keep nothing on disk.")]
PublicUrl = Annotated[str | None, typer.Option(help="What Twilio calls, https.", metavar="URL")]
AllowUnsigned = Annotated[
    bool, typer.Option("--allow-unsigned", help="Without TWILIO_AUTH_TOKEN, on loopback only.")
]
LogFormat = Annotated[
    Literal["json", "console"], typer.Option(help="Lines for machines or for people.")
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
    log_format: LogFormat = "json",
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
    _log_and_run(lambda log: process.serve(load, log, _attended), as_json=log_format == "json")


@app.command()
def gateway(
    listen: Annotated[
        str | None,
        typer.Option(help="Where the sidecar or the ingress dials.", metavar="HOST:PORT"),
    ] = None,
    public_url: PublicUrl = None,
    allow_unsigned: AllowUnsigned = False,
    config: ConfigFile = None,
    no_history: NoHistory = False,
    log_format: LogFormat = "json",
) -> None:
    """Run the voice gateway alone: webhooks, media streams, speech."""
    from gateway import process
    from gateway.journal import Journal
    from proxy.otel import Heard, exported
    from proxy.process import open_history

    settings = _gateway_settings(
        config, listen=listen, public_url=public_url, allow_unsigned=allow_unsigned or None
    )
    sidecars = load_settings(config, history={"enabled": False} if no_history else None)

    async def serve(_log: LogWriter) -> None:
        heard = Heard()
        async with exported() as follow, _flushed(open_history(sidecars)) as history:
            journal = Journal(_keeper(history), _keeper(history, TWILIO_ERROR))
            await process.serve(
                settings,
                journal,
                heard.shown,
                on_start=lambda running: follow(heard, [running.events.registry]),
            )

    _log_and_run(serve, as_json=log_format == "json")


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Place one simulated call, print what was seen, end.")
    ] = False,
    listen: Listen = None,
    admin: AdminAddress = None,
    public_url: PublicUrl = None,
    allow_unsigned: AllowUnsigned = False,
    config: ConfigFile = None,
    no_history: NoHistory = False,
    record: Annotated[
        Path | None, typer.Option(help="Where the demo's recording goes.", metavar="OUT.wav")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run gateway, sidecar and admin address together."""
    from proxy import process

    if demo:
        _demo(record or Path("hopscope-demo.wav"), as_json)
        return
    if as_json:
        _fail("--json goes with --demo; the log of a running sidecar is JSON anyway", USAGE)
    kept = {"enabled": False} if no_history else None
    unsigned = allow_unsigned or None
    settings = _gateway_settings(config, public_url=public_url, allow_unsigned=unsigned)
    upstream = Upstream(*settings.listen)

    def load() -> Settings:
        return load_settings(
            config, upstream=upstream, route=[], listen=listen, admin=admin, history=kept
        )

    if settings.public_url is None:  # Twilio's stand-in on this machine calls the sidecar
        here = f"http://{load().listen}"
        settings = _gateway_settings(config, public_url=here, allow_unsigned=unsigned)
    load()
    _log_and_run(lambda log: process.serve(load, log, _beside(settings)))


for verb in (call, dial, doctor, compare, lint, ingress, rules, explain):
    app.command()(verb)
for look in (tap, history, show, capture, export, replay):
    app.command()(look)
app.add_typer(lab, name="lab")


def _account(config: Path | None) -> Any:
    from gateway.call_records import Account

    return Account(config)


app.command("twilio")(twilio_verb(Kept, _account))


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


def _demo(record: Path, as_json: bool) -> None:
    """One call that holds a conversation of two turns, through the sidecar, on this machine."""
    import structlog

    import proxy.report
    from doctor.caller import report

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    called, row = _with_progress("a call in two turns", lambda progress: _place(record, progress))
    if as_json:
        _print_json({"call": called.as_json(), "history": row})
    else:
        console = Console()
        report.print_report(console, called)
        proxy.report.print_row(console, row)
    if called.twilio_error is not None or len(row["turns"]) < len(called.turns):
        raise typer.Exit(BROKEN)


async def _place(record: Path, progress: Callable[[float], None]) -> tuple[Any, dict[str, Any]]:
    """The demo's call: the caller's report, and the row that the history has of it."""
    import secrets

    from doctor.caller.call import CallOptions, SimulatedCall
    from doctor.caller.speech import sentences
    from gateway.settings import offline_settings
    from proxy.process import running_sidecar
    from proxy.routes import Route
    from proxy.settings import HistorySettings, HostPort

    token = secrets.token_hex(16)
    loopback = HostPort("127.0.0.1", 0)
    sidecars = Settings.model_construct(
        listen=loopback, drain_seconds=5.0, history=HistorySettings(enabled=False)
    )
    async with running_sidecar(sidecars) as (sidecar, admin):
        address = await sidecar.start()
        settings = offline_settings(public_url=f"http://{address}", auth_token=token)
        async with _beside(settings)(sidecar, admin) as (gateway, listening):
            await gateway.warm()
            sidecar.routes = (Route("gateway", Upstream(*listening)),)
            options = CallOptions(
                webhook_url=settings.public.url(settings.paths.webhook),
                says=tuple(sentence.audio for sentence in sentences()[:2]),
                auth_token=token,
                record=record,
            )
            called = await SimulatedCall(options, progress).run()
            await gateway.drain()
        await sidecar.drain()
        row = await sidecar.history.get(called.call_sid)
        assert row is not None  # noqa: S101 - the gateway keeps every call
        return called, row


def _beside(settings: GatewaySettings) -> Callable[..., Any]:
    """A gateway that runs beside a sidecar: one history, one /metrics, one stream of events."""
    from gateway.journal import Journal
    from gateway.process import running_gateway

    @asynccontextmanager
    async def beside(sidecar: Any, admin: Any) -> AsyncIterator[Any]:
        keep = Journal(_keeper(sidecar.history), _keeper(sidecar.history, TWILIO_ERROR))
        running = running_gateway(settings, keep, sidecar.telemetry.show)
        async with _attended(sidecar, admin), running as (gateway, address):
            admin.collectors.append(gateway.events.registry)
            sidecar.at_drain.append(gateway.take_no_calls)
            yield gateway, address

    return beside


@asynccontextmanager
async def _attended(_sidecar: Any, admin: Any) -> AsyncIterator[None]:
    """A sidecar whose page explains what it shows, and can ask the doctor."""
    from doctor.diagnosis.examiner import Examiner
    from doctor.diagnosis.explanations import explain

    admin.explain = explain
    admin.examine = Examiner(lambda: admin.url).examine
    yield


def _gateway_settings(config: Path | None, **flags: Any) -> GatewaySettings:
    from gateway.settings import load_settings

    return load_settings(config, **flags)


def _keeper(history: History, kind: str = CALL) -> Callable[[dict[str, Any]], None]:
    """Puts calls into the history under an id that sorts by time, like all others."""

    def keep(row: dict[str, Any]) -> None:
        now = time.time()
        history.add_event(kind, now, {"id": new_id(now), "at": iso(now)} | row, {})

    return keep


@asynccontextmanager
async def _flushed(history: History) -> AsyncIterator[History]:
    """A history that is written as time goes by, and closed."""

    async def flush() -> None:
        while True:
            await asyncio.sleep(0.5)
            history.flush()

    flushing = asyncio.create_task(flush())
    try:
        yield history
    finally:
        flushing.cancel()
        history.close()


def _with_progress(title: str, work: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine that reports its share, with a bar on stderr; Ctrl-C ends it."""
    from rich.progress import Progress

    from proxy import process

    done: list[Any] = []

    async def run() -> None:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=1.0)
            done.append(await work(lambda share: bar.update(task, completed=share)))

    try:
        process.run(run())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    return done[0]


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """The console script. Usage errors end with 64, and so do settings that are refused."""
    command: Any = get_command(app)
    plain_flags(command)
    try:
        code = command(standalone_mode=False)
    except typer.TyperException as error:
        code = _complain(complaint(error, sys.argv[1:], command.commands), USAGE)
    except (SettingsError, GatewaySettingsError) as error:
        code = _complain(str(error), USAGE)
    except (HistoryError, DialError, OSError) as error:
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
