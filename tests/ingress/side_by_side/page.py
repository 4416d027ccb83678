"""docs/ingress.md: an answer in plain words, each borne out by the tables below it, and the tables.

A claim that the tables do not bear out is not written: `page` raises Unborne.
"""

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from doctor.comparing.passage import Passage
from doctor.comparing.rendering import markdown
from doctor.comparing.table import Table, make_table, ratios, without_times
from doctor.probing.passed import CallSeen
from ingress.side_by_side.claims import RELOAD_TITLE, claims
from ingress.side_by_side.ingresses import CLOUDFLARE, MOUNTED, SERVERS, SHORT

SHORT_COLUMNS = ("upgrade", "verdict", "request: dropped", "as it is", "silence")
SHORT_TITLE, TIMES_TITLE = "The shortest configuration", "Times"
RELOADS_TITLE = "A reload"


INTRODUCTION = """\
# How ingresses treat a call

*How does Funnel really treat the Upgrade headers, and would Cloudflare Tunnel or nginx do better?*

{answer}

So an ingress that is configured as it should be is no reason for a call to fail, whichever it is,
and moving from Funnel to another one mends no Upgrade that Funnel breaks, because it breaks none.
What is left is where the path leads (a mount, a `location`), what the defaults are, and what each
adds to the way.

{times}

## What was run

    {command}

starts each program on this machine in front of one `hopscope proxy` and places the same calls
through all of them in turn, as `hopscope compare` does. The programs are real:

{versions}

Servers have the laboratory's proper configuration and plain HTTP; both tunnels end TLS, Funnel's in
tailscaled, Cloudflare's at the edge. What is not real is the providers' part: Cloudflare's edge is
a small one of the tests' own (HTTP and TLS in front, the tunnel's protocol behind), Funnel's relay
routes by name and nothing else, and both ends are on one machine. So firewall rules, idle limits
and the distance of the real edges are not in these tables; `hopscope compare` measures yours. A
cell of cloudflared's is of the edge and of cloudflared together. `hopscope ingress NAME` writes a
configuration of each that has no fault.
"""
SHORT_INTRODUCTION = """\
As it is first written, in place of the proper one. Caddy, Traefik, cloudflared and Funnel need no
more than their shortest for the Upgrade. A stream was left silent for as long as above.
"""
RELOAD_INTRODUCTION = """\
An open stream while the ingress takes up another configuration. Envoy was not told: it takes its
configuration from a control plane, or is restarted; nor was cloudflared over QUIC, to which the
tests' edge cannot push. nginx, HAProxy and Apache keep the old process for as long as its streams
are open, unless they are told a limit.
"""
TIMES_INTRODUCTION = """\
How many times as long as the direct way to the sidecar: the median over the rounds, and between
which two the middle half of them lies. Each round is one call through each: {calls} rounds of
{seconds:g} s of media. Absolute times mean nothing on a machine that does other things, too, and
both tunnels have their provider's part on the same machine. The direct way is a fraction of a
millisecond, a frame is 20.
"""


class Unborne(Exception):  # noqa: N818 - a verdict on a sentence
    """A sentence of the answer that the tables do not bear out."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the page is made of. `short` are passages of SHORT and of the mount."""

    proper: Sequence[Passage]
    short: Sequence[Passage]
    reloads: Mapping[str, tuple[str, str]]  # by ingress: how it was told, what came of it
    versions: Mapping[str, str]
    command: str
    seconds: float

    def cell(self, ingress: str, title: str) -> str:
        """What the tables say; "" where they say nothing."""
        if title == RELOAD_TITLE:
            return self.reloads.get(ingress, ("", ""))[1]
        told = make_table([*self.proper, *self.short])
        for row in told.rows:
            if row.title == title and ingress in told.columns:
                return row.cells[told.columns.index(ingress)]
        return ""


