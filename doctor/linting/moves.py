"""How a path differs from what it became (pure)."""

import re
from urllib.parse import unquote

from doctor.linting.findings import Level


def moved(path: str, target: str) -> tuple[str, str] | None:
    """The prefix that went and the one that came; None where the rest is not the same either.

    ("/voice", "") of /voice/stream and /stream; None of /voice/stream and /fixedstream.
    """
    path, _, query = path.partition("?")
    target, _, target_query = target.partition("?")
    is_doubled = "//" in target and "//" not in path
    if query != target_query or is_doubled or target == "/" != path:
        return None
    for place, character in enumerate(path):
        if character == "/" and target.endswith(path[place:]):
            return path[:place], target.removesuffix(path[place:])
    return None


def level_of_move(path: str, target: str, other: tuple[str, str] | None) -> Level | None:
    """A warning where a change may be meant; None, which is a rule's own level, for a slip.

    One prefix less, or more, on every path is an arrangement; on one of them alone it is a slip.
    `other` is another path and its target, None where that one is not passed on here.
    """
    move = moved(path, target)
    if move is None or (other is not None and moved(*other) != move):
        return None
    return "warning"


def normalised(path: str, *, merges: bool = True) -> str:
    """As servers compare it: decoded, slashes merged, dot segments resolved."""
    path = unquote(path, errors="replace")
    if merges:
        path = re.sub("/{2,}", "/", path)
    parts: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        if segment == ".." and len(parts) > 1:
            parts.pop()
        elif segment != ".":
            parts.append(segment)
            continue
        if place == len(segments) - 1:
            parts.append("")
    return "/".join(parts) if path.startswith("/") else path
