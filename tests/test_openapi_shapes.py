"""The checker of shapes finds what is wrong; one that finds nothing would prove nothing."""

from typing import Any

import pytest

from openapi_shapes import differences, read_facts

CALLS = read_facts("calls")


def faults(value: object, schema: Any) -> list[str]:
    return list(differences(value, schema, CALLS))


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (None, {"type": "string"}),
        (1, {"type": "string"}),
        ("1", {"type": "integer"}),
        (True, {"type": "integer"}),
        ("red", {"type": "string", "enum": ["green"]}),
        ("CA12", {"type": "string", "pattern": "^CA[0-9]{3}$"}),
        ("x", {"type": "string", "minLength": 2}),
        ("xxx", {"type": "string", "maxLength": 2}),
        ("2026-01-02T03:04:05Z", {"type": "string", "format": "date-time-rfc-2822"}),
        ("Fri, 02 Jan 2026 03:04:05 GMT", {"type": "string", "format": "date-time-rfc-2822"}),
        ("yesterday", {"type": "string", "format": "date-time"}),
        ("2026-01-02T03:04:05", {"type": "string", "format": "date-time"}),
        ("usd", {"type": "string", "format": "currency"}),
        ("PUT", {"type": "string", "format": "http-method"}),
        ("example.com/a", {"type": "string", "format": "uri"}),
        ({}, {"type": "object", "properties": {"a": {"type": "string"}}}),
        ({"b": 1}, {"type": "object", "properties": {}}),
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "string"}}}),
        (["a", 1], {"type": "array", "items": {"type": "string"}}),
        ({"sid": "CA"}, "call"),
    ],
)
def test_a_difference_is_found(value: object, schema: Any) -> None:
    assert faults(value, schema)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (None, {"type": "string", "nullable": True}),
        ("Fri, 02 Jan 2026 03:04:05 +0000", {"type": "string", "format": "date-time-rfc-2822"}),
        ("2026-01-02T03:04:05Z", {"type": "string", "format": "date-time"}),
        ("/2010-04-01/Calls.json?Page=0", {"type": "string", "format": "uri"}),
        ({"anything": 1}, {"type": "object", "format": "uri-map"}),
    ],
)
def test_what_the_document_allows_is_no_difference(value: object, schema: Any) -> None:
    assert faults(value, schema) == []


def test_a_difference_says_where_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": "call"}}}
    assert ".a[0].sid: missing" in faults({"a": [{}]}, schema)
