"""From evidence to a verdict: which hop, which phase, which rule, in one sentence. Pure.

    good        gateway -- sidecar -- nginx          a hop is guilty that is bad in front and
    bad                                  tunnel      good behind: the tunnel

A hop that could not be probed is a hole; what lies around it is named in its place (`between`).
What only repeats a break further inside is a consequence and folded under it. Warnings never
break a verdict. Where the evidence contradicts itself, or nothing behind was seen, the verdict
is "cannot tell", and the sentence says what would settle it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from doctor.diagnosis.places import ORDER, PHASES_OF, REACHING, Place, excuse, forgive, look
from doctor.evidence import Linted, PhaseName, Probe, Sight
from doctor.rules import RULES, Finding, Skipped
from doctor.rules.makers import may_be_of
from doctor.rules.sentences import explain_break
from doctor.rules.ways import is_proven_through, is_taken_by_gateway, upgrade_answer

Verdict = Literal["healthy", "broken", "cannot_tell"]
EXIT_CODES: dict[Verdict, int] = {"healthy": 0, "broken": 1, "cannot_tell": 2}

# What may be only the echo of a break further inside, seen through this hop.
_FAMILIES_THAT_FOLLOW = ("UP", "AN", "FR", "CL")
_RULES_THAT_FOLLOW = frozenset({"HS05", "HS07", "HS16", "HS17", "HS20", "RO03"})
# What was not tried, in words. The last two are only tried where they were asked for.
_UNTRIED: dict[PhaseName, str] = {
    "echo": "whether messages pass",
    "idle": "a silent stream",
    "media": "media",
}
_ASKED_FOR: tuple[PhaseName, ...] = ("idle", "media")


@dataclass(frozen=True, slots=True)
class Written:
    """What a linter found in the configuration of a hop: no fact about calls, a place to mend."""

    hop: str
    found: Linted


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`rule` is the first finding at the break, None where no rule knows the cause.

    `findings` are of the guilty hop and of hops that have a fault of their own, warnings behind
    errors; `consequences` only repeat the break; `configuration` is what linters found. `between`
    is (behind, front) where a hole hides the guilty hop.
    """

    verdict: Verdict
    sentence: str
    hop: str | None = None
    between: tuple[str, str] | None = None
    phase: PhaseName | None = None
    rule: str | None = None
    findings: tuple[Finding, ...] = ()
    consequences: tuple[Finding, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    configuration: tuple[Written, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


def sights_of(
    probes: Sequence[Probe],
    *,
    linted: dict[str, tuple[Linted, ...]] | None = None,
    stream_path: str = "/voice/stream",
    webhook_path: str = "/voice/webhook",
    extra: dict[str, Any] | None = None,
) -> tuple[Sight, ...]:
    """Each probe with the hop behind it, inside first. `linted` is by the name of a hop."""
    kinds = [probe.hop.kind for probe in probes]
    first = kinds.index("sidecar") if "sidecar" in kinds else None
    return tuple(
        Sight(
            probe,
            probes[index - 1] if index else None,
            (linted or {}).get(probe.hop.name, ()),
            stream_path,
            webhook_path,
            _has_sidecar(index, first, probe),
            extra or {},
        )
        for index, probe in enumerate(probes)
    )


def _has_sidecar(index: int, first: int | None, probe: Probe) -> bool:
    return probe.hop.kind != "gateway" and (first is None or index >= first)


def diagnose(sights: Sequence[Sight]) -> Diagnosis:
    """The verdict about a chain, inside first. Never raises for what a hop did."""
    skipped: list[Skipped] = []
    places = [look(sight, skipped) for sight in sights]
    excuse(places)
    forgive(places)
    found = _locate(places)
    return replace(found, skipped=tuple(skipped), configuration=_written(sights, found.hop))


def _written(sights: Sequence[Sight], guilty: str | None) -> tuple[Written, ...]:
    """The guilty hop's first, errors before warnings."""
    written = [Written(sight.probe.hop.name, each) for sight in sights for each in sight.linted]
    written.sort(key=lambda each: (each.hop != guilty, each.found.level != "error"))
    return tuple(written)


def _locate(places: list[Place]) -> Diagnosis:
    bad = [index for index, place in enumerate(places) if place.state == "bad"]
    if not bad:
        return _healthy(places)
    index = bad[0]
    place = places[index]
    if contradiction := _contradiction(places, index):
        return _told(places, index, "cannot_tell", contradiction, hop=None)
    behind = next((i for i in range(index - 1, -1, -1) if places[i].state != "hole"), None)
    if behind is not None:
        if behind == index - 1 or _is_certain(place):
            return _told(places, index, "broken", _sentence(places, index), hop=place.name)
        return _in_a_hole(places, index, behind)
    return _innermost(places, index)


def _healthy(places: list[Place]) -> Diagnosis:
    warnings = tuple(_all(place.warnings for place in places))
    unseen = [
        place.name
        for index, place in enumerate(places)
        if place.state == "hole"
        and not any(is_proven_through(other.probe, place.probe) for other in places[index + 1 :])
    ]
    gateways = [place for place in places if place.probe.hop.kind == "gateway"]
    if not _is_answered(places):
        unseen += [place.name for place in gateways if place.state == "hole"]
    if not places or unseen:
        names = ", ".join(dict.fromkeys(unseen))
        said = f"{names} could not be probed" if names else "there is no hop to probe"
        rest = ", and nothing else is wrong" if places and len(unseen) < len(places) else ""
        sentence = f"Cannot tell: {said}{rest}."
        return Diagnosis("cannot_tell", sentence, findings=warnings)
    if blind := _unseen(places, _ASKED_FOR):
        sentence = f"Cannot tell: asked for and not seen: {blind}. Nothing else is wrong."
        return Diagnosis("cannot_tell", sentence, findings=warnings)
    noted = f"; {len(warnings)} to look at" if warnings else ""
    alone = "" if gateways or _is_answered(places) else "; the gateway itself was not asked"
    blind = _unseen(places, tuple(_UNTRIED))
    unseen_too = f"; not seen: {blind}" if blind else ""
    sentence = f"Healthy: {_good(places)}{alone}{noted}{unseen_too}."
    return Diagnosis("healthy", sentence, findings=warnings)


def _good(places: list[Place]) -> str:
    names = ", ".join(place.name for place in places)
    if len(places) == 1:
        return f"{names} is good"
    return f"{'both' if len(places) == 2 else f'all {len(places)}'} hops are good ({names})"


def _unseen(places: list[Place], phases: tuple[PhaseName, ...]) -> str:
    """What was due and not tried, where no hop further out shows it. "" where there is nothing."""
    why: dict[tuple[PhaseName, str], list[str]] = {}
    for index, place in enumerate(places):
        for untried in place.probe.untried:
            shown = (other.probe.phase(untried.phase) for other in places[index + 1 :])
            if untried.phase in phases and not any(each and not each.fault for each in shown):
                why.setdefault((untried.phase, untried.because), []).append(place.name)
    return "; ".join(
        f"{_UNTRIED[phase]} at {', '.join(names)} ({because})"
        for (phase, because), names in why.items()
    )


def _is_answered(places: list[Place]) -> bool:
    """Whether the gateway took an upgrade that was sent to a hop in front of it."""
    fronts = [place.probe for place in places if place.probe.hop.kind != "gateway"]
    return any(
        probe.is_good and is_taken_by_gateway(exchange)
        for probe in fronts
        for exchange in (probe.through, probe.upgrade)
        if exchange is not None
    )


def _contradiction(places: list[Place], index: int) -> str | None:
    """Why the innermost bad hop cannot be what breaks calls, if so."""
    place = places[index]
    through = place.probe.through
    if place.probe.hop.kind == "gateway" or (through is not None and through.fault):
        return None  # the echo that the hops in front got does not pass the gateway
    if place.errors and _is_independent(place.errors[0]):
        return None
    answer = upgrade_answer(place.probe)
    stamp = answer.stamp if answer is not None else None
    sidecars = [other for other in places[:index] if other.probe.hop.kind == "sidecar"]
    is_of_the_sidecar = stamp is not None and stamp.error not in ("", "http_request_error")
    if stamp is not None and is_of_the_sidecar and _any_good(sidecars):
        return (
            f"Cannot tell: through {place.name} the sidecar said {stamp.error} "
            f"({stamp.details}), and asked directly it does not: something comes and goes, or "
            f"{place.name} goes through another sidecar. Run the doctor again."
        )
    front = next((other for other in places[index + 1 :] if _is_passed(other, place)), None)
    if front is None:
        return None
    broken = place.probe.broken
    what = f" ({broken.detail})" if broken is not None and broken.detail else ""
    return (
        f"Cannot tell: {place.name} failed{what}, and {front.name} in front of it, which goes "
        f"through it, is good: something comes and goes, or {front.name} goes another way. "
        "Run the doctor again, or correct hops.toml."
    )


def _any_good(places: list[Place]) -> bool:
    return any(place.state == "good" for place in places)


def _is_passed(front: Place, place: Place) -> bool:
    """Whether a good hop's upgrade demonstrably passed the sidecar that `place` leads to."""
    if front.state != "good" or front.probe.upgrade is None or not place.sight.has_sidecar:
        return False
    return bool(front.probe.upgrade.arrivals) and bool(front.probe.echoes)


def _is_certain(place: Place) -> bool:
    """Whether the break is this hop's whatever is behind it: between it and the doctor alone."""
    broken = place.probe.broken
    if broken is not None and broken.name in REACHING:
        return True
    answer = upgrade_answer(place.probe)
    return answer is not None and may_be_of(answer, place.probe.hop.kind)


def _in_a_hole(places: list[Place], index: int, behind: int) -> Diagnosis:
    """The break lies between a good hop and a bad one that are no neighbours."""
    place, answer = places[index], upgrade_answer(places[index].probe)
    if answer is not None:
        makers = [
            other for other in places[behind + 1 : index] if may_be_of(answer, other.probe.hop.kind)
        ]
        if len(makers) == 1:
            name = makers[0].name
            sentence = (
                f"{name} is to blame, though it could not be probed: the {answer.status} that "
                f"came through {place.name} is in its words."
            )
            return _told(places, index, "broken", sentence, hop=name)
    hidden = ", ".join(other.name for other in places[behind + 1 : index])
    sentence = (
        f"The break is between {places[behind].name}, which is good, and {place.name}, which is "
        f"not; {hidden} in between could not be probed. {_sentence(places, index)}"
    )
    between = (places[behind].name, place.name)
    return _told(places, index, "broken", sentence, hop=None, between=between)


def _innermost(places: list[Place], index: int) -> Diagnosis:
    """The innermost hop that was probed is bad: it is the end of the chain, or we cannot see."""
    place = places[index]
    kind = place.probe.hop.kind
    if (kind == "gateway" and index == 0) or _is_certain(place):
        return _told(places, index, "broken", _sentence(places, index), hop=place.name)
    answer = upgrade_answer(place.probe)
    exchange = place.probe.through or place.probe.upgrade
    told = exchange.answer if exchange is not None else answer
    stamp = told.stamp if told is not None else None
    if stamp is not None and stamp.received_status is not None and not _is_own(place):
        sentence = (
            f"The gateway behind {place.name}, which was not probed itself, answered "
            f"{stamp.received_status}: the sidecar's stamp says so. {_sentence(places, index)}"
        )
        return _told(places, index, "broken", sentence, hop=None)
    if kind == "sidecar" or (stamp is not None and stamp.error) or _is_own(place):
        return _told(places, index, "broken", _sentence(places, index), hop=place.name)
    settle = "nothing behind it was probed: give --hops, or --admin of the sidecar"
    if index:
        settle = f"nothing behind it could be probed ({', '.join(p.name for p in places[:index])})"
    sentence = f"Cannot tell whose fault it is: {_sentence(places, index)} {settle.capitalize()}."
    return _told(places, index, "cannot_tell", sentence, hop=None)


def _is_own(place: Place) -> bool:
    """Whether a finding shows what this hop itself did, with evidence from both of its sides."""
    return bool(place.errors) and _is_independent(place.errors[0])


def _is_independent(finding: Finding) -> bool:
    """Whether a finding has evidence of its own, whatever happened further inside."""
    family = finding.rule[:2]
    return family not in _FAMILIES_THAT_FOLLOW and finding.rule not in _RULES_THAT_FOLLOW


def _follows(finding: Finding, place: Place, guilty: Place) -> bool:
    """Whether a finding further out may only be the echo of the break."""
    upgrade = place.probe.upgrade
    is_past_the_gateway = upgrade is not None and upgrade.arrivals is not None
    if guilty.probe.hop.kind == "gateway" and is_past_the_gateway:
        # The sidecar answered these probes itself: what the gateway does is not to be seen.
        return finding.rule.startswith("AN") or finding.rule == "UP07"
    return not _is_independent(finding)


def _told(
    places: list[Place],
    index: int,
    verdict: Verdict,
    sentence: str,
    *,
    hop: str | None,
    between: tuple[str, str] | None = None,
) -> Diagnosis:
    """The verdict with its findings: the break's first, then other faults, then warnings."""
    place = places[index]
    kept, folded = list(place.errors), list(place.folded)
    for other in places[index + 1 :]:
        for finding in other.errors:
            (folded if _follows(finding, other, place) else kept).append(finding)
        folded += other.folded
    warnings = _all(other.warnings for other in places)
    rule = place.errors[0].rule if place.errors else None
    return Diagnosis(
        verdict,
        sentence,
        hop,
        between,
        place.phase,
        rule,
        (*kept, *warnings),
        tuple(folded),
    )


def _sentence(places: list[Place], index: int) -> str:
    place = places[index]
    if place.errors:
        saw = place.errors[0].saw
        return f"{saw[:1].upper()}{saw[1:]}." if _starts_plain(place, saw) else f"{saw}."
    behind = places[index - 1].name if index and places[index - 1].state == "good" else None
    return explain_break(place.probe, behind)


def _starts_plain(place: Place, saw: str) -> bool:
    """A hop's name keeps its spelling at the start of a sentence."""
    return not saw.startswith(place.name)


def _all(groups: Iterable[list[Finding]]) -> list[Finding]:
    return [finding for group in groups for finding in group]


def known_phases() -> set[str]:
    """The families that have a phase and a place in the order: a test compares them with RULES."""
    return {rule[:2] for rule in RULES} & set(PHASES_OF) & set(ORDER)
