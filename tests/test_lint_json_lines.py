"""JSON is read as Python's json reads it, JSON5 too, with lines; all else is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting import json_lines
from doctor.linting.json_lines import read_json
from lint_nodes import ANYTHING, TREES, VALUES, check_lines, named_once, refusal, value_of


@settings(max_examples=100, deadline=None)
@given(VALUES, st.booleans(), st.sampled_from((None, 1)))
def test_a_document_has_the_values_that_json_reads(
    value: Any, is_ascii: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    assert value_of(read_json(text)) == json.loads(text)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_string_is_read_back(text: str) -> None:
    assert read_json(json.dumps(text)).scalar == text


@settings(max_examples=100, deadline=None)
@given(
    TREES,
    st.sampled_from((None, 0, 2)),
    st.sampled_from(("\n", "\r\n")),
    st.sampled_from(("", "// <\n", "/* <\n\n*/")),
)
def test_every_value_has_the_line_of_its_key(
    tree: dict[str, Any], indent: int | None, end: str, comment: str
) -> None:
    dumped = json.dumps(named_once(tree), indent=indent)
    text = f"\ufeff{comment}" + dumped.replace("\n", f"\n{comment}\n").replace("\n", end)
    check_lines(text, read_json(text))


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    refusal(read_json, text)


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_what_json_reads_is_not_refused(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        return
    assert refusal(read_json, text) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, $b: 2, 'c': 3, ö: 4,}", {"a": 1, "$b": 2, "c": 3, "ö": 4}),
        ("[1, /* two */ 2, // three\n]", [1, 2]),
        ("[+1, -.5, 5., 0x1F, -0XaB, Infinity]", [1, -0.5, 5.0, 31, -171, float("inf")]),
        ("'a\\\nb\\\r\nc\\x41\\u0042\\'\\q'", "abcAB'q"),
        ('"it\'s"', "it's"),
        ("'say \"so\"'", 'say "so"'),
        (r'"\ud83d\ude00 \ud83d"', "\U0001f600 \ufffd"),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("12345678901234567890123", 12345678901234567890123),
        ("1" * 5000, float("inf")),
        ("0x" + "f" * 5000, float("inf")),
        ("1e999", float("inf")),
        ("\ufeff null ", None),
    ],
)
def test_json5_is_read(text: str, value: Any) -> None:
    assert value_of(read_json(text)) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: it is no JSON: the end where a value should be"),
        ("{\n  a 1}", "line 2: it is no JSON: '1' where a colon should be"),
        ("[1\n 2]", "line 2: it is no JSON: '2' where a comma or ] should be"),
        ("[,]", "line 1: it is no JSON: ',' where a value should be"),
        ("{1: 2}", "line 1: it is no JSON: '1' where a name should be"),
        ("{} {}", "line 1: it is no JSON: '{' where the end should be"),
        ("'a\nb'", 'line 1: it is no JSON: "\'" where a string that ends on its line should be'),
        ("[1.2.3]", "line 1: it is no JSON: '1' where a value should be"),
        ("nil", "line 1: it is no JSON: 'n' where a value should be"),
        ("[1] /* open", "line 1: it is no JSON: '/' where the end should be"),
        ("\0", "line 1: it is no JSON: '\\x00' where a value should be"),
        ("\n[" * 102, "line 103: it is nested too deeply"),
        ("{a:" * 100_000, "line 1: it is nested too deeply"),
        ("[" + "0,\n" * 300_000 + "]", "line 200000: more than 200000 values"),
        ("1" * 2_000_000 + "x", "line 1: it is no JSON: '1' where a value should be"),
        ('"' + "\\" * 2_000_001, "line 1: it is no JSON: '\"' where a string"),
        (" " * (json_lines.CHARACTERS_MAX + 1), "it has more than 4194304 characters"),
    ],
)
def test_what_is_refused_is_told_with_its_line(text: str, why: str) -> None:
    assert refusal(read_json, text).startswith(why)
