"""A phone call that a voice gateway has written into the history, for people.

One line in a list, or turn by turn: who said what, how long each step took, who was interrupted.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
# Of a gateway's words for how a call ended, those that nobody has to look into.
GOOD_ENDINGS = frozenset(
    {"done", "said", "caller_hung_up", "no_input", "time_limit", "completed", "machine"}
)
PARTIES = ("caller", "agent")


def call_line(call: Row) -> Text:
    """A row of kind "call", as `history` lists it."""
    kind = Text(f"call {call.get('direction') or ''}".ljust(20))
    return Text.assemble(
        f"{call['at']}  {call['id']}  ",
        kind,
        f"  {call.get('mode') or '':<16}  {_count(call)}, {_duration(call)}, ",
        _ending(call),
        f"  {call['call_sid']}" if call.get("call_sid") else "",
    )


def error_line(row: Row) -> Text:
    """What Twilio's debugger told of a call: the code, and who made the answer."""
    hop = str(row.get("hop") or "nobody").replace("_", " ")
    status = f" {row['status']}" if row.get("status") else ""
    return Text.assemble(
        f"{row['at']}  {row['id']}  ",
        (f"Twilio {row.get('code')}".ljust(20), "red" if row.get("severity") == "error" else ""),
        f"  {row.get('name')}; answered{status} by: {hop}",
        f"  {row['call_sid']}" if row.get("call_sid") else "",
    )


def call_view(call: Row) -> Group:
    """A phone call in full, but for its handshakes."""
    what = " ".join(str(call[name]) for name in ("direction", "mode") if call.get(name))
    title = Text.assemble(
        (f"call {call.get('call_sid') or ''}".rstrip(), "bold"),
        f"  {what}{': ' if what else ''}{_duration(call)}, {_count(call)}, ",
        _ending(call),
        (f"\n{call['at']}  {call['id']}", "dim"),
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for style in ("dim", "bold", ""):
        table.add_column(style=style, overflow="fold")
    for turn in call.get("turns") or []:
        for number, (who, said) in enumerate(_lines(turn)):
            table.add_row("" if number else str(turn.get("number", "")), who, said)
    return Group(title, table)


def _lines(turn: Row) -> list[tuple[str, Text]]:
    """Who said what in one turn, and what the answer took."""
    lines = [(who, said) for who in PARTIES if (said := _words(turn, who))]
    if turn.get("was_interrupted"):
        lines.append(("", Text("the caller interrupted", "yellow")))
    if times := _times(turn.get("ms") or {}):
        lines.append(("", Text(times, "dim")))
    return lines or [("", Text("nothing was said", "dim"))]


def _words(turn: Row, who: str) -> Text | None:
    """What one party said, or how much where a gateway keeps no words."""
    if turn.get(who):
        return Text(str(turn[who]))
    count = turn.get(f"{who}_chars")
    return Text(f"{count} characters", "dim") if count else None


def _times(ms: Row) -> str:
    """Milliseconds of the steps; what the caller waited for stands first."""
    steps = [f"{name} {value:.0f} ms" for name, value in ms.items() if value is not None]
    return ", ".join(sorted(steps, key=lambda step: not step.startswith("first_audio")))


def _count(call: Row) -> str:
    turns = len(call.get("turns") or [])
    return "1 turn" if turns == 1 else f"{turns} turns"


def _duration(call: Row) -> str:
    seconds = call.get("duration_s")
    return "running" if seconds is None else f"{seconds:.1f} s"


def _ending(call: Row) -> Text:
    ending = call.get("ending") or "no ending"
    return Text(ending, "green" if ending in GOOD_ENDINGS else "yellow")
