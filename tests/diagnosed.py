"""Chains of hops diagnosed, for tests: some hops that are bad, and what is told of a chain."""

from doctor.diagnosis.verdict import Diagnosis, diagnose, sights_of
from doctor.evidence import Probe
from sights import arrival, probe, unreached, upgrade, without

STRIPPED = upgrade(426, came=arrival(without("Upgrade", "Connection"), version="1.0", status=426))
NGINX = probe("nginx")
EDGE = probe("cloudflared", name="edge")
DOWN = unreached("sidecar", "connect", "refused")
# An nginx in front of it: nothing arrives.
DOWNED = probe("nginx", upgrade(502, "nginx"), plain=None, webhook=None)


def told(*probes: Probe) -> Diagnosis:
    return diagnose(sights_of(probes))


def rules(found: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.rule, finding.hop) for finding in found.findings]


def folded(found: Diagnosis) -> set[tuple[str, str]]:
    return {(finding.rule, finding.hop) for finding in found.consequences}
