"""Verbs of the command line that play Twilio (see hopscope.py)."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

BROKEN, INTERRUPTED = 1, 130


def call(
    webhook_url: Annotated[str, typer.Argument(metavar="WEBHOOK_URL")],
    say: Annotated[
        list[Path] | None,
        typer.Option(help="A sentence to say, WAV; again for the next turn.", metavar="WAV"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Hang up after so long.", min=0.1, max=3600)] = 60,
    record: Annotated[
        Path | None, typer.Option(help="Both sides in stereo.", metavar="OUT.wav")
    ] = None,
    calls: Annotated[int, typer.Option(help="So many at once.", min=1, max=1000)] = 1,
    connect_to: Annotated[
        str | None,
        typer.Option(help="Dial this address, with the URL's Host.", metavar="HOST:PORT"),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without TLS there.")] = False,
    caller: Annotated[str | None, typer.Option("--from", help="The caller's number.")] = None,
    called: Annotated[str | None, typer.Option("--to", help="The called number.")] = None,
    digits: Annotated[str, typer.Option(help="Keys to press first; w waits.")] = "",
    barge_in: Annotated[
        float | None,
        typer.Option(help="Interrupt so long after the agent began.", metavar="SECONDS", min=0),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Play Twilio: call a webhook, obey its TwiML, talk over its stream."""
    from rich.console import Console
    from rich.progress import Progress

    from doctor.addresses import parse_address
    from doctor.caller import report
    from doctor.caller.call import FROM_NUMBER, TO_NUMBER, CallOptions
    from doctor.caller.calls import place_calls
    from doctor.caller.clip import read_clip
    from doctor.caller.dialogue import Manners
    from doctor.caller.speech import sentences

    try:
        options = CallOptions(
            webhook_url=webhook_url,
            says=tuple(read_clip(file.read_bytes()) for file in say)
            if say
            else tuple(sentence.audio for sentence in sentences()[:2]),
            digits=digits,
            manners=Manners(barge_in_s=barge_in),
            limit_s=seconds,
            record=record,
            connect_to=parse_address(connect_to) if connect_to else None,
            plain=plain,
            auth_token=os.environ.get("TWILIO_AUTH_TOKEN") or None,
            account_sid=os.environ.get("TWILIO_ACCOUNT_SID") or "",
            from_number=caller or FROM_NUMBER,
            to_number=called or TO_NUMBER,
        )
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{error}.") from None
    try:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("a simulated call" if calls == 1 else f"{calls} calls", total=1.0)
            placing = place_calls(options, calls, lambda share: bar.update(task, completed=share))
            summary = asyncio.run(placing)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (OSError, ValueError) as error:  # of the recording: the call's own failures are facts
        raise typer.BadParameter(f"{error}.") from None
    [first, *others] = summary.reports
    if as_json:
        told = summary.as_json() | {"reports": [each.as_json() for each in summary.reports]}
        shown = told if others else first.as_json()
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    elif others:
        report.print_summary(Console(), summary)
    else:
        report.print_report(Console(), first)
    if any(each.twilio_error for each in summary.reports):
        raise typer.Exit(BROKEN)
