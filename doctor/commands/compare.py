"""The verb of the command line that lays ingresses side by side (see hopscope.py)."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.diagnosis import (
    ADMIN,
    AsJson,
    StreamPath,
    WebhookPath,
    print_json,
    with_status,
)


def compare(
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="Ingresses: https://HOST, or NAME=URL.")
    ],
    connect_to: Annotated[
        list[str] | None,
        typer.Option(help="Dial this address for one of them.", metavar="NAME=HOST:PORT"),
    ] = None,
    stream_path: StreamPath = "/voice/stream",
    webhook_path: WebhookPath = "/voice/webhook",
    admin: Annotated[str, typer.Option(help="The sidecar's admin address.", metavar="URL")] = ADMIN,
    calls: Annotated[int, typer.Option(help="So many through each.", min=1, max=100)] = 5,
    seconds: Annotated[float, typer.Option(help="How long one is.", min=0.1, max=600)] = 2,
    idle: Annotated[
        float, typer.Option(help="Leave a stream silent so long.", metavar="SECONDS", max=3600)
    ] = 0,
    ca: Annotated[
        Path | None, typer.Option(help="Authorities to trust, too.", metavar="PEM")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables for a page.")] = False,
    as_json: AsJson = False,
) -> None:
    """Place the same call through several ingresses in turn, and print one table."""
    from rich.console import Console

    from doctor.comparing import rendering, running, table
    from doctor.comparing.entries import read_entries
    from doctor.comparing.verdicts import exit_code
    from doctor.probing import HopsError, ProbeOptions

    options = ProbeOptions(
        stream_path=stream_path,
        webhook_path=webhook_path,
        admin=admin if "://" in admin else f"http://{admin}",
        admin_token=os.environ.get("HOPSCOPE_ADMIN_TOKEN") or None,
        idle_s=idle,
        auth_token=os.environ.get("TWILIO_AUTH_TOKEN") or None,
        ca=ca,
    )
    try:
        entries = read_entries(urls, connect_to or [])
        seen = with_status(lambda tell: running.compare(entries, options, calls, seconds, tell))
    except (HopsError, OSError) as error:
        raise typer.BadParameter(f"{error}.") from None
    made = table.make_table(seen.passages)
    if as_json:
        print_json(table.as_contract(seen.passages, seen.notes))
    elif markdown:
        sys.stdout.write(rendering.markdown(made))
    else:
        rendering.print_comparison(Console(), made, seen.passages)
        for note in seen.notes:
            sys.stderr.write(f"hopscope: {note}\n")
    raise typer.Exit(exit_code(seen.passages))
