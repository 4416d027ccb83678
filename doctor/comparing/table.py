"""One table of several passages: the model that all renderings share (pure)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from doctor.comparing.cells import Aspect, aspects
from doctor.comparing.heads import answer_changes, request_changes
from doctor.comparing.passage import Passage
from doctor.comparing.verdicts import verdict_of, verdict_of_all
from doctor.evidence import as_json
from doctor.probing.passed import CallSeen

NOTHING = "-"
GROUPS = {
    "upgrade": "The upgrade",
    "heads": "Heads, as sent and as arrived",
    "targets": "Targets",
    "stream": "The stream",
    "times": "Times, medians of the calls in turn",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One aspect of all ingresses, a cell each."""

    group: str
    title: str
    cells: tuple[str, ...]
    is_measured: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def group(self, name: str) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.group == name)


def make_table(passages: Sequence[Passage]) -> Table:
    """Rows of which no ingress has anything to say are left out."""
    targets = tuple(dict.fromkeys(seen.name for each in passages for seen in each.targets))
    rows = [_row(aspect, passages) for aspect in aspects(targets)]
    direct = next((each for each in passages if each.is_direct), None)
    if direct is not None:
        rows.append(_added_row(passages, direct))
    kept = tuple(row for row in rows if any(cell != NOTHING for cell in row.cells))
    return Table(tuple(each.name for each in passages), kept)


def added_ms(passage: Passage, direct: Passage) -> float | None:
    """What the way through it takes longer than the direct way, by the rounds of both."""
    there = {call.round: call.round_trip_ms for call in direct.calls if call.received}
    added = [
        call.round_trip_ms - there[call.round]
        for call in passage.calls
        if call.received and call.round in there
    ]
    return median(added) if added else None


def ratio(passage: Passage, direct: Passage) -> float | None:
    """How many times as long as the direct way, by the rounds of both."""
    found = ratios(passage, direct, lambda call: call.round_trip_ms)
    return median(found) if found else None


def ratios(passage: Passage, direct: Passage, pick: Callable[[CallSeen], float]) -> list[float]:
    """One time of each call by that of the direct call of the same round."""
    there = {call.round: pick(call) for call in direct.calls if pick(call)}
    return [
        pick(call) / there[call.round]
        for call in passage.calls
        if call.received and call.round in there
    ]


def as_contract(passages: Sequence[Passage], notes: Sequence[str]) -> dict[str, Any]:
    """What `hopscope compare --json` prints."""
    direct = next((each for each in passages if each.is_direct), None)
    table = make_table(passages)
    return {
        "verdict": verdict_of_all(passages),
        "direct": None if direct is None else direct.probe.hop.url,
        "ingresses": [_told(each, direct) for each in passages],
        "table": {
            "columns": list(table.columns),
            "rows": [as_json(row) for row in table.rows],
        },
        "notes": list(notes),
    }


def _told(passage: Passage, direct: Passage | None) -> dict[str, Any]:
    request, answer = request_changes(passage.probe), answer_changes(passage.probe)
    compared = direct if direct is not None and not passage.is_direct else None
    return {
        "name": passage.name,
        "url": passage.probe.hop.url,
        "verdict": verdict_of(passage),
        "sentence": passage.diagnosis.sentence,
        "rule": passage.diagnosis.rule,
        "request": None if request is None else [as_json(line) for line in request.lines],
        "answer": None if answer is None else [as_json(line) for line in answer.lines],
        "targets": [as_json(seen) for seen in passage.targets],
        "manners": None if passage.manners is None else as_json(passage.manners),
        "calls": [as_json(call) for call in passage.calls],
        "medians": _medians(passage.calls),
        "added_ms": None if compared is None else added_ms(passage, compared),
        "ratio": None if compared is None else ratio(passage, compared),
        "probe": as_json(passage.probe),
    }


def _medians(calls: Sequence[CallSeen]) -> dict[str, float] | None:
    held = [call for call in calls if call.received]
    if not held:
        return None
    names = ("opened_ms", "switched_ms", "round_trip_ms", "jitter_ms", "worst_gap_ms")
    return {name: median(getattr(call, name) for call in held) for name in names}


def _row(aspect: Aspect, passages: Sequence[Passage]) -> Row:
    cells = tuple(aspect.tell(each) or NOTHING for each in passages)
    return Row(aspect.group, aspect.title, cells, aspect.is_measured)


def _added_row(passages: Sequence[Passage], direct: Passage) -> Row:
    """What each adds to the direct way's round trip."""
    return Row(
        "times", "added to the direct way", tuple(_added(each, direct) for each in passages), True
    )


def _added(passage: Passage, direct: Passage) -> str:
    added, times = added_ms(passage, direct), ratio(passage, direct)
    if passage.is_direct or added is None or times is None:
        return NOTHING
    return f"{added:+.2f} ms ({times:.1f} times)"


def without_times(table: Table) -> Table:
    """Only what is the same whenever it is asked for."""
    return replace(table, rows=tuple(row for row in table.rows if not row.is_measured))
