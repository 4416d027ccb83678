"""`hopscope lab`: what it says on a machine that lacks what a case needs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hopscope
import programs
from doctor.commands import lab as lab_command
from ingress.faults import fault_lab
from ingress.faults.fault_chains import StartError
from ingress.tunnels import tools

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["hopscope", "lab", *arguments])
        with pytest.raises(SystemExit) as ended:
            hopscope.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No tunnel was built, and no program is installed; that of a CI system fails such tests."""
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    monkeypatch.delenv("HOPSCOPE_TOOLS_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("ci", ["", "true"])
@pytest.mark.parametrize(
    ("case", "program"),
    [("cloudflared/a08-no-ingress", "cloudflared"), ("tailscale/r13-asymmetric", "tailscaled")],
)
def test_a_case_whose_tunnel_was_not_built_says_which_and_how_it_is_built(
    run: Run, monkeypatch: pytest.MonkeyPatch, case: str, program: str, ci: str
) -> None:
    programs.require("openssl")
    monkeypatch.setenv("CI", ci)
    hint = "`make tools` does it, with Go 1.26 or later"
    said = f"hopscope: {case} cannot be run here: {program} is not built: {hint}\n"
    assert run("run", case) == (2, "", said)


def test_a_case_whose_program_is_not_installed_says_which(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "SEARCH_PATH", str(tmp_path))
    code, out, err = run("run", "nginx/h01-no-upgrade-headers")
    assert (code, out) == (2, "")
    assert "h01-no-upgrade-headers cannot be run here: openssl is not installed" in err


def test_a_program_that_does_not_serve_in_time_is_told_in_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise StartError("nginx does not serve")

    monkeypatch.setattr(fault_lab, "run", late)
    assert run("run", "nginx/h01-no-upgrade-headers") == (
        2,
        "",
        "hopscope: nginx/h01-no-upgrade-headers cannot be run here: nginx does not serve\n",
    )


def test_without_the_repository_it_says_where_the_laboratory_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab_command, "TESTS", tmp_path)
    code, out, err = run("list")
    assert (code, out) == (64, "")
    assert "the laboratory is in the repository" in err


def test_without_the_packages_of_the_tests_it_says_how_they_come(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'pytest'", name="pytest")

    monkeypatch.setattr(lab_command, "import_module", missing)
    code, out, err = run("list")
    assert (code, out) == (64, "")
    assert "No module named 'pytest'" in err
    assert "make run" in err


def test_a_name_that_no_case_has_is_answered_with_the_nearest(run: Run) -> None:
    code, out, err = run("run", "nginx/h01-no-upgrade-header")
    assert (code, out) == (64, "")
    assert "Did you mean nginx/h01-no-upgrade-headers?" in err


def test_the_list_is_there_as_json(run: Run) -> None:
    code, out, _ = run("list", "--json")
    assert (code, len(json.loads(out))) == (0, len(fault_lab.list_cases()))
