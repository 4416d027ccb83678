"""The parts of the benchmark that are phone calls: many at once (calls.py), one that talks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from bench import calls, turns
from bench.report import Aim

PARTS = ("calls", "turns")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. A quick one does not look for the limit, or for callers who talk."""

    parts: tuple[str, ...]
    calls: int
    seconds: float
    turns: int
    is_quick: bool = False


@dataclass(slots=True)
class Figures:
    plan: Plan
    carried: list[calls.Carried] = field(default_factory=list)
    talked: list[turns.Turn] = field(default_factory=list)

    def aims(self) -> list[Aim]:
        """Those of the parts that were asked for."""
        spoken = turns.aims(self.talked) if "turns" in self.plan.parts else []
        return calls.aims(self.carried) + spoken

    def tables(self) -> Iterator[tuple[Table, list[str]]]:
        """Each with the remarks that belong under it."""
        if self.carried:
            yield calls.table(self.carried), calls.remarks(self.carried)
        if self.talked:
            yield turns.table(self.talked), turns.remarks(self.talked)

    def as_json(self) -> dict[str, Any]:
        return {"calls": calls.as_json(self.carried), "turns": turns.as_json(self.talked)}


def run(plan: Plan, progress: Callable[[str], None]) -> Figures:
    """Measure. What is not installed is left out. Raises RefusedError."""
    figures = Figures(plan)
    if "calls" in plan.parts:
        loads = calls.loads_for(plan.calls, plan.seconds)
        chosen = loads[:1] if plan.is_quick else loads
        figures.carried = calls.run(chosen, progress, wants_limit=not plan.is_quick)
    if "turns" in plan.parts and turns.missing() is None:
        figures.talked = turns.converse(plan.turns)
        progress(f"{plan.turns} turns")
    return figures
