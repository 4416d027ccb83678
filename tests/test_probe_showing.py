"""What is kept of heads and bytes that a hop sent: never a secret."""

import pytest

from doctor.probing.showing import (
    printable,
    shown_location,
    shown_pairs,
    shown_strange,
    shown_words,
)

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
        (b"token=" + TOKEN.encode(), "token=[hidden]"),
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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("return 403 token=hunter2 (a.conf:1)", "return 403 token=[hidden] (a.conf:1)"),
        ("rewrite ^ /x?stream_token=hunter2&a=b", "rewrite ^ /x?stream_token=[hidden]&a=b"),
        ("X-Api-Key=hunter2, and more", "X-Api-Key=[hidden], and more"),
        ('{"access_token": "hunter2", "a": 1}', '{"access_token": "[hidden]", "a": 1}'),
        ('{"Password":"hunter2\'s"}', '{"Password":"[hidden]"}'),
        ("Authorization Bearer hunter2", "Authorization Bearer [hidden]"),
        ("Basic aHVudGVyMg==", "Basic [hidden]"),
        ("proxy_pass http://me:hunter2@10.0.0.1/", "proxy_pass http://[hidden]@10.0.0.1/"),
        ("hunter2hunter2hunter2hunter2", "[hidden]"),
        ("invalid_token: expired", "invalid_token: expired"),
        ("wants Basic authentication", "wants Basic authentication"),
        ("the token is missing", "the token is missing"),
        ("api.twilio.com at /voice/stream=1", "api.twilio.com at /voice/stream=1"),
    ],
)
def test_what_is_named_a_secret_or_looks_like_one_is_hidden(text: str, shown: str) -> None:
    assert shown_words(text) == shown
