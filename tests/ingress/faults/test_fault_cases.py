"""Each case is the fault that it says it is, and the doctor names the hop, the phase, the rule."""

import pytest

from ingress.faults.fault_cases import Case, all_cases
from ingress.faults.fault_lab import Examined, Outcome

CASES = all_cases()


def _name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_a_caller_gets_and_the_gateway_sees_what_the_case_says(
    case: Case, examined: Examined
) -> None:
    seen = examined.seen
    assert (seen.client, seen.lacks(case.backend)) == (case.client, [])


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_the_doctor_says_what_is_so_and_no_more(
    case: Case, examined: Examined, outcomes: dict[str, Outcome], request: pytest.FixtureRequest
) -> None:
    if case.open:
        request.applymarker(pytest.mark.xfail(reason=case.open, strict=True))
    outcomes[case.name] = examined.outcome
    assert examined.outcome.complaints == [], examined.outcome.diagnosis.sentence
