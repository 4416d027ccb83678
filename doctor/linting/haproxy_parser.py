"""haproxy.cfg as sections of lines, and what a proxy inherits from its defaults (pure).

https://docs.haproxy.org/2.6/configuration.html sections 2.2 (quoting) and 4 (proxies).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from doctor.linting.nodes import Unreadable

# Every section that HAProxy knows; the proxies among them are read further.
_PROXIES = ("defaults", "frontend", "backend", "listen")
_SECTIONS = frozenset(
    "defaults frontend backend listen global userlist peers mailers program http-errors ring "
    "resolvers cache fcgi-app log-forward crt-store traces acme log-profile".split()
)
# What must have an argument: without one the file ends there, or half of it is missing.
_WITH_ARGUMENTS = frozenset(
    "bind server mode timeout option acl use_backend default_backend http-request "
    "http-response redirect balance".split()
)
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1e-3}


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a section in words; two of them are never equal."""

    words: tuple[str, ...]
    number: int
    file: Path

    @property
    def told(self) -> str:
        text = " ".join(self.words)
        return text if len(text) <= 100 else f"{text[:97]}..."

    @property
    def place(self) -> str:
        return f"{self.told} ({self.file.name}:{self.number})"

    def option(self, name: str) -> str | None:
        """The word behind a keyword: "443" of `... port 443`."""
        words = self.words
        return words[words.index(name) + 1] if name in words[:-1] else None


@dataclass(frozen=True, slots=True, eq=False)
class Proxy:
    """A frontend, a backend, or a listen, which is both. `defaults` are the lines it inherits."""

    kind: str
    name: str
    at: Line
    lines: tuple[Line, ...]
    defaults: tuple[Line, ...] = ()

    @property
    def told(self) -> str:
        return f"{self.kind} {self.name} ({self.at.file.name}:{self.at.number})"

    @property
    def is_frontend(self) -> bool:
        return self.kind in ("frontend", "listen")

    @property
    def is_backend(self) -> bool:
        return self.kind in ("backend", "listen")

    def all(self, *words: str) -> Iterator[Line]:
        """Its own lines that begin with these words."""
        yield from (each for each in self.lines if each.words[: len(words)] == words)

    def last(self, *words: str) -> Line | None:
        """The line that counts: its own, else the one of its defaults."""
        for lines in (self.lines, self.defaults):
            for each in reversed(lines):
                if each.words[: len(words)] == words:
                    return each
        return None

    @property
    def mode(self) -> str:
        line = self.last("mode")
        return line.words[1] if line is not None else "tcp"

    def timeout(self, name: str) -> Line | None:
        return self.last("timeout", name)


@dataclass(frozen=True, slots=True)
class Config:
    proxies: tuple[Proxy, ...]
    folder: Path
    userlists: tuple[str, ...] = ()

    def backend(self, name: str) -> Proxy | None:
        return next((each for each in self.proxies if each.is_backend and each.name == name), None)


@dataclass(slots=True)
class _Open:
    """A section while its lines come in."""

    kind: str
    name: str
    at: Line
    defaults: tuple[Line, ...]
    lines: list[Line] = field(default_factory=list)


def parse(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    proxies: list[Proxy] = []
    userlists: list[str] = []
    named: dict[str, tuple[Line, ...]] = {}
    latest: tuple[Line, ...] = ()
    opened: _Open | None = None
    for line in _lines(text, file):
        if line.words[0] in _SECTIONS:
            latest = _closed(opened, proxies, named, latest)
            opened = _opened(line, named, latest)
            if line.words[0] == "userlist" and len(line.words) > 1:
                userlists.append(line.words[1])
        elif opened is None:
            raise Unreadable(
                f"{file}: line {line.number}: {line.words[0]} stands before any section; "
                "does the beginning of the file lack, or is it for another program?"
            )
        elif line.words[0] in _WITH_ARGUMENTS and len(line.words) == 1:
            raise Unreadable(
                f"{file}: line {line.number}: {line.words[0]} has no argument; is the file whole?"
            )
        else:
            opened.lines.append(line)
    _closed(opened, proxies, named, latest)
    return Config(tuple(proxies), file.parent, tuple(userlists))


def _opened(line: Line, named: Mapping[str, tuple[Line, ...]], latest: tuple[Line, ...]) -> _Open:
    kind, *rest = line.words
    if kind in ("frontend", "backend", "listen") and not rest:
        raise Unreadable(f"{line.file}: line {line.number}: {kind} has no name; is the file whole?")
    base = line.option("from")
    defaults = named.get(base, ()) if base is not None else latest
    return _Open(kind, rest[0] if rest else "", line, () if kind not in _PROXIES else defaults)


def _closed(
    opened: _Open | None,
    proxies: list[Proxy],
    named: dict[str, tuple[Line, ...]],
    latest: tuple[Line, ...],
) -> tuple[Line, ...]:
    """Keep a section that ended; the defaults that hold from there on."""
    if opened is None:
        return latest
    lines = tuple(opened.lines)
    if opened.kind == "defaults":
        # Without `from` a defaults section starts anew; with it, it builds on the other one.
        inherited = opened.defaults if opened.at.option("from") else ()
        named[opened.name] = inherited + lines
        return inherited + lines
    if opened.kind in _PROXIES:
        proxies.append(Proxy(opened.kind, opened.name, opened.at, lines, opened.defaults))
    return latest


def _lines(text: str, file: Path) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        words = _words(line, number, file)
        # .if and its kind are for the one who starts it: both branches are read.
        if words and not words[0].startswith("."):
            yield Line(tuple(words), number, file)


_WORD = re.compile(
    r"""\s*(?:(?P<comment>\#.*)|(?P<word>(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s\\'"\#])+)"""
    r"""|(?P<open>['"\\].*))"""
)
_PART = re.compile(r"""\\(.)|'([^']*)'|"((?:\\.|[^"\\])*)"|([^\\'"]+)""", re.DOTALL)


def _words(line: str, number: int, file: Path) -> list[str]:
    words = []
    place = 0
    while (match := _WORD.match(line, place)) is not None:
        if match["open"] is not None:
            raise Unreadable(f"{file}: line {number}: a quote is not closed")
        if match["word"] is None:
            break
        words.append("".join(_unquoted(part) for part in _PART.finditer(match["word"])))
        place = match.end()
    return words


def _unquoted(part: re.Match[str]) -> str:
    """A backslash goes only where it hides something; before a dot or a digit it stays."""
    escaped, strong, weak, plain = part.groups()
    if escaped is not None:
        return escaped if escaped in " \\#'\"" else f"\\{escaped}"
    if weak is not None:
        return re.sub(r"""\\([\\"$])""", r"\1", weak)
    return strong if strong is not None else str(plain)


def seconds(text: str) -> float | None:
    """HAProxy's time ("30s", "500", which is milliseconds), or None."""
    match = re.fullmatch(r"(\d+)(us|ms|s|m|h|d|)", text)
    return int(match[1]) * _TIMES[match[2]] if match else None
