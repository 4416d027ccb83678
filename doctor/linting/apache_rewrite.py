"""mod_rewrite in a server or virtual host, for one request (pure).

https://httpd.apache.org/docs/2.4/mod/mod_rewrite.html. Rules of <Location> and <Directory> see
another path, and are not followed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from doctor.linting.apache_expressions import Facts, matches
from doctor.linting.apache_parser import Directive

Ending = Literal["proxied", "redirected", "answered", "mapped"]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a RewriteRule made of a request. "mapped" to a path, which may be passed on or not."""

    ending: Ending
    by: Directive
    url: str = ""  # of "proxied"
    code: str = ""
    is_passed_through: bool = False  # [PT]: ProxyPass sees the new path


@dataclass(frozen=True, slots=True)
class _Rule:
    directive: Directive
    conditions: tuple[Directive, ...]

    @property
    def flags(self) -> dict[str, str]:
        return _flags("".join(self.directive.args[2:]))


def rewritten(block: Sequence[Directive], facts: Facts) -> Rewritten | None:
    """None where no rule changes anything. Changes the path of `facts`."""
    engine = [each for each in block if each.name == "rewriteengine"]
    if not engine or [arg.lower() for arg in engine[-1].args] != ["on"]:
        return None
    result: Rewritten | None = None
    skip = 0
    is_chain_broken = False
    for rule in _rules(block):
        flags = rule.flags
        is_chained = "C" in flags
        if skip or is_chain_broken:
            skip = max(0, skip - 1)
            is_chain_broken = is_chain_broken and is_chained
            continue
        if not _applies(rule, facts):
            is_chain_broken = is_chained
            continue
        ended = _applied(rule, facts)
        if ended is not None:
            result = ended
            if ended.ending != "mapped":
                return ended
        skip = int(flags["S"]) if flags.get("S", "").isdigit() else 0
        if flags.keys() & {"L", "END", "PT"}:
            break
    return result


def _rules(block: Sequence[Directive]) -> Iterator[_Rule]:
    conditions: list[Directive] = []
    for each in block:
        if each.name == "rewritecond" and len(each.args) >= 2:
            conditions.append(each)
        elif each.name == "rewriterule" and len(each.args) >= 2:
            yield _Rule(each, tuple(conditions))
            conditions = []


def _applies(rule: _Rule, facts: Facts) -> bool:
    """What is not known does not hold."""
    pattern = rule.directive.args[0]
    is_negated = pattern.startswith("!")
    match = matches(pattern.lstrip("!"), facts.path, ignore_case="NC" in rule.flags)
    if match is None or bool(match) == is_negated:
        return False
    facts.captures = _captured("$", match)
    is_any = False  # of the conditions that [OR] joins
    for condition in rule.conditions:
        is_or = "OR" in _flags("".join(condition.args[2:]))
        is_any = is_any or _holds(condition, facts)
        if not is_or:
            if not is_any:
                return False
            is_any = False
    return True


def _holds(condition: Directive, facts: Facts) -> bool:
    text, pattern = condition.args[0], condition.args[1]
    is_case_ignored = "NC" in _flags("".join(condition.args[2:]))
    if text == "expr":
        return bool(facts.holds(pattern))
    value = _expanded(text, facts)
    if value is None:
        return False
    is_negated, pattern = pattern.startswith("!"), pattern.removeprefix("!")
    if re.fullmatch(r"-[fdslLFHhUx]", pattern):  # no file has a name of ours
        return is_negated
    if pattern[:1] in "=<>" or pattern.startswith("-"):
        wanted = pattern.removeprefix("=").strip('"')
        if pattern[:1] != "=" or wanted.startswith("="):
            return False
        is_equal = value.lower() == wanted.lower() if is_case_ignored else value == wanted
        return is_equal != is_negated
    match = matches(pattern, value, ignore_case=is_case_ignored)
    if match is None:
        return False
    if match:
        facts.captures |= _captured("%", match)
    return bool(match) != is_negated


def _applied(rule: _Rule, facts: Facts) -> Rewritten | None:
    """What the rule does; None where it changes nothing."""
    each, flags = rule.directive, rule.flags
    if "F" in flags or "G" in flags:
        return Rewritten("answered", each, code="403" if "F" in flags else "410")
    text = each.args[1]
    url = _expanded(text, facts) if text != "-" else None
    if "R" in flags:
        code = {"": "302", "permanent": "301", "temp": "302", "seeother": "303"}.get(
            flags["R"], flags["R"]
        )
        return Rewritten("redirected" if code.startswith("3") else "answered", each, code=code)
    if text == "-":
        return None
    if url is None:
        return Rewritten("mapped", each)
    path, mark, query = url.partition("?")
    if not mark:
        query = facts.query[1:]
    elif "QSA" in flags and len(facts.query) > 1:
        query = "&".join(part for part in (query, facts.query[1:]) if part)
    if "QSD" in flags:
        query = ""
    whole = f"{path}?{query}" if query else path
    if "P" in flags:
        return Rewritten("proxied", each, url=whole)
    if re.match(r"\w+://", url):
        return Rewritten("redirected", each, code="302")
    facts.path, facts.query = path if path.startswith("/") else f"/{path}", f"?{query}".rstrip("?")
    return Rewritten("mapped", each, is_passed_through="PT" in flags)


def _expanded(text: str, facts: Facts) -> str | None:
    """$1, %1 and %{NAME}; None where a variable is not known."""
    value = facts.expanded(text)
    if value is None:
        return None
    return re.sub(r"([$%])(\d)", lambda match: facts.captures.get(match[0], ""), value)


def _captured(mark: str, match: "re.Match[str] | bool") -> dict[str, str]:
    if isinstance(match, bool):
        return {}
    groups = (match[0], *match.groups())
    return {f"{mark}{place}": text or "" for place, text in enumerate(groups[:10])}


def _flags(text: str) -> dict[str, str]:
    """[R=301,L] by their short names."""
    names = {"PROXY": "P", "LAST": "L", "REDIRECT": "R", "FORBIDDEN": "F", "GONE": "G"}
    names |= {"NOCASE": "NC", "PASSTHROUGH": "PT", "CHAIN": "C", "SKIP": "S", "ORNEXT": "OR"}
    names |= {"QSAPPEND": "QSA", "QSDISCARD": "QSD"}
    found = {}
    for part in text.strip("[]").split(","):
        name, _, value = part.strip().partition("=")
        found[names.get(name.upper(), name.upper())] = value
    return found
