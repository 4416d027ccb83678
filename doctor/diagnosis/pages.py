"""The pages of all rules, of the doctor and of the linters, for `hopscope rules` and `explain`."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from doctor.linting import engine
from doctor.linting.findings import LintRule
from doctor.rules import RULES, Rule


@dataclass(frozen=True, slots=True)
class Page:
    """One rule as it is printed. `text` is the whole page."""

    id: str
    slug: str
    level: str
    defect: str
    text: str


def pages() -> tuple[Page, ...]:
    """All, by id."""
    found = [_of_rule(rule) for rule in RULES.values()]
    found += [_of_lint(rule) for rule in engine.all_rules()]
    return tuple(sorted(found, key=lambda page: page.id))


def find_pages(name: str) -> tuple[tuple[Page, ...], str]:
    """The pages of an id or a name, in any case; without any, the nearest name there is, or "".

    The same defect has the same name in each ingress, so a name may have several pages.
    """
    known = pages()
    wanted = name.lower()
    found = tuple(page for page in known if wanted in (page.id.lower(), page.slug))
    if found:
        return found, ""
    names = [name for page in known for name in (page.id.lower(), page.slug)]
    # "hs1" is meant for hs01 before it is for hs21, which is as near by its letters.
    padded = re.sub(r"(?<=[a-z])\d$", r"0\g<0>", wanted)
    near = [padded] if padded in names else get_close_matches(wanted, names, 1)
    return (), near[0] if near else ""


def _of_rule(rule: Rule) -> Page:
    sections = [("Why", rule.page.why), ("Evidence", rule.page.evidence)]
    sections += [(f"Fix {kind}", fix) for kind, fix in rule.page.fixes.items()]
    sections.append(("Fix", rule.page.fix))
    return Page(
        rule.id,
        rule.slug,
        rule.level,
        rule.page.defect,
        _text(rule.id, rule.slug, rule.level, rule.page.defect, sections),
    )


def _of_lint(rule: LintRule) -> Page:
    sections = [("Why", rule.why), ("Fix", rule.fix)]
    text = _text(rule.id, rule.slug, rule.level, rule.defect, sections)
    return Page(rule.id, rule.slug, rule.level, rule.defect, text)


def _text(rule_id: str, slug: str, level: str, defect: str, sections: list[tuple[str, str]]) -> str:
    lines = [f"{rule_id} {slug} ({level})", "", defect]
    for title, body in sections:
        lines += ["", f"{title}:", *(f"    {line}".rstrip() for line in body.splitlines())]
    return "\n".join(lines) + "\n"
