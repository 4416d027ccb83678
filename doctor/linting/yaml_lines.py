"""YAML with the line of every value (PyYAML's composer; no object is ever constructed)."""

from dataclasses import replace

import yaml

from doctor.linting.nodes import NODES_MAX, Node, Unreadable, listing, mapping, scalar

# What PyYAML takes for a document in seconds; no configuration is as long.
CHARACTERS_MAX = 1 << 20
DEPTH_MAX = 100
# More is text to every program that reads our formats, and takes PyYAML long to construct.
SCALAR_MAX = 200
# A tag may stand before any text: PyYAML's constructors look things up in it, and fail as they do.
_NO_VALUE = (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError)
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str) -> Node:
    """The first document of a text; an empty text is an empty mapping. Raises Unreadable."""
    if len(text) > CHARACTERS_MAX:
        raise Unreadable(f"it has more than {CHARACTERS_MAX} characters")
    try:
        loader = yaml.SafeLoader(text.removeprefix("\ufeff"))
        if not loader.check_node():
            return mapping({}, 0)
        return _Reader().read(loader.get_node())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise Unreadable(f"{where}it is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:  # characters that no YAML may hold
        raise Unreadable(f"it is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None


class _Reader:
    """Every node is read once, wherever aliases repeat it."""

    def __init__(self) -> None:
        self._read: dict[yaml.Node, Node] = {}
        self._open: set[yaml.Node] = set()
        self._merged = 0
        self._constructor = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node | None, line: int = 0) -> Node:
        """`line` is that of the key, where there is one."""
        if node is None:
            return mapping({}, 0)
        line = line or node.start_mark.line + 1
        known = self._read.get(node)
        if known is not None:
            return known if known.line == line else replace(known, line=line)
        if node in self._open:
            raise Unreadable(f"line {line}: an alias that holds itself")
        if len(self._open) > DEPTH_MAX:
            raise Unreadable(f"line {line}: it is nested too deeply")
        self._open.add(node)
        try:
            read = self._read_anew(node, line)
        finally:
            self._open.discard(node)
        self._read[node] = read
        return read

    def _read_anew(self, node: yaml.Node, line: int) -> Node:
        if isinstance(node, yaml.MappingNode):
            return mapping(self._fields(node), line)
        if isinstance(node, yaml.SequenceNode):
            return listing((self.read(entry) for entry in node.value), line)
        return self._scalar(node, line)

    def _fields(self, node: yaml.MappingNode) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a key that is a list names nothing in any of our formats
            if key.tag == _MERGE:
                for each in _listed(self.read(value)):
                    self._merge(each, merged)
                continue
            line = key.start_mark.line + 1
            if key.value in own:
                first = own[key.value].line
                raise Unreadable(f"line {line}: {key.value!r} is there already (line {first})")
            own[key.value] = self.read(value, line)
        return {**merged, **own}

    def _merge(self, earlier: Node, merged: dict[str, Node]) -> None:
        """The first mapping that has a key gives its value (yaml.org/type/merge)."""
        self._merged += len(earlier.fields)
        if self._merged > NODES_MAX:
            raise Unreadable(f"line {earlier.line}: it is merged more often than can be read")
        for name, value in earlier.fields.items():
            merged.setdefault(name, value)

    def _scalar(self, node: yaml.Node, line: int) -> Node:
        text = str(node.value)
        try:
            value = text if len(text) > SCALAR_MAX else self._constructor.construct_object(node)
        except _NO_VALUE:
            value = text  # a tag or a date that only its own program understands
        if not isinstance(value, str | int | float | bool | None):
            value = text
        return scalar(value, line, text)


def _listed(node: Node) -> tuple[Node, ...]:
    return node.entries if node.shape == "list" else (node,)
