"""Where a tunnel's program is looked for, and what is said where it is not."""

import os
import subprocess
from pathlib import Path

import pytest

from ingress.tunnels import tools
from ingress.tunnels.tailscale.program import commands

NAME = "made-up-tunnel"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    monkeypatch.delenv("HOPSCOPE_TOOLS_BIN", raising=False)
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def program(folder: Path) -> Path:
    folder.mkdir()
    path = folder / NAME
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_that_was_built_is_found_and_another_folder_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, other = program(folder / "bin"), program(folder / "other")
    assert tools.tool(NAME) == built
    monkeypatch.setenv("HOPSCOPE_TOOLS_BIN", str(other.parent))
    assert tools.tool(NAME) == other


def test_a_missing_program_skips_the_test_and_fails_it_in_ci(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pytest.skip.Exception, match="make tools"):
        tools.tool(NAME)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make tools"):
        tools.tool(NAME)


def test_what_the_module_proxy_refused_is_skipped_in_ci_too_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    (folder / f"{NAME}.refused").write_text("403 Forbidden: not available\n")
    with pytest.raises(pytest.skip.Exception, match="403 Forbidden: not available"):
        tools.tool(NAME)


def build(folder: Path, go: str) -> int:
    """Run `build` for cloudflared with this for a Go."""
    (folder / "go").write_text(f"#!/bin/sh\n{go}\n")
    (folder / "go").chmod(0o755)
    script = Path(__file__).parent / "build"
    command = [str(script), str(folder / "go"), str(folder), "cloudflared"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode


def test_a_module_that_the_proxy_does_not_give_away_is_noted_and_no_failure(tmp_path: Path) -> None:
    said = "cloudflared@v0.0.0: reading https://proxy.example: 403 Forbidden"
    assert build(tmp_path, f"echo 'go: {said}' >&2; exit 1") == 0
    assert (tmp_path / "cloudflared.refused").read_text() == f"go: {said}\n"
    assert build(tmp_path, "exit 0") == 0
    assert not (tmp_path / "cloudflared.refused").exists()


def test_any_other_failure_to_build_is_one(tmp_path: Path) -> None:
    assert build(tmp_path, "echo 'no space left on device' >&2; exit 1") != 0
    assert not (tmp_path / "cloudflared.refused").exists()


def install(folder: Path, npm: str) -> int:
    """Run `openclaw/install` with this for an npm."""
    (folder / "npm").write_text(f"#!/bin/sh\n{npm}\n")
    (folder / "npm").chmod(0o755)
    script = Path(__file__).parent / "openclaw" / "install"
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    command = [str(script), str(folder)]
    return subprocess.run(command, capture_output=True, timeout=30, env={"PATH": path}).returncode


def test_what_the_registry_does_not_give_away_is_noted_and_no_failure(tmp_path: Path) -> None:
    assert install(tmp_path, "echo 'npm error code E403'; exit 1") == 0
    assert (tmp_path / "openclaw.refused").read_text() == "npm error code E403\n"
    assert install(tmp_path, "exit 0") == 0
    assert not (tmp_path / "openclaw.refused").exists()
    assert (tmp_path / "bin" / "openclaw").stat().st_mode & 0o111


def test_any_other_failure_to_install_is_one(tmp_path: Path) -> None:
    assert install(tmp_path, "echo 'npm error code ENOSPC'; exit 1") != 0
    assert not (tmp_path / "openclaw.refused").exists()


def test_a_case_may_run_the_tailscale_command_and_nothing_else() -> None:
    text = "# why\ntailscale funnel --bg 'a b'   # so\n\ntailscale serve reset\n"
    assert commands(text) == [["funnel", "--bg", "a b"], ["serve", "reset"]]
    with pytest.raises(SystemExit, match="rm"):
        commands("rm -rf x")
