"""Each case of the laboratory is the fault that it says it is: callers and gateways see it."""

from collections.abc import Iterator

import pytest

from ingress.faults.fault_cases import Case, all_cases
from ingress.faults.fault_chains import Chain, Laboratory

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
