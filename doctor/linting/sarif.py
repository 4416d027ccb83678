"""Findings as SARIF 2.1.0, the form that code hosts show beside the lines of a change (pure).

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from doctor.linting.findings import LintFinding, LintRule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(findings: Iterable[LintFinding], rules: Iterable[LintRule] = ()) -> dict[str, Any]:
    """One run. `rules` are the pages of what was looked for; all of them where none are given."""
    from doctor.linting.engine import all_rules  # the engine knows the linters, they know nothing

    pages = sorted(rules or all_rules(), key=lambda rule: rule.id)
    places = {rule.id: place for place, rule in enumerate(pages)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "hopscope",
                        "version": metadata.version("hopscope"),
                        "rules": [_rule(page) for page in pages],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, places) for finding in findings],
            }
        ],
    }


def _rule(page: LintRule) -> dict[str, Any]:
    name = "".join(word.capitalize() for word in page.slug.split("-"))
    return {
        "id": page.id,
        "name": name,
        "shortDescription": {"text": page.defect},
        "fullDescription": {"text": page.why},
        "help": {
            "text": f"{page.why}\n\nFix:\n{page.fix}",
            "markdown": f"{page.why}\n\n**Fix**\n\n```\n{page.fix}\n```",
        },
        "defaultConfiguration": {"level": page.level},
    }


def _result(finding: LintFinding, places: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": finding.level,
        "message": {"text": f"{finding.saw}\n{finding.fix}"},
        "locations": [{"physicalLocation": _place(finding.file, finding.line)}],
    }
    if finding.rule in places:
        result["ruleIndex"] = places[finding.rule]
    return result


def _place(file: Path, line: int) -> dict[str, Any]:
    """A region only where there is a line: SARIF counts from 1 (section 3.30.5)."""
    uri = file.as_uri() if file.is_absolute() else quote(file.as_posix())
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if line > 0:
        place["region"] = {"startLine": line}
    return place
