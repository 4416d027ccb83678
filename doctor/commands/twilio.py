"""`hopscope twilio`: a call as both sides tell it (see hopscope.py)."""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from doctor.incident.investigation import Account, Sidecar

USAGE = 64
EXIT_CODES = {"healthy": 0, "broken": 1, "cannot_tell": 2}


def twilio_verb(
    kept: "Callable[[Path | None, Path | None], Sidecar]",
    account: "Callable[[Path | None], Account]",
) -> Callable[..., None]:
    """The verb. `kept` opens a history (of a file, or of the settings), `account` Twilio's API."""

    def twilio(
        call_sid: Annotated[str, typer.Argument(metavar="CALL_SID")],
        admin: Annotated[
            str | None, typer.Option(help="Ask a running sidecar, not its history.", metavar="URL")
        ] = None,
        file: Annotated[
            Path | None,
            typer.Option("--file", help="The history file, if not the one in the settings."),
        ] = None,
        config: Annotated[
            Path | None,
            typer.Option("--config", "-c", help="Settings; hopscope.toml of this folder."),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    ) -> None:
        """Lay what Twilio says of a call beside what the sidecar saw of it; name the hop."""
        from rich.console import Console

        from doctor.incident import views
        from doctor.incident.investigation import RunningSidecar, investigate

        if re.fullmatch("CA[0-9a-fA-F]{32}", call_sid) is None:
            raise typer.BadParameter(f"{call_sid!r} is no CallSid: CA and 32 hexadecimal digits.")
        sidecar = RunningSidecar(admin) if admin else kept(file, config)
        story, refusal = asyncio.run(investigate(call_sid, sidecar, account(config)))
        if refusal:
            sys.stderr.write(f"hopscope: {refusal}\n")
            raise typer.Exit(USAGE)
        if as_json:
            sys.stdout.write(json.dumps(views.as_json(story), indent=2) + "\n")
        else:
            views.print_story(Console(), story)
        raise typer.Exit(EXIT_CODES[story.verdict])

    return twilio