def page(seen: Seen) -> str:
    """The whole of docs/ingress.md. Raises Unborne."""
    proper = [each.name for each in seen.proper if not each.is_direct]
    answer = []
    for claim in claims(proper):
        if not claim.is_borne(seen.cell):
            raise Unborne(claim.says)
        answer.append(_filled(f"- {claim.says}", "  "))
    calls = max((len(each.calls) for each in seen.proper), default=0)
    introduction = INTRODUCTION.format(
        answer="\n".join(answer),
        times=_summed(seen.proper),
        command=seen.command,
        versions="\n".join(f"    {name:12}{number}" for name, number in seen.versions.items()),
    )
    parts = [
        introduction,
        markdown(without_times(make_table(seen.proper))),
        f"## {TIMES_TITLE}\n\n" + TIMES_INTRODUCTION.format(calls=calls, seconds=seen.seconds),
        times_table(seen.proper),
        f"## {SHORT_TITLE}\n\n{SHORT_INTRODUCTION}",
        short_table(seen.short),
        f"## {RELOADS_TITLE}\n\n{RELOAD_INTRODUCTION}",
        _lines(
            ("", "told by", RELOAD_TITLE),
            [(name, how, became) for name, (how, became) in seen.reloads.items()],
        ),
    ]
    return "\n".join(parts)


def short_rows(passages: Sequence[Passage]) -> dict[str, tuple[str, ...]]:
    """What the table of short configurations says, by name."""
    told = make_table(passages)
    rows = {row.title: dict(zip(told.columns, row.cells, strict=True)) for row in told.rows}
    return {
        each.name: tuple(rows.get(title, {}).get(each.name, "-") for title in SHORT_COLUMNS)
        for each in passages
        if not each.is_direct
    }


def short_table(passages: Sequence[Passage]) -> str:
    words = {name: short.says for name, short in SHORT.items()}
    words[MOUNTED] = "`tailscale funnel --set-path=/voice`"
    rows = [(name, words[name], *cells) for name, cells in short_rows(passages).items()]
    return _lines(("", "configuration", *SHORT_COLUMNS), rows)


def times_table(passages: Sequence[Passage]) -> str:
    """Ratios to the direct way."""
    direct = next((each for each in passages if each.is_direct), None)
    picks: dict[str, Callable[[CallSeen], float]] = {
        "round trip": lambda call: call.round_trip_ms,
        "jitter": lambda call: call.jitter_ms,
        "head to 101": lambda call: call.switched_ms,
        "TCP and TLS": lambda call: call.opened_ms,
    }
    rows = [
        (each.name, *(_spread(ratios(each, direct, pick)) for pick in picks.values()))
        for each in passages
        if direct is not None and not each.is_direct
    ]
    return _lines(("times the direct way", *picks), rows)


def parse_tables(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Cells by (heading, column) and the first cell of their row."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    heading = ""
    columns: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            heading, columns = line[3:], []
        elif line.startswith(("| ", "|  |")):
            cells = [cell.strip().replace("\\|", "|") for cell in _split(line)]
            if not columns:
                columns = cells
            else:
                for column, cell in zip(columns[1:], cells[1:], strict=True):
                    found.setdefault((heading, column), {})[cells[0]] = cell
    return found


def behaviour(table: Table) -> dict[tuple[str, str], dict[str, str]]:
    """The same of a table that was just made."""
    return parse_tables(markdown(without_times(table)))


def _split(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def _summed(passages: Sequence[Passage]) -> str:
    """The round trip's ratios in one sentence."""
    direct = next(each for each in passages if each.is_direct)
    told = []
    for title, names in (
        ("a server", SERVERS),
        ("Cloudflare Tunnel", CLOUDFLARE),
        ("Funnel", ("funnel-https", "funnel-tcp")),
    ):
        found = [
            median(ratios(each, direct, lambda call: call.round_trip_ms))
            for each in passages
            if each.name in names and each.calls
        ]
        if found:
            low, high = f"{min(found):.1f}", f"{max(found):.1f}"
            told.append(f"{title} {low if low == high else f'{low} to {high}'}")
    said = ", by ".join(told)
    return _filled(f"The round trip of a frame, as times of the direct way: by {said}.")


def _filled(text: str, indent: str = "") -> str:
    """In lines; what stands in backquotes is not torn at its hyphens."""
    return textwrap.fill(text, 100, subsequent_indent=indent, break_on_hyphens=False)


def _spread(found: Sequence[float]) -> str:
    if not found:
        return "-"
    if len(found) < 3:
        return f"{median(found):.1f}"
    low, _, high = quantiles(found, n=4, method="inclusive")
    return f"{median(found):.1f} ({low:.1f} to {high:.1f})"


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    written = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in (columns, *rows)]
    first, *others = [f"| {line} |\n" for line in written]
    return "".join((first, "|" + "---|" * len(columns) + "\n", *others))
