"""Each case is the fault that it says it is, and the doctor names the hop, the phase, the rule."""

from concurrent.futures import Future

import pytest

from ingress.faults.fault_cases import Case, all_cases
from ingress.faults.fault_lab import Examined, Outcome

Examinations = dict[str, Future[Examined]]
CASES = all_cases()


def _name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_a_caller_gets_and_the_gateway_sees_what_the_case_says(
    case: Case, examinations: Examinations
) -> None:
    seen = examinations[case.name].result().seen
    assert (seen.client, seen.lacks(case.backend)) == (case.client, [])


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_the_doctor_says_what_is_so_and_no_more(
    case: Case,
    examinations: Examinations,
    outcomes: list[Outcome],
    request: pytest.FixtureRequest,
) -> None:
    if case.open:
        request.applymarker(pytest.mark.xfail(reason=case.open, strict=True))
    outcome = examinations[case.name].result().outcome
    outcomes.append(outcome)
    assert outcome.complaints == [], outcome.diagnosis.sentence
