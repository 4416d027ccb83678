"""A family of lint rules: one function each, whose docstring is its page.

A check looks at one subject, yields what it saw, and knows nothing of its own id or level. The
docstring's first lines are the defect, then the sections Why and Fix; the function's name is the
rule's slug.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from doctor.linting.findings import Level, LintFinding, LintRule

Subject = TypeVar("Subject")
_ID = re.compile(r"[A-Z]{2}[0-9]{2}")
_SECTION = re.compile(r"^(Why|Fix):$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saw:
    """One sentence that quotes the file. `fix` and `level` where they differ from the page's."""

    text: str
    file: Path
    line: int
    fix: str = ""
    level: Level | None = None


class Family(Generic[Subject]):
    """Rules that look at subjects of one type."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[LintRule, Callable[[Subject], Iterable[Saw]]]] = {}

    @property
    def rules(self) -> tuple[LintRule, ...]:
        return tuple(rule for rule, _ in self._checks.values())

    def rule(
        self, rule_id: str, *, level: Level = "error"
    ) -> Callable[[Callable[[Subject], Iterable[Saw]]], Callable[[Subject], Iterable[Saw]]]:
        """Register a check. Raises ValueError for an id in use, or a page with a hole."""

        def register(
            check: Callable[[Subject], Iterable[Saw]],
        ) -> Callable[[Subject], Iterable[Saw]]:
            if _ID.fullmatch(rule_id) is None or rule_id in self._checks:
                raise ValueError(f"{rule_id}: is no rule's id, or another rule's")
            slug = check.__name__.replace("_", "-")
            page = _page(rule_id, slug, level, inspect.getdoc(check) or "")
            self._checks[rule_id] = (page, check)
            return check

        return register

    def judge(self, subjects: Iterable[Subject]) -> Iterator[LintFinding]:
        """What the rules say of some subjects. A rule says one thing of a line, once."""
        said: set[tuple[str, Path, int]] = set()
        for subject in subjects:
            for rule, check in self._checks.values():
                for saw in check(subject):
                    place = (rule.id, saw.file, saw.line)
                    if place not in said:
                        said.add(place)
                        level, fix = saw.level or rule.level, saw.fix or rule.fix
                        yield LintFinding(
                            rule.id, rule.slug, level, saw.file, saw.line, saw.text, fix
                        )


def _page(rule_id: str, slug: str, level: Level, text: str) -> LintRule:
    defect, *parts = _SECTION.split(text)
    sections = {
        name: inspect.cleandoc(body).strip()
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    missing = [name for name in ("Why", "Fix") if not sections.get(name)]
    if missing or not defect.strip():
        raise ValueError(f"{rule_id}: its page lacks {', '.join(missing) or 'the defect'}")
    return LintRule(
        rule_id, slug, level, " ".join(defect.split()), sections["Why"], sections["Fix"]
    )
