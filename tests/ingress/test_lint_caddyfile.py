"""Caddyfiles, read by the real Caddy: it takes them, each rule fires and stays quiet."""

import os
import subprocess
from pathlib import Path

import pytest

from calls.certificates import OURS
from doctor.linting import caddy, caddy_adapt
from doctor.linting.findings import Paths
from lint_cases import Case, cases_of, check_every_rule_has_a_case, check_fires, check_quiet
from programs import require

CASES = cases_of("caddy")


@pytest.fixture(autouse=True)
def _caddy() -> None:
    require("caddy")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_caddy_takes_the_files_in_which_a_rule_fires_or_is_quiet(
    case: Case, tmp_path: Path
) -> None:
    """Validating starts nothing, so what this machine trusts is left alone."""
    (tmp_path / "own.pem").write_text(OURS)
    file = tmp_path / "Caddyfile"
    homes = {f"XDG_{name}_HOME": str(tmp_path) for name in ("DATA", "CONFIG")}
    command = [require("caddy"), "validate", "--config", str(file), "--adapter", "caddyfile"]
    for text in (case.fires, case.quiet):
        file.write_text(text.replace("/etc/ssl/own.pem", str(tmp_path / "own.pem")))
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, **homes},
            timeout=50,
            check=False,
        )
        assert "Valid configuration" in done.stdout, done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(caddy, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(caddy, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(caddy, CASES)


def test_imports_are_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.caddy").write_text("reverse_proxy 127.0.0.1:8080\n")
    file = tmp_path / "Caddyfile"
    report = caddy.lint("voice.example.com {\n\timport gateway.caddy\n}\n", file, Paths())
    assert [becomes.upstream for becomes in report.paths] == ["http://127.0.0.1:8080"] * 3


def test_what_caddy_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    report = caddy.lint(
        "voice.example.com {\n\treverse_prox 1\n}\n", tmp_path / "Caddyfile", Paths()
    )
    assert "unrecognized directive: reverse_prox" in report.unreadable
    assert "Caddyfile:2" in report.unreadable


def test_a_caddy_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy_adapt, "TIMEOUT_S", 0.0)
    report = caddy.lint(":80\n", Path("Caddyfile"), Paths())
    assert report.unreadable == "caddy adapt did not end within 0 s"
