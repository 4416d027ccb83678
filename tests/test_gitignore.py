"""What a working copy gathers that is nobody's work: the built tools, environments, caches."""

import shutil
import subprocess
from pathlib import Path

import pytest

from programs import ROOT


def _untracked(folder: Path) -> set[str]:
    command = ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return {line.removeprefix("?? ") for line in shown.splitlines()}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("name", [".tools", ".venv"])
def test_what_is_built_is_not_shown_as_new_whether_a_folder_or_a_link_to_one(
    name: str, tmp_path: Path
) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, timeout=30)
    elsewhere = tmp_path / ".git" / "built"
    elsewhere.mkdir()
    (elsewhere / "tool").touch()
    (tmp_path / name).symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "work.py").touch()
    assert _untracked(tmp_path) == {".gitignore", "work.py"}
    (tmp_path / name).unlink()
    shutil.copytree(elsewhere, tmp_path / name)
    assert _untracked(tmp_path) == {".gitignore", "work.py"}
