"""A value of a configuration file that knows its line, whatever the file's format."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None
# More is no configuration: aliases in YAML can write a billion values in ten lines.
NODES_MAX = 200_000


class Unreadable(Exception):  # noqa: N818 - a verdict about a file, not a failure of ours
    """A file could not be read; str() is one sentence that says why and where."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value and the line (from 1) where it begins; of a mapping's value, where its key does.

    What is absent is a node as well, with the line of what should hold it: reading never raises,
    and `node["a"]["b"].text` is "" where there is no a. `raw` is a scalar as it is written.
    """

    line: int = 0
    scalar: Scalar = None
    raw: str = ""
    fields: Mapping[str, "Node"] = field(default_factory=dict)
    entries: tuple["Node", ...] = ()
    shape: str = "absent"  # absent, scalar, mapping or list
    size: int = 1

    def __getitem__(self, name: str) -> "Node":
        return self.fields.get(name, Node(self.line))

    def at(self, *names: str) -> "Node":
        node = self
        for name in names:
            node = node[name]
        return node

    def __iter__(self) -> Iterator["Node"]:
        """The entries of a list; a single value stands for a list of one, as most formats do."""
        if self.shape == "list":
            return iter(self.entries)
        return iter(() if self.is_empty else (self,))

    def __bool__(self) -> bool:
        return self.shape != "absent"

    @property
    def is_empty(self) -> bool:
        """Absent, or written without a value."""
        return self.shape == "absent" or (self.shape == "scalar" and self.scalar is None)

    @property
    def text(self) -> str:
        """A scalar as it is written; "" for null and whatever is no scalar."""
        return "" if self.scalar is None else self.raw

    @property
    def is_true(self) -> bool:
        """YAML 1.1 has yes and on, too."""
        return self.scalar is True or self.raw.lower() in ("true", "yes", "on")

    @property
    def is_false(self) -> bool:
        return self.scalar is False or self.raw.lower() in ("false", "no", "off")

    @property
    def number(self) -> float | None:
        """A number, also one in quotes."""
        if isinstance(self.scalar, bool):
            return None
        try:
            number = float(self.raw)
        except ValueError:
            return None
        return number if number == number and abs(number) < 1e15 else None

    def items(self) -> Iterator[tuple[str, "Node"]]:
        yield from self.fields.items()


def scalar(value: Scalar, line: int, raw: str | None = None) -> Node:
    if raw is None:
        raw = "" if value is None else str(value)
    return Node(line, value, raw, shape="scalar")


def mapping(fields: Mapping[str, Node], line: int) -> Node:
    size = _checked(1 + sum(node.size for node in fields.values()), line)
    return Node(line, fields=dict(fields), shape="mapping", size=size)


def listing(entries: Iterable[Node], line: int) -> Node:
    held = tuple(entries)
    size = _checked(1 + sum(node.size for node in held), line)
    return Node(line, entries=held, shape="list", size=size)


def _checked(size: int, line: int) -> int:
    if size > NODES_MAX:
        raise Unreadable(f"line {line}: more than {NODES_MAX} values, which no configuration has")
    return size
