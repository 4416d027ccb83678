"""TOML with the line of every key and entry: tomllib for the values, a scan for the lines.

https://toml.io/en/v1.0.0
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from doctor.linting.nodes import NODES_MAX, Node, Unreadable, listing, mapping, scalar

CHARACTERS_MAX = 1 << 21
DEPTH_MAX = 100
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
# tomllib takes the square of its length for a key with as many parts.
_DEEP = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{{DEPTH_MAX}}}")
_TOKEN = re.compile(
    r'''[ \t]++|\#[^\n]*+
    |"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']++|'{1,2}(?!'))*+'{3,5}
    |"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'
    |[\[\]{}=,.\n]|[^\s\#"'\[\]{}=,.]++|.''',
    re.DOTALL | re.VERBOSE,
)
Place = tuple[str | int, ...]


def read_toml(text: str) -> Node:
    """The file as one mapping. Raises Unreadable."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(text) > CHARACTERS_MAX:
        raise Unreadable(f"it has more than {CHARACTERS_MAX} characters")
    if deep := _DEEP.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise Unreadable(f"line {line}: it is nested too deeply")
    try:
        values = tomllib.loads(text)
        return _node(values, (), _Scan(text).lines, 1)
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"it is no TOML: {error}") from None
    except (RecursionError, ValueError):
        raise Unreadable(
            "it is no TOML: it is nested too deeply, or a number is too long"
        ) from None


def _node(value: Any, place: Place, lines: Mapping[Place, int], line: int) -> Node:
    line = lines.get(place, line)
    if isinstance(value, dict):
        fields = {name: _node(each, (*place, name), lines, line) for name, each in value.items()}
        return mapping(fields, line)
    if isinstance(value, list):
        return listing(
            (_node(each, (*place, i), lines, line) for i, each in enumerate(value)), line
        )
    known = value if isinstance(value, str | int | float | bool) else str(value)
    return scalar(known, line, str(value).lower() if isinstance(value, bool) else str(value))


class _Scan:
    """Where the keys, tables and entries of a text begin that tomllib has read already."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {(): 1}
        self._rest = _tokens(text)
        self._next, self._line = "", 1
        self._last: dict[Place, int] = {}  # of every [[array]], the number of its last table
        self._advance()
        table: Place = ()
        while self._next:
            if self._next == "[":
                table = self._header()
            elif self._next == "\n":
                self._advance()
            else:
                self._pair(table)

    def _advance(self) -> None:
        self._next, self._line = next(self._rest, ("", self._line))

    def _note(self, place: Place) -> None:
        """What names a table again does not begin it."""
        self.lines.setdefault(place, self._line)
        if len(self.lines) > NODES_MAX:
            raise Unreadable(f"line {self._line}: more than {NODES_MAX} values")
        if len(place) > DEPTH_MAX:
            raise Unreadable(f"line {self._line}: it is nested too deeply")

    def _key(self, end: str) -> Iterator[str]:
        while self._next not in (end, ""):
            if self._next != ".":
                yield _name(self._next)
            self._advance()

    def _header(self) -> Place:
        self._advance()
        is_array = self._next == "["
        if is_array:
            self._advance()
        place: Place = ()
        for name in self._key("]"):
            if place in self._last:
                place = (*place, self._last[place])
            place = (*place, name)
            self._note(place)
        if is_array:
            self._last[place] = self._last.get(place, -1) + 1
            place = (*place, self._last[place])
            self._note(place)
            self._advance()
        self._advance()
        return place

    def _pair(self, table: Place) -> None:
        place = table
        for name in self._key("="):
            place = (*place, name)
            self._note(place)
        self._advance()
        self._value(place)

    def _value(self, place: Place) -> None:
        if self._next == "[":
            self._advance()
            entry = 0
            while self._inside("]"):
                self._note((*place, entry))
                self._value((*place, entry))
                entry += 1
        elif self._next == "{":
            self._advance()
            while self._inside("}"):
                self._pair(place)
        else:
            while self._next not in (",", "]", "}", "\n", ""):
                self._advance()

    def _inside(self, end: str) -> bool:
        """Go to what a list or an inline table holds next; over its end, where it holds no more."""
        while self._next in (",", "\n"):
            self._advance()
        is_inside = self._next not in (end, "")
        if not is_inside:
            self._advance()
        return is_inside


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """All but blanks and comments, with their lines."""
    line = 1
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] not in " \t#":
            yield token, line
        line += token.count("\n")


def _name(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    return str(tomllib.loads(f"a = {part}")["a"]) if part[0] == '"' else part
