"""Which ingresses calls work through, one by one and all together (pure)."""

from collections.abc import Sequence
from dataclasses import replace

from doctor.comparing.entries import DIRECT
from doctor.comparing.passage import Passage
from doctor.diagnosis.verdict import EXIT_CODES, Diagnosis, Verdict, diagnose, sights_of
from doctor.evidence import Probe

SIDECAR = "sidecar"


def diagnosis_of(chain: Sequence[Probe], stream_path: str, webhook_path: str) -> Diagnosis:
    """What the doctor says of one ingress, behind it the sidecar, which is a hop and no way."""
    is_taken = any(probe.hop.name == SIDECAR for probe in chain)
    named = [
        replace(probe, hop=replace(probe.hop, name=SIDECAR))
        if probe.hop.name == DIRECT and not is_taken
        else probe
        for probe in chain
    ]
    return diagnose(sights_of(named, stream_path=stream_path, webhook_path=webhook_path))


def verdict_of(passage: Passage) -> Verdict:
    """The doctor's verdict, and calls that failed over a hop that looked healthy."""
    said = passage.diagnosis.verdict
    if said != "healthy":
        return said
    faults = [call.fault for call in passage.calls if call.fault]
    # A busy machine holds one call up; an ingress that does so does it again.
    held = sum(fault == "held" for fault in faults)
    is_broken = len(faults) > held or held * 2 > len(passage.calls)
    return "broken" if is_broken else said


def verdict_of_all(passages: Sequence[Passage]) -> Verdict:
    """Broken where one is, else "cannot tell" where one cannot be told."""
    said = {verdict_of(each) for each in passages}
    if "broken" in said:
        return "broken"
    return "healthy" if said == {"healthy"} else "cannot_tell"


def exit_code(passages: Sequence[Passage]) -> int:
    return EXIT_CODES[verdict_of_all(passages)]
