"""The hops of a chain in a line, outside first, with the break where it is (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from doctor.evidence import Probe

Way = Literal["whole", "broken", "unknown"]
ARROWS: dict[Way, str] = {"whole": "──▶", "broken": "──✗", "unknown": "···"}


@dataclass(frozen=True, slots=True)
class Station:
    """One hop of the picture. `way` leads to it from the one before, `note` says what it did."""

    name: str
    kind: str
    way: Way
    note: str
    is_guilty: bool = False


def stations(probes: Sequence[Probe], guilty: str | None) -> tuple[Station, ...]:
    """`probes` are inside first, as they were probed; the picture is drawn as a call travels.

    Behind the guilty hop the way is as it was probed; the way out of the guilty hop is the broken
    one, or the way to it, where nothing of it could be reached.
    """
    drawn = []
    is_behind_break = False
    for index in range(len(probes) - 1, -1, -1):
        probe = probes[index]
        broken = probe.broken
        is_guilty = probe.hop.name == guilty
        unreached = broken is not None and broken.name in ("resolve", "connect", "tls")
        way: Way = "whole"
        if is_behind_break:
            way = "broken"
        elif not probe.phases:
            way = "unknown"
        elif unreached:
            way = "broken"
        is_behind_break = is_guilty and not unreached
        drawn.append(Station(probe.hop.name, probe.hop.kind, way, note(probe), is_guilty))
    return tuple(drawn)


def note(probe: Probe) -> str:
    """What came of a hop, in a few words."""
    if not probe.phases:
        return "not probed"
    broken = probe.broken
    answer = probe.upgrade.answer if probe.upgrade is not None else None
    if broken is None:
        return "101" if answer is not None and answer.status == 101 else "good"
    if answer is not None and answer.status != 101:
        return str(answer.status)
    return f"{broken.name}: {broken.fault.replace('_', ' ')}"


def line(drawn: Sequence[Station]) -> str:
    """The picture as one line of text."""
    way = (f"{ARROWS[station.way]} {station.name} ({station.note})" for station in drawn)
    return " ".join(["Twilio", *way])
