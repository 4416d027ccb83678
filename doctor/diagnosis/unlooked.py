"""What a report leaves open, in a line or two for people. Pure.

Each rule that was kept from looking, hop by hop, is in the JSON and in the HTML; most of them are
so by nature: a gateway is behind the sidecar that would echo, a plain hop has no TLS.
"""

from collections.abc import Iterator, Sequence

from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Probe
from doctor.rules import EVIDENCE

RULES_LIMIT = 8
# What an option would have looked at, by why the rules say that they did not.
_BY_OPTION = {
    EVIDENCE["arrival"][1]: "what arrives at the sidecar (--admin URL)",
    EVIDENCE["silence"][1]: "silence (--idle SECONDS)",
    EVIDENCE["soak"][1]: "media (--soak SECONDS)",
    EVIDENCE["call"][1]: "a call (hopscope call WEBHOOK_URL)",
}
# These take the sidecar, and the gateway is behind it.
_BEYOND_A_GATEWAY = ("arrival", "silence", "soak")


def unlooked(diagnosis: Diagnosis, probes: Sequence[Probe]) -> Iterator[str]:
    """What an option would have looked at; of a break, why nothing is said of what arrived."""
    yield from _by_option(diagnosis, probes)
    yield from _at_the_break(diagnosis, probes)


def _by_option(diagnosis: Diagnosis, probes: Sequence[Probe]) -> Iterator[str]:
    """Of the outermost hop that was probed: what passes it has passed those behind it."""
    outermost = next((probe for probe in reversed(probes) if probe.phases), None)
    if outermost is None or not outermost.is_good:
        return
    reasons = set(_reasons(diagnosis, outermost.hop.name))
    if outermost.hop.kind == "gateway":
        reasons -= {EVIDENCE[name][1] for name in _BEYOND_A_GATEWAY}
    if outermost.upgrade is not None and outermost.upgrade.arrivals is not None:
        reasons -= {EVIDENCE["arrival"][1]}  # nothing came, and --admin told so
    told = [what for because, what in _BY_OPTION.items() if because in reasons]
    if told:
        yield f"not looked at: {', '.join(told)}"


def _at_the_break(diagnosis: Diagnosis, probes: Sequence[Probe]) -> Iterator[str]:
    """Why what was sent is not laid beside what arrived, where something was sent."""
    if diagnosis.verdict == "healthy":
        return
    named = diagnosis.hop or (diagnosis.between[1] if diagnosis.between else None)
    for probe in probes:
        is_meant = probe.hop.name == named if named else probe.broken is not None
        if not is_meant or probe.upgrade is None or probe.hop.kind == "gateway":
            continue
        rules = _reasons(diagnosis, probe.hop.name).get(EVIDENCE["arrival"][1], [])
        if rules:
            more = f" and {len(rules) - RULES_LIMIT} more" if len(rules) > RULES_LIMIT else ""
            is_known = probe.upgrade.arrivals is not None
            why = "nothing of the upgrade arrived at the sidecar"
            why = why if is_known else "what arrived at the sidecar is not known (--admin URL)"
            yield f"not judged at {probe.hop.name}: {', '.join(rules[:RULES_LIMIT])}{more}; {why}"


def _reasons(diagnosis: Diagnosis, hop: str) -> dict[str, list[str]]:
    """The rules that did not look at a hop, by why."""
    reasons: dict[str, list[str]] = {}
    for each in diagnosis.skipped:
        if each.hop == hop:
            reasons.setdefault(each.because, []).append(each.rule)
    return reasons
