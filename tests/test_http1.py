"""Heads: what is kept, what is refused and why."""

import pytest

from feeds import every_split
from made_heads import ANSWER, WEBHOOK, refusal, request
from proxy.http1 import (
    Malformed,
    head_end,
    list_items,
    parse_request_head,
    parse_response_head,
)

# Where a head ends


@pytest.mark.parametrize("behind", [b"", b"abc", b"GET / HTTP/1.1\r\n\r\n", b"\n\r\0\r\n\r\n"])
def test_the_head_ends_with_its_empty_line_whatever_follows(behind: bytes) -> None:
    for head in (WEBHOOK, ANSWER, b"\r\n\r\n"):
        assert head_end(head + behind) == len(head)


def test_a_head_has_no_end_before_its_last_byte_came_however_it_is_cut() -> None:
    for pieces in every_split(WEBHOOK):
        buffer = bytearray()
        for piece in pieces:
            assert head_end(buffer) == 0
            buffer += piece
        assert head_end(buffer) == len(WEBHOOK)


@pytest.mark.parametrize(
    ("buffer", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\n", "bare LF", id="LF ends the first line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n", "bare LF", id="LF ends a field"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\rC: d", "bare CR", id="CR inside, no end yet"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", "bare CR", id="CR inside"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", "bare CR", id="CR before CRLF"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\rC\r", "bare CR", id="CR inside, CR last"),
    ],
)
def test_a_line_end_that_is_not_crlf_is_refused_at_once(buffer: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        head_end(buffer)


# Requests


def test_a_request_head_keeps_order_spelling_case_and_every_byte() -> None:
    head = parse_request_head(WEBHOOK)
    assert head.raw == WEBHOOK
    assert (head.method, head.target, head.version) == ("POST", "/voice/webhook?a=1&b=%2F", "1.1")
    assert head.fields == (
        ("HOST", "voice.example.com"),
        ("x-Odd-cAse", "padded"),
        ("Via", "1.1 a"),
        ("Empty", ""),
        ("Latin", "caf\xe9"),
        ("via", "1.1 b,1.1 c"),
        ("Content-Length", "3"),
    )


def test_a_field_is_found_in_any_case_and_its_lines_are_joined() -> None:
    head = parse_request_head(WEBHOOK)
    assert head.values("VIA") == ["1.1 a", "1.1 b,1.1 c"]
    assert head.value("Via") == "1.1 a, 1.1 b,1.1 c"
    assert head.value("empty") == ""
    assert head.value("Upgrade") is None
    assert head.values("Upgrade") == []


@pytest.mark.parametrize(
    ("first", "version"),
    [
        pytest.param(b"GET / HTTP/1.0", "1.0", id="1.0"),
        pytest.param(b"GET / HTTP/1.1", "1.1", id="1.1"),
        pytest.param(b"GET / HTTP/1.2", "1.1", id="1.2 is read as 1.1"),
        pytest.param(b"get / HTTP/1.1", "1.1", id="a method is any token"),
        pytest.param(b"OPTIONS * HTTP/1.1", "1.1", id="asterisk"),
        pytest.param(b"GET http://a/c?d HTTP/1.1", "1.1", id="absolute"),
        pytest.param(b"GET https://A HTTP/1.1", "1.1", id="absolute without a path"),
        pytest.param(b"GET //a//../%2f;x?y?z#w HTTP/1.1", "1.1", id="odd path"),
        pytest.param(b"GET /caf\xc3\xa9 HTTP/1.1", "1.1", id="bytes beyond ASCII"),
    ],
)
def test_a_request_line_is_taken_as_it_is(first: bytes, version: str) -> None:
    head = parse_request_head(request(first=first))
    assert head.version == version
    assert f"{head.method} {head.target}".encode("latin-1") == first.rpartition(b" ")[0]


def test_an_absolute_target_names_the_authority_that_host_names() -> None:
    first = b"GET http://[::1]:80/ HTTP/1.1"
    assert parse_request_head(request(first=first, host=b"Host: [::1]:80")).target
    assert refusal(request(first=first)) == (
        "the absolute target and Host name different authorities"
    )


@pytest.mark.parametrize("first", [b"GET * HTTP/1.1", b"OPTIONS *a HTTP/1.1"])
def test_an_asterisk_stands_alone_and_for_options_only(first: bytes) -> None:
    assert refusal(request(first=first))


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param(b"GET /", "fewer than three parts", id="HTTP/0.9"),
        pytest.param(b"", "fewer than three parts", id="empty"),
        pytest.param(b"GET  / HTTP/1.1", "method SP target SP", id="two spaces"),
        pytest.param(b"GET / HTTP/1.1 ", "method SP target SP", id="space behind"),
        pytest.param(b"GET /a b HTTP/1.1", "method SP target SP", id="space in the target"),
        pytest.param(b"GET /a\x7fb HTTP/1.1", "method SP target SP", id="DEL in the target"),
        pytest.param(b"GET /a\x01b HTTP/1.1", "method SP target SP", id="control in the target"),
        pytest.param(b"G(T / HTTP/1.1", "method SP target SP", id="method is no token"),
        pytest.param(b"GET / http/1.1", "method SP target SP", id="lower-case version"),
        pytest.param(b"GET / HTTP/1.\xb2", "method SP target SP", id="superscript digit"),
        pytest.param(b"GET / HTTP/2.0", "HTTP/2.0 is not spoken", id="HTTP/2.0"),
        pytest.param(b"PRI * HTTP/2.0", "HTTP/2.0 is not spoken", id="HTTP/2 preface"),
        pytest.param(b"HTTP/1.1 200 OK", "a response arrived", id="response"),
        pytest.param(b"CONNECT a:443 HTTP/1.1", "forward proxy", id="CONNECT"),
        pytest.param(b"GET a/b HTTP/1.1", "neither a path nor", id="relative"),
        pytest.param(b"GET http:///a HTTP/1.1", "not a host", id="empty host"),
        pytest.param(b"GET http://:80/a HTTP/1.1", "not a host", id="port alone"),
        pytest.param(b"GET http://b@a/ HTTP/1.1", "not a host", id="userinfo"),
        pytest.param(b"GET http://a#/ HTTP/1.1", "not a host", id="fragment in the authority"),
    ],
)
def test_a_request_line_that_could_be_misread_is_refused(first: bytes, reason: str) -> None:
    assert reason in refusal(request(first=first))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b" folded", "folded", id="obs-fold with a space"),
        pytest.param(b"\tfolded: yes", "folded", id="obs-fold with a tab"),
        pytest.param(b"no colon", "no colon", id="no colon"),
        pytest.param(b"Name : a", "before the colon", id="space before the colon"),
        pytest.param(b"Content-Length\t: 5", "before the colon", id="tab before the colon"),
        pytest.param(b": a", "not a token", id="empty name"),
        pytest.param(b"Na me: a", "not a token", id="space in the name"),
        pytest.param(b"Na\xefme: a", "not a token", id="name beyond ASCII"),
        pytest.param(b'"Name": a', "not a token", id="quoted name"),
        pytest.param(b"Name: a\0b", "NUL", id="NUL in a value"),
        pytest.param(b"Na\0me: a", "NUL", id="NUL in a name"),
    ],
)
def test_a_field_line_that_could_be_misread_is_refused(line: bytes, reason: str) -> None:
    assert reason in refusal(request(line))
    assert reason in refusal(request(line, b"After: b"))
    if not line.startswith((b" ", b"\t")):
        assert reason in refusal(request(line, host=b""))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param([], "without Host", id="missing"),
        pytest.param([b" Host: a"], "folded", id="folded into the request line"),
        pytest.param([b"Host: a", b"host: b"], "more than one Host", id="two"),
        pytest.param([b"Host: a", b"Host: a"], "more than one Host", id="the same twice"),
        pytest.param([b"Host: a, b"], "not a host", id="list"),
        pytest.param([b"Host: a b"], "not a host", id="space"),
        pytest.param([b"Host: a/b"], "not a host", id="path"),
        pytest.param([b"Host: u@a"], "not a host", id="userinfo"),
        pytest.param([b"Host: a?b"], "not a host", id="query"),
    ],
)
def test_a_request_without_exactly_one_host_is_refused(lines: list[bytes], reason: str) -> None:
    assert reason in refusal(request(*lines, host=b""))


