"""One laboratory for all cases; its table is printed when the session ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingress.faults.fault_chains import Laboratory


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder: Path = tmp_path_factory.mktemp("laboratory")
    with Laboratory(folder) as opened:
        yield opened
