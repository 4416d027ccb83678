"""How the command line words its help and its complaints. Typer has words of its own."""

import re
from collections.abc import Collection, Sequence
from typing import Any

import typer


def plain_flags(command: Any, parent: typer.Context | None = None) -> None:
    """Names no type behind a flag: `--json <bool>` reads as if a value had to follow."""
    context = typer.Context(command, parent=parent, **command.context_settings)
    for option in command.get_params(context):
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for verb in getattr(command, "commands", {}).values():
        plain_flags(verb, context)


def complaint(error: typer.TyperException, asked: Sequence[str], verbs: Collection[str]) -> str:
    """What was wrong with a command line, and which help tells more.

    "" where the help was printed instead. `asked` are the words of the command line.
    """
    said = error.format_message().removeprefix("Invalid value: ").replace(": Value error, ", ": ")
    if not said:
        return ""
    # "did you mean this?." where a sentence was made of another's words.
    said = re.sub(r"^\[Errno \d+\] ", "", said).rstrip(".")
    said += "" if said.endswith(("?", "!")) else "."
    verb = next((f" {word}" for word in asked if word in verbs), "")
    return f"{said} See `hopscope{verb} --help`."
