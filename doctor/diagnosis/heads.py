"""Two heads side by side: what a hop removed, changed, respelled and added (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from doctor.evidence import Pairs

Change = Literal["same", "respelled", "changed", "removed", "added"]
HIDDEN = "(present)"


@dataclass(frozen=True, slots=True)
class Line:
    """One field on both sides, written `Name: value`; "" where it is absent."""

    left: str
    right: str
    change: Change


def compare(left: Pairs, right: Pairs) -> tuple[Line, ...]:
    """Pair the fields of two heads by name, in the order of the left; then what the right adds.

    A name that came several times is paired in order. Order between names is not compared: it
    means nothing (RFC 9110 section 5.3), and every proxy has its own.
    """
    rest = list(right)
    lines = []
    for name, value in left:
        match = next((pair for pair in rest if pair[0].lower() == name.lower()), None)
        if match is None:
            lines.append(Line(_text(name, value), "", "removed"))
            continue
        rest.remove(match)
        lines.append(Line(_text(name, value), _text(*match), _change((name, value), match)))
    lines += [Line("", _text(name, value), "added") for name, value in rest]
    return tuple(lines)


def differences(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Only what is worth looking at."""
    return tuple(line for line in lines if line.change not in ("same", "respelled"))


def _change(left: tuple[str, str | None], right: tuple[str, str | None]) -> Change:
    # A value that is hidden on either side cannot be compared.
    if left[1] != right[1] and None not in (left[1], right[1]):
        return "changed"
    return "same" if left[0] == right[0] else "respelled"


def _text(name: str, value: str | None) -> str:
    return f"{name}: {HIDDEN if value is None else value}"
