"""Each case is the fault that it says it is, and the doctor names the hop, the phase, the rule."""

from collections.abc import Iterator

import pytest

from ingress.faults.fault_cases import Case, all_cases
from ingress.faults.fault_chains import Chain, Laboratory
from ingress.faults.fault_lab import Outcome, look

CASES = all_cases()


@pytest.fixture(scope="module", params=CASES, ids=[case.name for case in CASES])
def chain(request: pytest.FixtureRequest, laboratory: Laboratory) -> Iterator[Chain]:
    case: Case = request.param
    with laboratory.running(case) as running:
        yield running


def test_a_caller_gets_and_the_gateway_sees_what_the_case_says(
    chain: Chain, laboratory: Laboratory
) -> None:
    seen = laboratory.look(chain)
    assert (seen.client, seen.lacks(chain.case.backend)) == (chain.case.client, [])


def test_the_doctor_says_what_is_so_and_no_more(chain: Chain, outcomes: list[Outcome]) -> None:
    outcome = look(chain)
    outcomes.append(outcome)
    assert outcome.complaints == [], outcome.diagnosis.sentence
