"""Findings as SARIF 2.1.0: the shape that the standard and code hosts require."""

import json
from pathlib import Path
from typing import Any

import pytest

from doctor.linting.engine import all_rules
from doctor.linting.findings import LintFinding, LintRule
from doctor.linting.sarif import SCHEMA, as_sarif

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
