"""What a request is made of: its target letter for letter, its form in bounds."""

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.exchange import (
    FIELDS_LIMIT,
    VALUE_LIMIT,
    Refusal,
    answer,
    check_method,
    field,
    parse_form,
    parse_query,
    target_of,
)


@pytest.mark.parametrize(
    ("received", "target"),
    [
        ("/voice/webhook?plan=a%20b&x=%2F", "/voice/webhook?plan=a%20b&x=%2F"),
        ("http://inner:8081/voice//webhook?x", "/voice//webhook?x"),
        ("https://inner", "/"),
        ("https://inner?x=1", "?x=1"),
        ("//inner/voice", "//inner/voice"),
        ("*", "*"),
    ],
)
def test_a_target_is_kept_letter_for_letter(received: str, target: str) -> None:
    assert target_of(make_mocked_request("POST", received)) == target


def test_a_form_keeps_what_is_empty_and_what_comes_twice() -> None:
    assert parse_form(b"From=%2B1+555&Empty=&Twice=b&Twice=a&Umlaut=%C3%BC") == {
        "From": ["+1 555"],
        "Empty": [""],
        "Twice": ["b", "a"],
        "Umlaut": ["ü"],
    }


def test_a_form_that_is_no_text_is_read_as_far_as_it_goes() -> None:
    assert parse_form(b"\xff=\xff&%FF=%FF&;;&=") == {
        "\ufffd": ["\ufffd", "\ufffd"],
        ";;": [""],
        "": [""],
    }


def test_a_form_has_a_bounded_number_of_fields() -> None:
    assert len(parse_form(b"&".join(b"a%d=" % n for n in range(FIELDS_LIMIT)))) == FIELDS_LIMIT
    with pytest.raises(Refusal) as refused:
        parse_form(b"&".join(b"a%d=" % n for n in range(FIELDS_LIMIT + 1)))
    assert refused.value.status == 413


def test_a_query_is_read_only_as_far_as_ours_go() -> None:
    assert parse_query("/voice/webhook?plan=a%20b&after=stream") == {
        "plan": ["a b"],
        "after": ["stream"],
    }
    assert parse_query("/voice/webhook") == {}
    assert parse_query("/voice/webhook?" + "a=1&" * (FIELDS_LIMIT + 1)) == {}


def test_a_field_is_its_first_value_in_bounds() -> None:
    form = {"a": ["1", "2"], "b": ["x" * (VALUE_LIMIT + 1)], "c": []}
    assert (field(form, "a"), field(form, "c"), field(form, "d")) == ("1", "", "")
    assert len(field(form, "b")) == VALUE_LIMIT


def test_a_method_that_is_not_for_a_path_names_the_ones_that_are() -> None:
    check_method(make_mocked_request("HEAD", "/"), ("GET", "HEAD"))
    with pytest.raises(Refusal) as refused:
        check_method(make_mocked_request("PUT", "/"), ("GET", "HEAD"))
    assert (refused.value.status, refused.value.headers) == (405, {"Allow": "GET, HEAD"})


def test_an_answer_without_text_has_no_type() -> None:
    assert "Content-Type" not in answer(204).headers
    assert answer(200, "x").content_type == "text/plain"
