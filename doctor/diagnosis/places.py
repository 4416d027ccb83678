"""The hops of a chain with what is said of each: guilty or not, before it is judged who broke it.

Pure. What only describes a break is folded under what explains it, what only the doctor ran into
is excused, and a refusal of a path that no caller asks a hop for is forgiven.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from doctor.evidence import PhaseName, Probe, Sight
from doctor.rules import Finding, Skipped, judge
from doctor.rules.ways import is_proven_through, is_taken_by_gateway

State = Literal["good", "bad", "hole"]

# Rules that only describe what happened. Any other error at the same hop explains it.
GENERAL = frozenset({"HS05", "HS20", "PO06", "UP09"})
# A rule that explains what others of the same hop say, too.
EXPLAINS = {
    "TW06": frozenset({"AN04", "AN05", "AN06", "AN07"}),
    "HS16": frozenset({"AN11", "FR05", "FR06"}),
    "HS11": frozenset({"HS06"}),
    "NE08": frozenset({"AN07"}),
}
# The phase of a finding at a hop whose phases all went well, by its family.
PHASES_OF: dict[str, PhaseName] = {
    "NE": "connect",
    "HS": "request",
    "RO": "request",
    "UP": "request",
    "PO": "request",
    "AN": "response",
    "FR": "echo",
    "CL": "close",
    "TW": "request",
}
# The order in which the findings of one hop are told: causes before what they lead to.
ORDER = ("NE", "HS", "RO", "UP", "PO", "AN", "FR", "CL", "TW")
REACHING = ("resolve", "connect", "tls")


@dataclass(slots=True)
class Place:
    """One hop with what is said of it. `errors` are told in order, the general ones folded."""

    sight: Sight
    state: State
    errors: list[Finding]
    warnings: list[Finding]
    folded: list[Finding] = field(default_factory=list)

    @property
    def probe(self) -> Probe:
        return self.sight.probe

    @property
    def name(self) -> str:
        return self.probe.hop.name

    @property
    def phase(self) -> PhaseName | None:
        broken = self.probe.broken
        if broken is not None:
            return broken.name
        return PHASES_OF[self.errors[0].rule[:2]] if self.errors else None


def look(sight: Sight, skipped: list[Skipped]) -> Place:
    errors: list[Finding] = []
    warnings: list[Finding] = []
    for said in judge(sight):
        if isinstance(said, Skipped):
            skipped.append(said)
        else:
            (errors if said.level == "error" else warnings).append(said)
    errors.sort(key=lambda finding: (ORDER.index(finding.rule[:2]), finding.rule))
    kept, folded = _fold(errors)
    bad = sight.probe.broken is not None or bool(kept)
    state: State = "bad" if bad else "good" if sight.probe.phases else "hole"
    return Place(sight, state, kept, warnings, folded)


def _fold(errors: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """What explains a hop's break, and what only describes it."""
    fired = {finding.rule for finding in errors}
    explained = {rule for cause in fired for rule in EXPLAINS.get(cause, ())}
    if fired - GENERAL - explained:
        explained |= GENERAL
    kept = [finding for finding in errors if finding.rule not in explained]
    return kept, [finding for finding in errors if finding.rule in explained]


def excuse(places: list[Place]) -> None:
    """A hop that only the doctor could not reach is a hole: something in front of it came through.

    Its faults of reaching it are no caller's: they become warnings.
    """
    for index, place in enumerate(places):
        broken = place.probe.broken
        if broken is None or broken.name not in REACHING:
            continue
        fronts = [other.probe for other in places[index + 1 :]]
        if not any(is_proven_through(front, place.probe) for front in fronts):
            continue
        reaching = [finding for finding in place.errors if finding.rule.startswith("NE")]
        place.warnings += [replace(finding, level="warning") for finding in reaching]
        place.errors = [finding for finding in place.errors if finding not in reaching]
        later = place.probe.phases[place.probe.phases.index(broken) + 1 :]
        if place.errors or any(phase.fault for phase in later):
            continue  # it was asked in spite of its certificate, and has more to be told
        place.state = "good" if later else "hole"


def forgive(places: list[Place]) -> None:
    """A hop that was asked for a path which no caller asks it for may refuse it.

    The doctor asks every hop for the public path. Where a hop in front cuts a prefix off, and an
    upgrade through it is taken by the gateway, those behind are asked for what is left.
    """
    for index, place in enumerate(places):
        upgrade, broken = place.probe.upgrade, place.probe.broken
        if place.state != "bad" or upgrade is None or broken is None:
            continue
        if broken.name not in ("request", "response") or broken.fault != "not_upgraded":
            continue
        fronts = (other.probe for other in places[index + 1 :])
        if any(_is_taken_elsewhere(front, upgrade.target) for front in fronts):
            place.errors = [each for each in place.errors if not _is_about_the_path(each)]
            later = place.probe.phases[place.probe.phases.index(broken) + 1 :]
            if not place.errors and not any(phase.fault for phase in later):
                place.state = "good"


def _is_about_the_path(finding: Finding) -> bool:
    return finding.rule.startswith("AN") or finding.rule in ("HS04", "RO06", "TW06")


def _is_taken_elsewhere(front: Probe, target: str) -> bool:
    arrival = front.through.arrival if front.through is not None else None
    if front.through is None or arrival is None or arrival.target == target:
        return False
    return front.is_good and is_taken_by_gateway(front.through)
