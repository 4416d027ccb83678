"""Inline ignores: `hopscope:ignore NG01` in a comment silences that rule there (pure).

A comment behind something speaks of its own line; a comment alone on its line of the next line
that is neither empty nor a comment. What stands behind the ids is for people.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from doctor.linting.findings import LintFinding

_COMMENT = re.compile(r"(?:^|(?<=[\s;{}]))(?:#|//)")
_IGNORE = re.compile(r"\bhopscope:ignore\s+([A-Z]{2}\d{2}(?:[\s,]+[A-Z]{2}\d{2})*)\b")
_ID = re.compile(r"[A-Z]{2}\d{2}")
_ALONE = re.compile(r"\s*(#|//|$)")


def ignored_rules(text: str) -> Mapping[int, frozenset[str]]:
    """The ids that are silenced, by line from 1."""
    silenced: dict[int, frozenset[str]] = {}
    pending: frozenset[str] = frozenset()
    for number, line in enumerate(text.split("\n"), 1):
        comment = _COMMENT.search(line)
        match = _IGNORE.search(line, comment.end()) if comment else None
        ids = frozenset(_ID.findall(match[1])) if match else frozenset()
        if _ALONE.match(line):
            pending |= ids
            continue
        if pending or ids:
            silenced[number] = pending | ids
        pending = frozenset()
    return silenced


def without_ignored(
    findings: Iterable[LintFinding], text_of: Callable[[Path], str]
) -> tuple[LintFinding, ...]:
    """The findings that no comment silences. `text_of` gives the text of a finding's file."""
    known: dict[Path, Mapping[int, frozenset[str]]] = {}
    kept = []
    for finding in findings:
        if finding.file not in known:
            known[finding.file] = ignored_rules(text_of(finding.file))
        if finding.rule not in known[finding.file].get(finding.line, ()):
            kept.append(finding)
    return tuple(kept)
