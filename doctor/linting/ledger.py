"""The findings of one file while they are collected."""

from collections.abc import Iterable
from pathlib import Path

from doctor.linting.findings import Becomes, Level, LintFinding, LintReport, LintRule


class Ledger:
    """Takes level, slug and fix from the page of a rule, so that a check only says what it saw."""

    def __init__(self, file: Path, rules: Iterable[LintRule]) -> None:
        self.file = file
        self._rules = {rule.id: rule for rule in rules}
        self._findings: dict[LintFinding, None] = {}
        self._remarks: dict[str, None] = {}

    def note(
        self, rule_id: str, line: int, saw: str, *, fix: str = "", level: Level | None = None
    ) -> None:
        """One defect; the same defect at the same place is written once."""
        rule = self._rules[rule_id]
        finding = LintFinding(
            rule_id, rule.slug, level or rule.level, self.file, line, saw, fix or rule.fix
        )
        self._findings.setdefault(finding)

    def remark(self, sentence: str) -> None:
        self._remarks.setdefault(sentence)

    def has(self, rule_id: str) -> bool:
        return any(finding.rule == rule_id for finding in self._findings)

    def report(self, paths: Iterable[Becomes] = ()) -> LintReport:
        findings = sorted(self._findings, key=lambda finding: (finding.line, finding.rule))
        return LintReport(tuple(findings), tuple(paths), remarks=tuple(self._remarks))
