"""All cases that were asked for, examined side by side; the table at the end of the session."""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from ingress.faults.fault_cases import Case
from ingress.faults.fault_lab import Crew, Examined, Outcome
from ingress.faults.fault_table import summary

_outcomes = pytest.StashKey[list[Outcome]]()
_started_anew = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def examinations(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Examined]]]:
    """By the name of the case, of every case that this session has a test of."""
    callspecs = (getattr(item, "callspec", None) for item in request.session.items)
    given = (spec.params.get("case") for spec in callspecs if spec is not None)
    cases = {case.name: case for case in given if isinstance(case, Case)}
    with Crew(tmp_path_factory.mktemp("crew")) as crew:
        request.config.stash[_started_anew] = crew.started_anew
        yield {name: crew.submit(case) for name, case in cases.items()}


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    """What the doctor said, for the table."""
    return request.config.stash.setdefault(_outcomes, [])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    seen = config.stash.get(_outcomes, [])
    if not seen:
        return
    terminalreporter.section("the fault laboratory")
    for line in summary(seen):
        terminalreporter.line(line)
    for said in config.stash.get(_started_anew, []):
        terminalreporter.line(f"started anew: {said}")
    for outcome in seen:
        if outcome.complaints:
            name = outcome.case.name
            terminalreporter.line(f"{outcome.verdict}: {name}: {'; '.join(outcome.complaints)}")
