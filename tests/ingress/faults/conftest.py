"""One laboratory for all cases; its table is printed when the session ends."""

from collections.abc import Iterator

import pytest

from ingress.faults.fault_chains import Laboratory
from ingress.faults.fault_lab import Outcome
from ingress.faults.fault_table import summary

_outcomes = pytest.StashKey[list[Outcome]]()


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with Laboratory(tmp_path_factory.mktemp("laboratory")) as opened:
        yield opened


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
    for outcome in seen:
        if outcome.complaints:
            name = outcome.case.name
            terminalreporter.line(f"{outcome.verdict}: {name}: {'; '.join(outcome.complaints)}")