def test_http_10_needs_no_host_and_an_empty_one_is_legal() -> None:
    assert parse_request_head(request(first=b"GET / HTTP/1.0", host=b"")).fields == ()
    assert parse_request_head(request(host=b"Host:")).value("Host") == ""
    assert "more than one" in refusal(request(b"Host: b", first=b"GET / HTTP/1.0"))


@pytest.mark.parametrize(
    "raw", [b"", b"GET / HTTP/1.1\r\n", WEBHOOK[:-1], WEBHOOK + b"x", b"\r\n" + WEBHOOK]
)
def test_what_is_not_exactly_one_head_is_refused(raw: bytes) -> None:
    refusal(raw)


# Responses


@pytest.mark.parametrize(
    ("first", "version", "status", "phrase"),
    [
        pytest.param(b"HTTP/1.1 200 OK", "1.1", 200, "OK", id="usual"),
        pytest.param(b"HTTP/1.0 404 Not \xfcber", "1.0", 404, "Not \xfcber", id="1.0, latin-1"),
        pytest.param(b"HTTP/1.1 204 ", "1.1", 204, "", id="empty phrase"),
        pytest.param(b"HTTP/1.1 101", "1.1", 101, "", id="no space before no phrase"),
    ],
)
def test_a_status_line_is_read(first: bytes, version: str, status: int, phrase: str) -> None:
    head = parse_response_head(first + b"\r\nA: b\r\n\r\n")
    assert (head.version, head.status, head.phrase) == (version, status, phrase)
    assert head.fields == (("A", "b"),)


