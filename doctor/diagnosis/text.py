"""A diagnosis for people: one sentence, a picture, both heads side by side, the fix."""

from collections.abc import Iterator, Sequence
from textwrap import indent

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from doctor.diagnosis.heads import Line, compare
from doctor.diagnosis.picture import ARROWS, Station, stations
from doctor.diagnosis.unlooked import unlooked
from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Probe
from doctor.rules import Finding

VERDICTS = {"healthy": "green", "broken": "bold red", "cannot_tell": "bold yellow"}
_MARKS = {"same": " ", "respelled": " ", "changed": "~", "removed": "-", "added": "+"}
_STYLES = {"changed": "yellow", "removed": "red", "added": "green"}


def print_diagnosis(console: Console, diagnosis: Diagnosis, probes: Sequence[Probe]) -> None:
    """Without colours where the console is no terminal."""
    for part in _parts(diagnosis, probes):
        console.print(part, soft_wrap=isinstance(part, Text))


def heads_of(probe: Probe) -> tuple[str, str, tuple[Line, ...]] | None:
    """Titles and lines of the request as it left us and as it arrived, where both are known."""
    upgrade = probe.upgrade
    if upgrade is None or upgrade.arrival is None:
        return None
    arrival = upgrade.arrival
    left = f"sent to {probe.hop.name}: {upgrade.method} {upgrade.target} HTTP/1.1"
    right = f"arrived: {arrival.method} {arrival.target} HTTP/{arrival.version}"
    return left, right, compare(upgrade.fields, arrival.fields)


def answers_of(probe: Probe) -> tuple[str, str, tuple[Line, ...]] | None:
    """The same of the answer: as it left the sidecar and as it came to us."""
    upgrade = probe.upgrade
    if upgrade is None or upgrade.arrival is None or upgrade.answer is None:
        return None
    left = f"left the sidecar: {upgrade.arrival.status or 'no answer'}"
    right = f"came back: {upgrade.answer.status} {upgrade.answer.reason}".rstrip()
    # The record is of the answer before the sidecar stamped it.
    came = tuple(pair for pair in upgrade.answer.fields if pair[0].lower() != "proxy-status")
    return left, right, compare(upgrade.arrival.answer_fields, came)


def _parts(diagnosis: Diagnosis, probes: Sequence[Probe]) -> Iterator[RenderableType]:
    yield Text(printable(diagnosis.sentence), VERDICTS[diagnosis.verdict])
    yield Text()
    yield _picture(stations(probes, diagnosis.hop))
    guilty = next((probe for probe in probes if probe.hop.name == diagnosis.hop), None)
    for finding in diagnosis.findings:
        yield from _finding(finding)
    if guilty is not None:
        yield from _heads(guilty)
    yield from _configuration(diagnosis)
    if diagnosis.consequences:
        yield Text(
            "follows from it: "
            + ", ".join(f"{each.rule} at {each.hop}" for each in diagnosis.consequences),
            "dim",
        )
    yield Text()
    yield _phases(probes)
    for probe in probes:
        for note in probe.notes:
            yield Text(f"{probe.hop.name}: {printable(note)}", "dim")
    for line in unlooked(diagnosis, probes):
        yield Text(printable(line), "dim")


def _picture(drawn: Sequence[Station]) -> Text:
    text = Text("Twilio", "bold")
    for station in drawn:
        style = "bold red" if station.way == "broken" else "dim" if station.way == "unknown" else ""
        text.append(f" {ARROWS[station.way]} ", style)
        text.append(printable(station.name), "bold red" if station.is_guilty else "bold")
        text.append(f" ({printable(station.note)})", "dim")
    return text


def _finding(finding: Finding) -> Iterator[RenderableType]:
    style = "red" if finding.level == "error" else "yellow"
    yield Text()
    yield Text.assemble(
        (f"{finding.rule} {finding.slug}", f"bold {style}"), f" at {printable(finding.hop)}"
    )
    yield Padding(Text(printable(finding.saw)), (0, 0, 0, 2))
    # Commands are there to be copied: not folded at the width of the terminal.
    yield Text(indent(finding.fix, "    "), "green")


def _configuration(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    """What is written where, with the fix at the hop that is to be mended."""
    for hop in dict.fromkeys(each.hop for each in diagnosis.configuration):
        yield Text()
        yield Text(f"in the configuration of {printable(hop)}", "bold")
        for each in diagnosis.configuration:
            if each.hop != hop:
                continue
            found = each.found
            style = "red" if found.level == "error" else "yellow"
            place = f"{printable(found.file)}:{found.line}"
            saw = Text.assemble((f"{found.rule} ", style), f"{place}: {printable(found.saw)}")
            yield Padding(saw, (0, 0, 0, 2))
            if hop == diagnosis.hop:
                yield Padding(Text(printable(found.fix), "green"), (0, 0, 0, 4))


def _heads(probe: Probe) -> Iterator[RenderableType]:
    for heads in (heads_of(probe), answers_of(probe)):
        if heads is None or all(line.change in ("same", "respelled") for line in heads[2]):
            continue
        left, right, lines = heads
        table = Table("", printable(left), printable(right), box=None, pad_edge=False)
        for line in lines:
            style = _STYLES.get(line.change, "")
            table.add_row(
                Text(_MARKS[line.change], style),
                Text(printable(line.left), style),
                Text(printable(line.right), style),
            )
        yield Text()
        yield table


def _phases(probes: Sequence[Probe]) -> Table:
    """Every hop's phases with their times, outside first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("hop")
    table.add_column("phases")
    for probe in reversed(probes):
        cells = Text()
        for phase in probe.phases:
            cells.append(f"{phase.name} ", "dim")
            if phase.fault:
                detail = f": {printable(phase.detail)}" if phase.detail else ""
                cells.append(f"{phase.fault.replace('_', ' ')}{detail}  ", "red")
            else:
                cells.append(f"{phase.ms:.0f} ms  ")
        table.add_row(printable(probe.hop.name), cells or Text("not probed", "dim"))
    return table


def printable(text: str) -> str:
    """Peers' words, without what would steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
