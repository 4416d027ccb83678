"""The rule of a Traefik router: Host(`a`) && (PathPrefix(`/b`) || !Method(`GET`)) (pure).

https://doc.traefik.io/traefik/reference/routing-configuration/http/routing/rules-and-priority/
Version 3 takes one value a matcher, version 2 took several, of which one had to match.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.ways import Request

DEPTH_MAX = 30
# What a matcher says of a request; None where it depends on what is not known here.
Matcher = Callable[[Request], bool | None]
_TOKEN = re.compile(r"\s*(?:(&&|\|\||[!(),])|(`[^`]*`|\"(?:[^\"\\]|\\.)*\")|(\w+))")
_TWO = frozenset(("Header", "HeaderRegexp", "Headers", "HeadersRegexp"))
_PATHS = frozenset(("Path", "PathPrefix", "PathRegexp"))


class RuleRefused(Exception):  # noqa: N818 - a verdict about a rule
    """Traefik does not take the rule; str() says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    text: str
    matches: Matcher
    hosts: tuple[str, ...]  # that Host() names, in lower case
    names_path: bool
    is_version_2: bool  # a matcher has more values than version 3 takes


def parse_rule(text: str) -> Rule:
    """Raises RuleRefused."""
    parser = _Parser(text)
    matches = parser.any_of(0)
    if parser.peek():
        raise RuleRefused(f"{parser.peek()} where the end should be")
    hosts = tuple(dict.fromkeys(parser.hosts))
    return Rule(text, matches, hosts, parser.names_path, parser.is_version_2)


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self.hosts: list[str] = []
        self.names_path = False
        self.is_version_2 = False

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def any_of(self, depth: int) -> Matcher:
        parts = [self._all_of(depth)]
        while self.peek() == "||":
            self._next()
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else lambda request: _any([p(request) for p in parts])

    def _all_of(self, depth: int) -> Matcher:
        parts = [self._one(depth)]
        while self.peek() == "&&":
            self._next()
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda request: _all([p(request) for p in parts])

    def _one(self, depth: int) -> Matcher:
        if depth > DEPTH_MAX:
            raise RuleRefused("it is nested too deeply")
        word = self._next()
        if word == "!":
            inner = self._one(depth + 1)
            return lambda request: _not(inner(request))
        if word == "(":
            inner = self.any_of(depth + 1)
            self._expect(")")
            return inner
        if not word.isidentifier():
            raise RuleRefused(f"{word or 'the end'} where a matcher should be")
        return self._matcher(word)

    def _expect(self, wanted: str) -> None:
        if (word := self._next()) != wanted:
            raise RuleRefused(f"{word or 'the end'} where {wanted} should be")

    def _matcher(self, name: str) -> Matcher:
        self._expect("(")
        values: list[str] = []
        while self.peek() != ")":
            if values:
                self._expect(",")
            word = self._next()
            if word[:1] not in ("`", '"'):
                raise RuleRefused(f"{word or 'the end'} where a quoted value should be")
            values.append(word[1:-1])
        self._next()
        wanted = 2 if name in _TWO else 1
        if len(values) < wanted and not (name in ("Query", "QueryRegexp") and values):
            raise RuleRefused(f"{name} has too few values")
        if len(values) > wanted and name not in ("Query", "QueryRegexp"):
            self.is_version_2 = True
        if name in ("Host", "HostHeader"):
            self.hosts += [value.lower() for value in values]
        self.names_path = self.names_path or name in _PATHS
        return _matcher(name, values)


def _tokens(text: str) -> list[str]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise RuleRefused(f"{text[at:].strip()[:1]} is no part of a rule")
        tokens.append(found[1] or found[2] or found[3])
        at = found.end()
    return tokens


def _matcher(name: str, values: list[str]) -> Matcher:
    if name in ("Host", "HostHeader"):
        hosts = {value.lower() for value in values}
        return lambda request: request.host.lower() in hosts
    if name == "Method":
        methods = {value.upper() for value in values}
        return lambda request: request.method in methods
    if name in ("HostRegexp", "PathRegexp") or (name in _PATHS and "{" in "".join(values)):
        return _regexp(name, values)
    if name == "Path":
        return lambda request: request.path in values
    if name == "PathPrefix":
        return lambda request: request.path.startswith(tuple(values))
    if name in ("Header", "Headers"):
        key, wanted = values[0].lower(), values[1:]
        return lambda request: request.headers.get(key) in wanted
    if name in ("HeaderRegexp", "HeadersRegexp"):
        return _header_regexp(*values[:2])
    if name in ("Query", "QueryRegexp"):
        return lambda request: False  # Twilio drops the query of a stream
    if name == "ClientIP":
        return lambda request: None
    raise RuleRefused(f"there is no matcher {name}")


def _regexp(name: str, values: list[str]) -> Matcher:
    """Version 3; the {name:pattern} of version 2 is not modelled."""
    if any("{" in value for value in values) and not name.startswith(("Host", "PathRegexp")):
        return lambda request: None
    patterns = [_compiled(value) for value in values]
    if any(pattern is None for pattern in patterns):
        return lambda request: None
    known = [pattern for pattern in patterns if pattern is not None]
    if name == "HostRegexp":
        return lambda request: any(each.search(request.host.lower()) for each in known)
    return lambda request: any(each.search(request.path) for each in known)


def _header_regexp(key: str, value: str) -> Matcher:
    pattern = _compiled(value)
    if pattern is None:
        return lambda request: None
    return lambda request: pattern.search(request.headers.get(key.lower(), "")) is not None


def _compiled(value: str) -> re.Pattern[str] | None:
    if re.search(r"\{\w+(:[^}]*)?\}", value) and not re.search(r"\{\d*,?\d*\}", value):
        return None  # {name:pattern} of version 2
    try:
        return compile_go(value)
    except RegexUnknown:
        return None
    except RegexRefused as refused:
        raise RuleRefused(f"{value}: {refused}") from None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _any(values: list[bool | None]) -> bool | None:
    return True if True in values else None if None in values else False


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True
