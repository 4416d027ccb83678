"""Verbs of the command line that diagnose: doctor, lint, rules, explain (see hopscope.py)."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

BROKEN, CANNOT_TELL, USAGE, INTERRUPTED = 1, 2, 64, 130
EXIT_CODES = {"healthy": 0, "broken": BROKEN, "cannot_tell": CANNOT_TELL}
T = TypeVar("T")
ADMIN = "http://127.0.0.1:9101"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
StreamPath = Annotated[str, typer.Option(help="Where Twilio opens its stream.", metavar="PATH")]
WebhookPath = Annotated[str, typer.Option(help="Where Twilio asks for TwiML.", metavar="PATH")]


def doctor(
    public_url: Annotated[str | None, typer.Argument(metavar="PUBLIC_URL")] = None,
    hops: Annotated[
        Path | None, typer.Option(help="The hops, inside first; hops.toml of this folder.")
    ] = None,
    stream_path: StreamPath = "/voice/stream",
    webhook_path: WebhookPath = "/voice/webhook",
    admin: Annotated[str, typer.Option(help="The sidecar's admin address.", metavar="URL")] = ADMIN,
    connect_to: Annotated[
        str | None,
        typer.Option(help="Dial the public name at this address.", metavar="HOST:PORT"),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(help="An ingress configuration to read, too.", metavar="FILE"),
    ] = None,
    idle: Annotated[
        float,
        typer.Option(help="Leave a stream silent so long.", metavar="SECONDS", min=0, max=3600),
    ] = 0,
    soak: Annotated[
        float, typer.Option(help="Send media so long.", metavar="SECONDS", min=0, max=3600)
    ] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as one file.", metavar="REPORT.html")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Probe every hop, name the one that broke the WebSocket, print the fix."""
    from rich.console import Console

    from doctor.addresses import parse_address
    from doctor.diagnosis.examination import HOPS_FILE, examine
    from doctor.diagnosis.html import page
    from doctor.diagnosis.input import Misuse, check_path, check_report, checked_admin
    from doctor.diagnosis.json import as_contract
    from doctor.diagnosis.text import print_diagnosis
    from doctor.probing import HopsError, ProbeOptions

    try:
        dialled = parse_address(connect_to) if connect_to else None
    except ValueError as error:
        raise typer.BadParameter(f"--connect-to: {error}.") from None
    check_path("--stream-path", stream_path)
    check_path("--webhook-path", webhook_path)
    check_report(html)
    options = ProbeOptions(
        stream_path=stream_path,
        webhook_path=webhook_path,
        admin=checked_admin(admin),
        admin_token=os.environ.get("HOPSCOPE_ADMIN_TOKEN") or None,
        idle_s=idle,
        soak_s=soak,
        auth_token=os.environ.get("TWILIO_AUTH_TOKEN") or None,
        connect_to=dialled,
    )
    if hops is None and public_url is None and HOPS_FILE.is_file():
        hops = HOPS_FILE
    try:
        seen = with_status(lambda tell: examine(hops, public_url, config or [], options, tell))
    except HopsError as error:
        raise Misuse(str(error)) from None
    if html is not None:
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        html.write_text(page(seen.diagnosis, seen.probes, made_at), encoding="utf-8")
    if as_json:
        told = as_contract(seen.diagnosis, seen.probes, seen.elapsed_s)
        print_json(told | {"notes": list(seen.notes)})
    else:
        print_diagnosis(Console(), seen.diagnosis, seen.probes)
        for note in seen.notes:
            sys.stderr.write(f"hopscope: {note}\n")
    raise typer.Exit(EXIT_CODES[seen.diagnosis.verdict])


def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
    stream_path: StreamPath = "/voice/stream",
    webhook_path: WebhookPath = "/voice/webhook",
    status_path: Annotated[str, typer.Option(metavar="PATH")] = "/voice/status",
    as_json: AsJson = False,
    sarif: Annotated[
        Path | None, typer.Option(help="Write the findings as SARIF 2.1.0.", metavar="OUT.sarif")
    ] = None,
) -> None:
    """Read ingress configurations: what they make of the voice paths, and what is wrong.

    - is standard input.
    """
    from rich.console import Console

    from doctor.linting import engine
    from doctor.linting.findings import Paths
    from doctor.linting.listing import print_reports
    from doctor.linting.sarif import as_sarif

    paths = Paths(webhook_path, stream_path, status_path)
    reports = {file: engine.lint_file(file, None, paths) for file in files}
    findings = [finding for report in reports.values() for finding in report.findings]
    if sarif is not None:
        text = json.dumps(as_sarif(findings, engine.all_rules()), indent=2) + "\n"
        try:
            sarif.write_text(text, encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"--sarif {sarif}: {error.strerror}.") from None
    if as_json:
        print_json(engine.as_json(reports))
    else:
        print_reports(Console(), reports)
    if any(report.unreadable for report in reports.values()):
        raise typer.Exit(USAGE)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(BROKEN)


def rules(as_json: AsJson = False) -> None:
    """List all rules, of the doctor and of the linters."""
    from doctor.diagnosis.pages import pages

    known = pages()
    if as_json:
        print_json([{"rule": page.id, "slug": page.slug, "level": page.level} for page in known])
        return
    for page in known:
        sys.stdout.write(f"{page.id}  {page.slug:<36} {page.defect}\n")


def explain(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="An id or its name.")],
    as_json: AsJson = False,
) -> None:
    """Print the page of a rule: why, how it is told, how it is mended."""
    from doctor.diagnosis.pages import find_pages

    found, near = find_pages(rule)
    if not found:
        hint = f" Did you mean {near}?" if near else ""
        raise typer.BadParameter(f"there is no rule {rule!r}.{hint} `hopscope rules` lists all.")
    if as_json:
        print_json([asdict(page) for page in found])
        return
    sys.stdout.write("\n".join(page.text for page in found))


def with_status(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine beside a line on stderr that says what is being done."""
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        try:
            return asyncio.run(work(status.update))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
