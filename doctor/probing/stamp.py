"""The sidecar's stamp: Proxy-Status (RFC 9209), a list of structured fields (RFC 8941), read.

Other proxies on the way may add members of their own. What is no structured field is read as far
as it goes: a stamp that a hop has bent is still a stamp.
"""

import re
from collections.abc import Iterable

from doctor.evidence import Stamp

NAME = "hopscope"
# A quote that is never closed opens a string all the same, up to the end of the value.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[^",;]+|[,;]')
_DIGITS = re.compile(r"[1-9]\d\d")


def parse_stamp(values: Iterable[str]) -> Stamp | None:
    """The sidecar's member among the lines of Proxy-Status, or None."""
    for member in _split(", ".join(values), ","):
        name, *parameters = [part.strip() for part in _split(member, ";")]
        if _bare(name) != NAME:
            continue
        told = {}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            told[key.strip().lower()] = _bare(value.strip())
        status = told.get("received-status", "")
        received = int(status) if _DIGITS.fullmatch(status) else None
        return Stamp(told.get("id", ""), received, told.get("error", ""), told.get("details", ""))
    return None


def _split(value: str, separator: str) -> list[str]:
    """The parts between separators that stand outside of strings."""
    parts: list[list[str]] = [[]]
    for piece in _PIECE.findall(value):
        if piece == separator:
            parts.append([])
        else:
            parts[-1].append(piece)
    return ["".join(part) for part in parts]


def _bare(item: str) -> str:
    """A token as it is, a string without its quotes and escapes (RFC 8941 section 3.3.3)."""
    if len(item) >= 2 and item[0] == item[-1] == '"':
        return re.sub(r"\\(.)", r"\1", item[1:-1])
    return item
