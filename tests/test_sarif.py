"""Findings as SARIF 2.1.0: the shape that the standard and code hosts require."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import hopscope
from doctor.linting import engine
from doctor.linting.engine import all_rules
from doctor.linting.findings import LintFinding, LintRule, Paths
from doctor.linting.kinds import LINTERS
from doctor.linting.sarif import SCHEMA, as_sarif
from lint_cases import CONFIGS, cases_of

FOUND = LintFinding(
    "NG01", "upgrade-not-passed", "error", Path("etc/my nginx.conf"), 7, "no Upgrade", "set it"
)
WITHOUT_LINE = LintFinding("NG22", "silent", "warning", Path("/etc/serve.json"), 0, "saw", "fix")


def run_of(*findings: LintFinding) -> dict[str, Any]:
    told = json.loads(json.dumps(as_sarif(findings)))
    assert (told["$schema"], told["version"]) == (SCHEMA, "2.1.0")
    [run] = told["runs"]
    assert isinstance(run, dict)
    return run


def test_the_driver_has_a_name_a_version_and_every_rule_with_its_help() -> None:
    driver = run_of()["tool"]["driver"]
    assert driver["name"] == "hopscope"
    assert driver["version"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in all_rules()]
    for rule, page in zip(driver["rules"], all_rules(), strict=True):
        assert rule["name"].isidentifier()
        assert rule["name"][0].isupper()
        assert rule["shortDescription"] == {"text": page.defect}
        assert rule["fullDescription"] == {"text": page.why}
        assert page.fix in rule["help"]["text"]
        assert page.fix in rule["help"]["markdown"]
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")


def test_a_result_points_to_its_rule_and_its_line() -> None:
    run = run_of(FOUND, WITHOUT_LINE)
    first, second = run["results"]
    for result in (first, second):
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert rule["id"] == result["ruleId"]
    assert first["level"] == "error"
    assert first["message"] == {"text": "no Upgrade\nset it"}
    [place] = [each["physicalLocation"] for each in first["locations"]]
    assert place["artifactLocation"] == {"uri": "etc/my%20nginx.conf"}
    assert place["region"] == {"startLine": 7}


def test_a_finding_without_a_line_has_no_region() -> None:
    [result] = run_of(WITHOUT_LINE)["results"]
    [place] = [each["physicalLocation"] for each in result["locations"]]
    assert place == {"artifactLocation": {"uri": "file:///etc/serve.json"}}


def test_rules_may_be_given_and_others_have_no_index() -> None:
    page = LintRule("XX01", "a-b", "error", "A defect.", "Because.", "Mend it.")
    [run] = as_sarif([FOUND], [page])["runs"]
    assert [rule["name"] for rule in run["tool"]["driver"]["rules"]] == ["AB"]
    assert "ruleIndex" not in run["results"][0]


@pytest.mark.parametrize("findings", [(), (FOUND,), (FOUND, WITHOUT_LINE)])
def test_what_the_schema_requires_is_there(findings: tuple[LintFinding, ...]) -> None:
    """sarif-schema-2.1.0.json: the `required` of each object that we write."""
    run = run_of(*findings)
    assert run["tool"]["driver"]["name"]
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert len(run["results"]) == len(findings)
    for result in run["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("none", "note", "warning", "error")
        for place in result["locations"]:
            region = place["physicalLocation"].get("region", {"startLine": 1})
            assert region["startLine"] >= 1


def test_files_of_all_kinds_are_one_log_with_one_run(tmp_path: Path) -> None:
    """Every result points to a rule, a file and a line that are there."""
    files: list[tuple[str, Path]] = []
    for kind in LINTERS:
        bad = sorted((CONFIGS / kind / "bad").rglob("*.c[of]*"))[:1]
        texts = [file.read_text() for file in bad] or [cases_of(kind)[0].fires]
        files.append((kind, tmp_path / f"{kind} {len(files)}.conf"))
        files[-1][1].write_text(texts[0])
    reports = [engine.lint_file(file, kind, Paths()) for kind, file in files]
    findings = [finding for report in reports for finding in report.findings]
    told = json.loads(json.dumps(as_sarif(findings, all_rules())))
    assert set(told) == {"$schema", "version", "runs"}
    [run] = told["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    names = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        [place] = [each["physicalLocation"] for each in result["locations"]]
        uri = urlsplit(place["artifactLocation"]["uri"])
        assert (uri.scheme, uri.netloc, uri.query, uri.fragment) == ("file", "", "", "")
        file = Path(unquote(uri.path))
        assert 1 <= place["region"]["startLine"] <= len(file.read_text().splitlines())
        names.add(file.name.partition(" ")[0])
    assert names == set(LINTERS)


def test_the_command_line_writes_one_log_for_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for kind, name in (("hopscope", "hopscope.toml"), ("openclaw", "openclaw.json")):
        files.append(tmp_path / name)
        files[-1].write_text(cases_of(kind)[0].fires)
    log = tmp_path / "out.sarif"
    monkeypatch.setattr(sys, "argv", ["hopscope", "lint", *map(str, files), "--sarif", str(log)])
    with pytest.raises(SystemExit) as ended:
        hopscope.main()
    assert ended.value.code == 1
    assert "HO01 stream-unserved" in capsys.readouterr().out
    told = json.loads(log.read_text())
    assert (told["version"], len(told["runs"])) == ("2.1.0", 1)
    found = {result["ruleId"] for result in told["runs"][0]["results"]}
    assert found == {"HO01", "OC01"}
