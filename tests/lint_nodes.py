"""What the readers of YAML, JSON and TOML are fed, and what of their nodes is compared."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from doctor.linting.nodes import Node, Unreadable

Read = Callable[[str], Node]
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\x85"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
# No value has a line break, so a comment or a blank line may stand between any two lines.
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=16,
)
NAMES = ("voice", "stream", "path", "a b", "x-y", "0")
TREES = st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=5)
# Openings, ends, and what is special somewhere; joined they make what is nearly a document.
_PIECES = """{ } [ ] ( ) : , = . - ? ! & * # | > % @ ` ' " \\ / + ~ $ < << a 1 0x 1e9 nan true null
    &a *a !!int !!bool !!float !!timestamp !!binary !!set !!map [[ ]] \"\"\" ''' // /* */ --- ...
    1979-05-27 07:32:00 \\u \\ud83d \\x .inf 1:1""".split()
NONSENSE = st.lists(
    st.sampled_from((*_PIECES, " ", "  ", "\t", "\n", "\r\n", "\r", "\0", "\ufeff", "\u2028")),
    max_size=30,
).map("".join)
ANYTHING = NONSENSE | st.text() | st.binary().map(lambda data: data.decode("latin-1"))


def value_of(node: Node) -> Any:
    """What a parser without lines would have read."""
    if node.shape == "mapping":
        return {name: value_of(each) for name, each in node.items()}
    if node.shape == "list":
        return [value_of(each) for each in node.entries]
    return node.scalar


def named_once(value: Any) -> Any:
    """The same tree; every name in it tells its place from all others."""
    numbers = itertools.count()

    def renamed(each: Any) -> Any:
        if isinstance(each, dict):
            return {f"<{next(numbers)}>": renamed(inner) for inner in each.values()}
        return [renamed(inner) for inner in each] if isinstance(each, list) else each

    return renamed(value)


def names(node: Node) -> Iterator[tuple[str, Node]]:
    """Every name of a tree with what it names."""
    for name, each in node.items():
        yield name, each
        yield from names(each)
    for each in node.entries:
        yield from names(each)


def check_lines(text: str, node: Node) -> None:
    """Each name, which is there once, is told with its line."""
    for name, each in names(node):
        assert each.line == text[: text.index(name)].count("\n") + 1, (name, text)


def refusal(read: Read, text: str) -> str:
    """Why a text is refused; "" where it is read. Nothing else may be raised."""
    why = ""
    try:
        read(text)
    except Unreadable as unreadable:
        why = str(unreadable) or "no reason"
    assert "\n" not in why
    return why
