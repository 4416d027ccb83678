"""TOML with the line of every key: tomllib for the values, a scan of the text for the lines."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from doctor.linting.nodes import Node, Unreadable, listing, mapping, scalar

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
Place = tuple[str | int, ...]


def read_toml(text: str) -> Node:
    """The file as one mapping. Raises Unreadable."""
    try:
        values = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"it is no TOML: {error}") from None
    except (RecursionError, ValueError):
        raise Unreadable(
            "it is no TOML: it is nested too deeply, or a number is too long"
        ) from None
    return _node(values, (), _lines(text), 1)


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


def _lines(text: str) -> dict[Place, int]:
    """Where keys and tables begin. Text inside of a multi-line string may be taken for keys; their
    places exist in no value, or are those of a later key, which then counts."""
    lines: dict[Place, int] = {}
    counts: dict[tuple[str, ...], int] = {}
    table: Place = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            names = _parts(header[2])
            if header[1] == "[[":
                counts[names] = counts.get(names, -1) + 1
            table = _counted(names, counts)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines[(*table, *_parts(key[1]))] = number
    return lines


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _counted(names: tuple[str, ...], counts: Mapping[tuple[str, ...], int]) -> Place:
    """A table's place, with the number of the last [[table]] on the way."""
    place: Place = ()
    for length in range(1, len(names) + 1):
        place = (*place, names[length - 1])
        if names[:length] in counts:
            place = (*place, counts[names[:length]])
    return place
