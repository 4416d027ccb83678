"""What was seen of one ingress, to be laid beside others (a pure record).

Its probe says what is broken; the rest is what it does to what passes it, broken or not.
"""

from dataclasses import dataclass

from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Probe
from doctor.probing.passed import CallSeen, Manners, TargetSeen


@dataclass(frozen=True, slots=True)
class Passage:
    """Everything about one ingress. `is_direct`: it is the sidecar itself, to compare with."""

    name: str
    probe: Probe
    diagnosis: Diagnosis
    targets: tuple[TargetSeen, ...] = ()
    manners: Manners | None = None
    calls: tuple[CallSeen, ...] = ()
    is_direct: bool = False
