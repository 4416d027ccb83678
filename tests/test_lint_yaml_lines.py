"""YAML is read as PyYAML reads it, with lines; whatever else comes is refused in one sentence."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting import yaml_lines
from doctor.linting.nodes import Unreadable
from doctor.linting.yaml_lines import read_yaml
from lint_nodes import ANYTHING, TREES, VALUES, check_lines, named_once, refusal, value_of


@settings(max_examples=60, deadline=None)
@given(VALUES, st.booleans())
def test_a_document_has_the_values_that_pyyaml_reads(value: Any, is_flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=is_flow, allow_unicode=True)
    assert value_of(read_yaml(text)) == yaml.safe_load(text)


@settings(max_examples=60, deadline=None)
@given(TREES, st.sampled_from((True, False, None)), st.sampled_from(("\n", "\r\n")))
def test_every_value_has_the_line_of_its_key(
    tree: dict[str, Any], is_flow: bool | None, end: str
) -> None:
    dumped = yaml.safe_dump(named_once(tree), default_flow_style=is_flow, width=1 << 20)
    text = "\ufeff# first\n\n" + dumped.replace("\n", "\n# <0>: between\n\n")
    text = text.replace("# <0>", "# ").replace("\n", end)
    check_lines(text, read_yaml(text))


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    refusal(read_yaml, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("--- {a: 1}\n--- {a: 2}\n", {"a": 1}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("{<<: [{a: 1}, {a: 2, b: 2}]}", {"a": 1, "b": 2}),
        ("<<: text", {}),
        ("? [a]\n: b\nc: d", {"c": "d"}),
        ("2024-02-30", "2024-02-30"),
        ("2024-02-29", "2024-02-29"),
        ("!Ref gateway", "gateway"),
        ("!!python/object:os.system x", "x"),
        ("!!bool perhaps", "perhaps"),
        ("!!int ''", ""),
        ("!!float ''", ""),
        ("!!timestamp noon", "noon"),
        ("!!binary ö", "ö"),
        ("!!set a", "a"),
        ("0b_", "0b_"),
        ("1" * 5000, "1" * 5000),
        ("1" + ":1" * 50_000, "1" + ":1" * 50_000),
        ("0x1F", 31),
        (".inf", float("inf")),
    ],
)
def test_a_value_that_only_its_own_program_understands_is_its_text(text: str, value: Any) -> None:
    assert value_of(read_yaml(text)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: [", "line 2: it is no YAML: "),
        ("a: 1\na: 2", "line 2: 'a' is there already (line 1)"),
        ("a: *b", "line 1: it is no YAML: found undefined alias 'b'"),
        ("a: 1\n\0", "it is no YAML: unacceptable character #x0000"),
        ("a:\n  &x [*x]", "line 2: an alias that holds itself"),
        ("[" * 102 + "]" * 102, "line 1: it is nested too deeply"),
        ("[" * 100_000, "it is nested too deeply"),
        ("- " * 50_000, "it is nested too deeply"),
        ("a" * (yaml_lines.CHARACTERS_MAX + 1), "it has more than 1048576 characters"),
    ],
)
def test_what_is_refused_is_told_with_its_line_where_it_has_one(text: str, why: str) -> None:
    assert refusal(read_yaml, text).startswith(why)


def bomb(keys: int) -> str:
    """Each level holds the one before it twice: 2 to the power of 16 values."""
    levels = (f"l{i}: &l{i}\n  x: *l{i - 1}\n  y: *l{i - 1}\n" for i in range(1, 16))
    return "l0: &l0 {a: 1}\n" + "".join(levels) + "".join(f"k{i}: *l15\n" for i in range(keys))


def test_what_aliases_repeat_is_read_once_and_has_the_line_of_each_key() -> None:
    with pytest.raises(Unreadable, match="more than 200000 values"):
        read_yaml(bomb(keys=3000))
    node = read_yaml("a: &x\n  b: 1\nc: *x\nd: [*x]\n")
    assert [node[name].line for name in "acd"] == [1, 3, 4]
    assert [node.at("a", "b").line, node.at("c", "b").line] == [2, 2]


def test_what_merges_repeat_is_counted() -> None:
    mapping = "a: &a\n" + "".join(f"  k{i}: 1\n" for i in range(2000))
    with pytest.raises(Unreadable, match="merged more often than can be read"):
        read_yaml(mapping + "".join(f"m{i}: {{<<: *a}}\n" for i in range(2000)))
