"""What `hopscope doctor --json` prints (pure)."""

from collections.abc import Sequence
from typing import Any

from doctor.diagnosis.heads import compare, differences
from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Probe, as_json
from doctor.rules import Finding, Skipped


def as_contract(diagnosis: Diagnosis, probes: Sequence[Probe], elapsed_s: float) -> dict[str, Any]:
    """The object of the contract; `consequences` are findings that only follow from the break."""
    by_name = {probe.hop.name: probe for probe in probes}
    return {
        "verdict": diagnosis.verdict,
        "hop": diagnosis.hop,
        "between": None if diagnosis.between is None else list(diagnosis.between),
        "phase": diagnosis.phase,
        "rule": diagnosis.rule,
        "sentence": diagnosis.sentence,
        "findings": [_finding(each, by_name) for each in diagnosis.findings],
        "consequences": [_finding(each, by_name) for each in diagnosis.consequences],
        "configuration": [{"hop": e.hop} | as_json(e.found) for e in diagnosis.configuration],
        "skipped": [_skipped(each) for each in diagnosis.skipped],
        "probes": [as_json(probe) for probe in probes],
        "elapsed_s": elapsed_s,
    }


def _finding(finding: Finding, by_name: dict[str, Probe]) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "slug": finding.slug,
        "level": finding.level,
        "hop": finding.hop,
        "saw": finding.saw,
        "fix": finding.fix,
        "evidence": _evidence(by_name.get(finding.hop)),
    }


def _evidence(probe: Probe | None) -> dict[str, Any]:
    """Both sides of the hop's upgrade: what differs in the request, and what was answered."""
    if probe is None or probe.upgrade is None:
        return {}
    upgrade = probe.upgrade
    told: dict[str, Any] = {"sent": f"{upgrade.method} {upgrade.target}"}
    if upgrade.arrival is not None:
        arrival = upgrade.arrival
        told["arrived"] = f"{arrival.method} {arrival.target} HTTP/{arrival.version}"
        told["differences"] = [
            {"sent": line.left, "arrived": line.right, "change": line.change}
            for line in differences(compare(upgrade.fields, arrival.fields))
        ]
    if upgrade.answer is not None:
        told["answered"] = f"{upgrade.answer.status} {upgrade.answer.reason}".rstrip()
    elif upgrade.fault:
        told["answered"] = upgrade.fault
    return told


def _skipped(skipped: Skipped) -> dict[str, str]:
    return {"rule": skipped.rule, "hop": skipped.hop, "because": skipped.because}
