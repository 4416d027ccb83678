"""Which ingresses calls work through, one by one and all together (pure)."""

from collections.abc import Sequence

from doctor.comparing.passage import Passage
from doctor.diagnosis.verdict import EXIT_CODES, Verdict


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
