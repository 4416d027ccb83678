"""All cases that were asked for, examined side by side; the table at the end of the session."""

from collections.abc import Iterable, Iterator

import pytest

from ingress.faults.fault_cases import Case
from ingress.faults.fault_lab import Crew, Examined, Outcome
from ingress.faults.fault_table import summary

_outcomes = pytest.StashKey[dict[str, Outcome]]()
_started_anew = pytest.StashKey[list[str]]()


class Examinations:
    """The examinations of the cases that this session has a test of: all begin at once."""

    def __init__(self, crew: Crew, cases: Iterable[Case]) -> None:
        self._crew = crew
        self._futures = {case.name: crew.submit(case) for case in cases}

    def result(self, case: Case, is_anew: bool) -> Examined:
        """Wait for the one of this case; for a new one where `is_anew`."""
        if is_anew:
            self._futures[case.name] = self._crew.submit(case)
        return self._futures[case.name].result()


@pytest.fixture(scope="session")
def examinations(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Examinations]:
    callspecs = (getattr(item, "callspec", None) for item in request.session.items)
    given = (spec.params.get("case") for spec in callspecs if spec is not None)
    cases = {case.name: case for case in given if isinstance(case, Case)}
    with Crew(tmp_path_factory.mktemp("crew")) as crew:
        request.config.stash[_started_anew] = crew.started_anew
        yield Examinations(crew, cases.values())


@pytest.fixture
def examined(case: Case, examinations: Examinations, request: pytest.FixtureRequest) -> Examined:
    """A test that is run again (pytest-rerunfailures) is not shown the old examination."""
    return examinations.result(case, getattr(request.node, "execution_count", 1) > 1)


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """What the doctor said of each case, by its name, for the table."""
    return request.config.stash.setdefault(_outcomes, {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    seen = list(config.stash.get(_outcomes, {}).values())
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
