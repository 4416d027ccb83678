"""Tunnel programs for the tests: pinned Go modules beside the tests, built by `make tools`."""

import os
import shutil
from pathlib import Path

import pytest

from programs import ROOT

TOOLS = ROOT / ".tools"


def tool(name: str) -> Path:
    """The path of a program; without it the test is skipped, and in CI it fails.

    Where the module proxy refused a module, `make tools` left a file that says so: that is no
    defect of this machine, and the test is skipped in CI, too.
    """
    refused = TOOLS / f"{name}.refused"
    places = (os.environ.get("HOPSCOPE_TOOLS_BIN"), str(TOOLS / "bin"), os.environ.get("PATH"))
    path = shutil.which(name, path=os.pathsep.join(place for place in places if place))
    if path is not None:
        return Path(path)
    if refused.is_file():
        pytest.skip(f"{name} is not built: {refused.read_text().strip()}")
    message = f"{name} is not built: `make tools` does it, with Go 1.26 or later"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