NOT_STATUS_LINES = (
    b"HTTP/2 200 OK|HTTP/1.2 200 OK|HTTP/1.1  200 OK|HTTP/1.1 20 OK|HTTP/1.1 2000 OK|"
    b"HTTP/1.1 200OK|HTTP/1.1 099 OK|HTTP/1.1 \xb200 OK|HTTP/1.1 200 O\x01K|http/1.1 200 OK|"
    b" HTTP/1.1 200 OK|ICY 200 OK|GET / HTTP/1.1|"
)


@pytest.mark.parametrize("first", NOT_STATUS_LINES.split(b"|"))
def test_a_status_line_that_is_not_http1_is_refused(first: bytes) -> None:
    with pytest.raises(Malformed, match="status line"):
        parse_response_head(first + b"\r\n\r\n")


@pytest.mark.parametrize("line", [b" folded", b"no colon", b"A : b", b"A: \0", b"A: b\rC: d"])
def test_a_response_is_held_to_the_same_lines_as_a_request(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse_response_head(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")


# Lists of tokens


def test_list_members_come_in_order_without_the_empty_ones() -> None:
    assert list_items(["a, b;q=1 ,,", "", " \t,c"]) == ["a", "b;q=1", "c"]


@pytest.mark.parametrize(
    ("lines", "listed"),
    [
        ([b"Connection: Upgrade"], True),
        ([b"Connection: keep-alive, UPGRADE"], True),
        ([b"Connection: keep-alive", b"connection:upgrade"], True),
        ([b"Connection: ,upgrade,"], True),
        ([b"Connection: upgrades"], False),
        ([b"Connection: keep-alive upgrade"], False),
        ([b"Connection:"], False),
        ([b"Upgrade: upgrade"], False),
    ],
)
def test_a_token_is_listed_whole_and_in_any_case(lines: list[bytes], listed: bool) -> None:
    assert parse_request_head(request(*lines)).has_token("Connection", "upgrade") is listed


def test_persistence_is_read_from_connection_alone() -> None:
    head = parse_request_head(request(b"Connection: Close", b"Keep-Alive: timeout=5"))
    assert head.has_close
    assert not head.has_keep_alive
    assert parse_request_head(request(b"connection: x, Keep-Alive")).has_keep_alive
