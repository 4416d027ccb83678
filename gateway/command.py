"""Verbs of the command line that ask a running gateway for something (see hopscope.py)."""

import asyncio
import json
import os
import sys
from typing import Annotated, Any, Literal

import typer

BROKEN = 1


def dial(
    to: Annotated[str, typer.Argument(metavar="+1555...")],
    say: Annotated[str | None, typer.Option(help="Say this, then hang up.", metavar="TEXT")] = None,
    converse: Annotated[bool, typer.Option("--converse", help="Talk with whom answers.")] = False,
    url: Annotated[
        str, typer.Option("--gateway", help="The running gateway.", metavar="URL")
    ] = "http://127.0.0.1:8081",
    machine_detection: Annotated[
        Literal["off", "enable", "detect_message_end"] | None,
        typer.Option(help="Whether Twilio listens for answering machines."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Have the gateway call a number, and follow the call to its end."""
    from gateway.dialer import dial as place

    if (say is None) == (not converse):
        raise typer.BadParameter("either --say TEXT or --converse.")

    def tell(view: dict[str, Any]) -> None:
        sys.stderr.write(f"{view['call_sid']}  {view['ending'] or view['status']}\n")

    token = os.environ.get("HOPSCOPE_CALLS_TOKEN", "")
    view = asyncio.run(
        place(
            url,
            token,
            to,
            say=say,
            converse=converse,
            machine_detection=machine_detection,
            on_status=tell,
        )
    )
    if as_json:
        sys.stdout.write(json.dumps(view, indent=2) + "\n")
    else:
        sys.stdout.write(f"{view['call_sid']}  {view['ending']}  {view['duration_s']} s\n")
    if view["ending"] not in ("done", "said", "completed", "caller_hung_up", "machine"):
        raise typer.Exit(BROKEN)
