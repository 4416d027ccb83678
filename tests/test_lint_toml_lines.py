"""TOML is read as tomllib reads it, with the line of every key and entry; all else is refused."""

import datetime
import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting import toml_lines
from doctor.linting.toml_lines import read_toml
from lint_nodes import ANYTHING, names, refusal, value_of

# Between two lines: what is no key, and looks like one.
BETWEEN = ("", "\n", '# [q]\n  # "<0>" = 1\n')
STRINGS = (
    '"""\n[q]\n"q" = 1\n"""',
    "'''\n[[q]]\nq.q = 1 '' '''",
    '"""a\\""" = b"""""',
    '"[q"',
    "'] # q'",
    "1979-05-27 07:32:00Z",
    "[\n  [1], # ]\n  [2,\n 3]\n]",
    "1.5",
)


class Writer:
    """A document of keys, each there once, in all the forms that TOML has for them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._number = 0

    def name(self) -> str:
        self._number += 1
        return f"<{self._number}>"

    def table(self, depth: int) -> str:
        lines = [f'"{self.name()}" = {self.value(depth)}\n' for _ in range(self.count())]
        lines += [f'q{i} . "{self.name()}".x=1\n' for i in range(self.count())]
        return "".join(self.between() + line for line in lines)

    def value(self, depth: int) -> str:
        form = self._draw(st.sampled_from(("scalar", "list", "inline"))) if depth else "scalar"
        if form == "scalar":
            return self._draw(st.sampled_from(STRINGS))
        inner = [self.value(depth - 1) for _ in range(self.count())]
        if form == "list":
            return "[" + ",\n".join(inner) + "\n]"
        return "{" + ", ".join(f"'{self.name()}' = {each}" for each in inner) + "}"

    def document(self) -> str:
        text = self.table(2)
        for _ in range(self.count()):
            name = self.name()
            text += f'[ "{name}" ]\n{self.table(1)}'
            for i in range(self.count()):
                # The part in front of the name is there again, and the lists in the list, too.
                text += f"[[list.q]]\n{self.table(1)}[[list.q.q]]\n{self.table(0)}"
                text += f'[a{name[1:-1]}.b{i}."{self.name()}"]\n{self.table(1)}'
        return text

    def count(self) -> int:
        return self._draw(st.integers(0, 2))

    def between(self) -> str:
        return self._draw(st.sampled_from(BETWEEN))


@st.composite
def documents(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(("\n", "\r\n")))
    return draw(st.sampled_from(("", "\ufeff"))) + Writer(draw).document().replace("\n", end)


def plain(value: Any) -> Any:
    """Dates are text to us."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, datetime.date | datetime.time) else value


@settings(max_examples=150, deadline=None)
@given(documents())
def test_a_document_has_the_values_that_tomllib_reads_and_the_line_of_every_key(text: str) -> None:
    node = read_toml(text)
    assert value_of(node) == plain(tomllib.loads(text.removeprefix("\ufeff")))
    for name, each in names(node):
        if name.startswith("<"):
            assert each.line == text[: text.index(name)].count("\n") + 1, (name, text)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_string_is_read_back(text: str) -> None:
    quoted = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    assert read_toml(f"a = {quoted}")["a"].scalar == text


@settings(max_examples=200, deadline=None)
@given(ANYTHING, st.sampled_from(("", "a = ", "[", "[[")))
def test_whatever_comes_is_read_or_refused(text: str, start: str) -> None:
    refusal(read_toml, start + text)


def test_entries_of_lists_have_lines_of_their_own() -> None:
    text = "rules = [\n  { path = '/a' },\n  # { path = '/q' }\n  { path = '/b',\tx = [\n1] },\n]\n"
    rules = read_toml(text)["rules"]
    assert [rule.line for rule in rules] == [2, 4]
    assert [rule["path"].line for rule in rules] == [2, 4]
    assert [each.line for each in rules.entries[1]["x"]] == [5]


def test_a_table_begins_where_it_is_named_first() -> None:
    node = read_toml("[a.b]\nx = 1\n[a]\ny = 2\n[[c]]\n[[c.d]]\n[[c]]\n[[c.d]]\nz = 3\n")
    assert [node["a"].line, node.at("a", "y").line, node["c"].line] == [1, 4, 5]
    assert [each.line for each in node["c"]] == [5, 7]
    (second,) = node["c"].entries[1]["d"]
    assert (second.line, second["z"].line) == (8, 9)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = 1\nb = ", "it is no TOML: Invalid value (at "),
        ("a = 1\na = 2", "it is no TOML: Cannot overwrite a value (at "),
        ("a = '\0'", "it is no TOML: "),
        ("a = 1\n" + ".".join("b" * 200) + " = 1", "line 2: it is nested too deeply"),
        (" . ".join(["'b'"] * 20_000) + " = 1", "line 1: it is nested too deeply"),
        ("[" + ".".join(["b"] * 20_000) + "]", "line 1: it is nested too deeply"),
        ("a = [\n" + "[" * 101 + "]" * 101 + "]", "line 2: it is nested too deeply"),
        ("a = " + "[" * 100_000, "it is no TOML: it is nested too deeply, or"),
        ("a = " + "{b=" * 50_000, "it is no TOML: it is nested too deeply, or"),
        ("a = 0x" + "f" * 5000, "it is no TOML: it is nested too deeply, or a number"),
        ("a = " + "1" * 5000, "it is no TOML: it is nested too deeply, or a number"),
        ("a = [" + "0,\n" * 300_000 + "]", "line 199999: more than 200000 values"),
        ("[" + " " * 100_000 + "\n", "it is no TOML: "),
        ("#" * (toml_lines.CHARACTERS_MAX + 1), "it has more than 2097152 characters"),
    ],
)
def test_what_is_refused_is_told(text: str, why: str) -> None:
    assert refusal(read_toml, text).startswith(why)
