"""What is kept of heads and bytes that a hop sent: never a secret."""

import pytest

from doctor.probing.showing import printable, shown_location, shown_pairs, shown_strange

TOKEN = "abc123DEF456ghi789JKL0"


def test_fields_keep_their_order_and_spelling_and_lose_what_may_be_secret() -> None:
    fields = (
        ("SERVER", "edge"),
        ("Set-Cookie", "a=s3cret"),
        ("x-amz-cf-id", "s3cret"),
        ("WWW-Authenticate", 'Basic realm="s3cret"'),
        ("Location", "/login?next=s3cret"),
    )
    assert shown_pairs(fields) == (
        ("SERVER", "edge"),
        ("Set-Cookie", None),
        ("x-amz-cf-id", None),
        ("WWW-Authenticate", "Basic"),
        ("Location", "/login?next=[hidden]"),
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://h.example/a", "https://h.example/a"),
        ("https://h.example:8443/a?b=s3cret#f", "https://h.example:8443/a?b=[hidden]"),
        ("https://me:s3cret@h.example/", "https://h.example/"),
        ("//h.example/a?s3cret", "//h.example/a?[hidden]"),
        (f"/voice/{TOKEN}", "/voice/[hidden]"),
        ("", ""),
    ],
)
def test_a_redirect_is_shown_without_credentials_and_query_values(value: str, shown: str) -> None:
    assert shown_location(value) == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"SSH-2.0-x\r\n", "SSH-2.0-x\\r\\n"),
        (b"\x15\x03\xff", "\\x15\\x03\\xff"),
        (b"token=" + TOKEN.encode(), "[hidden]"),
        (b"HTTP/1.1 400 Bad\r\nSet-Cookie: s3cret\r\n\r\n", "HTTP/1.1 400 Bad\\r\\nSet-Cookie: "),
        (b"HTTP/1.1 400 Bad", "HTTP/1.1 400 Bad"),
        (b"", ""),
    ],
)
def test_what_came_in_place_of_a_head_is_printable_and_holds_no_secret(
    data: bytes, shown: str
) -> None:
    told = shown_strange(data)
    assert told.startswith(shown)
    assert "s3cret" not in told
    assert told.isascii()
    assert told.isprintable()


def test_only_the_beginning_is_kept() -> None:
    assert len(printable(b"a " * 5000)) == 300
    assert len(shown_strange(b"HTTP/1.1 " + b"a " * 50000)) <= 600
