"""Lint a file: which program it is for, what its linter finds, what comments in it silence."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module, util
from pathlib import Path
from typing import Any, Protocol, cast

from doctor.linting.findings import LintFinding, LintReport, LintRule, Paths
from doctor.linting.ignores import without_ignored
from doctor.linting.kinds import LINTERS, kind_of_text
from doctor.linting.listing import print_reports
from doctor.linting.nginx_dump import sections
from doctor.linting.nodes import Unreadable
from doctor.linting.reading import read_text
from doctor.probing.showing import shown_words

__all__ = [
    "all_rules",
    "as_json",
    "kind_of",
    "lint_file",
    "lint_text",
    "linter_of",
    "print_reports",
    "read_text",
]


# What the pages call 127.0.0.1:8080, as a file may have it.
_ADDRESS = re.compile(r"http://((?:\d+\.){3}\d+:\d+)")
_OWN_PORTS = ("hopscope", "openclaw")  # there it is where the sidecar itself listens


class Linter(Protocol):
    """What a module of doctor/linting that is a linter has."""

    RULES: tuple[LintRule, ...]

    def lint(self, text: str, file: Path, paths: Paths) -> LintReport: ...


def lint_file(path: Path, kind: str | None, paths: Paths) -> LintReport:
    """Findings sorted by file and line. `kind` is a key of LINTERS; None tells it from the file."""
    try:
        text = read_text(path)
    except Unreadable as unreadable:
        return LintReport(unreadable=str(unreadable))
    return lint_text(text, path, kind, paths)


def lint_text(text: str, path: Path, kind: str | None, paths: Paths) -> LintReport:
    """As lint_file, of a text that was read already; includes are looked for beside `path`."""
    if not text.strip():
        return LintReport(unreadable=f"{path}: it is empty; name a configuration with content")
    kind = kind or kind_of_text(path, text)
    if kind is None:
        known = ", ".join(LINTERS)
        return LintReport(
            unreadable=f"{path}: neither its name nor its text tells which program it is for; "
            f"known are {known}"
        )
    linter = linter_of(kind)
    if linter is None:
        return LintReport(unreadable=f"{path}: there is no linter for {kind}")
    try:
        report = linter.lint(text, path, paths)
    except RecursionError:  # no configuration is as deep
        report = LintReport(unreadable=f"{path}: it is nested too deeply")
    if report.unreadable:
        told = report.unreadable
        return LintReport(unreadable=told if str(path) in told else f"{path}: {told}")
    texts = {path: text}
    if kind == "nginx":
        texts |= sections(text)
    kept = without_ignored(report.findings, lambda file: _text_of(file, texts))
    # A line that is quoted may hold a password: reports go into tickets and into the logs of CI.
    findings = [
        replace(found, saw=shown_words(found.saw), fix=_addressed(found.fix, report, kind))
        for found in kept
    ]
    by_place = sorted(findings, key=lambda found: (str(found.file), found.line, found.rule))
    remarks = tuple(shown_words(remark) for remark in report.remarks)
    return replace(report, findings=tuple(by_place), remarks=remarks, kind=kind)


def _addressed(fix: str, report: LintReport, kind: str) -> str:
    """A fix with the sidecar's address as this file has it, where its ways name one and no other.

    A name stays an example: that an address stands in its place may be the very fix.
    """
    named = {each.upstream for each in report.paths if each.upstream}
    found = _ADDRESS.fullmatch(named.pop()) if len(named) == 1 else None
    if found is None or kind in _OWN_PORTS:
        return fix
    return fix.replace("127.0.0.1:8080", found[1])


def kind_of(path: Path, text: str | None = None) -> str | None:
    """A key of LINTERS; None for a file that cannot be read, or is none of theirs."""
    if text is None:
        try:
            text = read_text(path)
        except Unreadable:
            return None
    return kind_of_text(path, text)


def linter_of(kind: str) -> Linter | None:
    """The module that lints this kind, imported when it is first asked for."""
    name = f"doctor.linting.{LINTERS.get(kind, '')}"
    if kind not in LINTERS or util.find_spec(name) is None:
        return None
    return cast(Linter, import_module(name))


def all_rules() -> tuple[LintRule, ...]:
    """The pages of all linters that are there, by id."""
    linters = [linter for kind in LINTERS if (linter := linter_of(kind)) is not None]
    return tuple(sorted((rule for each in linters for rule in each.RULES), key=lambda r: r.id))


def as_json(reports: Mapping[Path, LintReport]) -> dict[str, Any]:
    """What `hopscope lint --json` prints: the doctor's form of findings, with file and line."""
    return {
        "findings": [
            _finding_as_json(finding, report.kind)
            for report in reports.values()
            for finding in report.findings
        ],
        "paths": [
            {
                "file": str(path),
                "path": each.path,
                "place": each.place,
                "upstream": each.upstream,
                "target": each.target,
            }
            for path, report in reports.items()
            for each in report.paths
        ],
        "remarks": _said((path, report.remarks) for path, report in reports.items()),
        "unreadable": _said(
            (path, (report.unreadable,) if report.unreadable else ())
            for path, report in reports.items()
        ),
    }


def _said(sentences: Iterable[tuple[Path, tuple[str, ...]]]) -> list[dict[str, str]]:
    return [{"file": str(path), "text": text} for path, texts in sentences for text in texts]


def _finding_as_json(finding: LintFinding, kind: str) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "slug": finding.slug,
        "level": finding.level,
        "hop": kind,
        "file": str(finding.file),
        "line": finding.line,
        "saw": finding.saw,
        "fix": finding.fix,
        "evidence": [f"{finding.file}:{finding.line}"],
    }


def _text_of(file: Path, texts: dict[Path, str]) -> str:
    if file not in texts:
        try:
            texts[file] = read_text(file)
        except Unreadable:
            texts[file] = ""
    return texts[file]
