"""Heads: what is kept, what is refused and why, and that an edit touches nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds import every_split
from proxy.http1 import (
    Malformed,
    RequestHead,
    ResponseHead,
    head_end,
    list_items,
    parse_request_head,
    parse_response_head,
    with_fields,
    with_response_fields,
)

WEBHOOK = (
    b"POST /voice/webhook?a=1&b=%2F HTTP/1.1\r\n"
    b"HOST: voice.example.com\r\n"
    b"x-Odd-cAse:   padded \t\r\n"
    b"Via: 1.1 a\r\n"
    b"Empty:\r\n"
    b"Latin: caf\xe9\r\n"
    b"via: 1.1 b,1.1 c\r\n"
    b"Content-Length: 3\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 All Right\r\n"
    b"Content-type: text/xml\r\n"
    b"Set-Cookie: a=1\r\n"
    b"set-cookie: b=2\r\n"
    b"Content-Length: 0\r\n\r\n"
)
quickly = settings(derandomize=True, deadline=None, max_examples=25)


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n"


def refusal(raw: bytes) -> str:
    with pytest.raises(Malformed) as refused:
        parse_request_head(raw)
    assert refused.value.reason == str(refused.value)
    return refused.value.reason


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


# Edits


def test_a_new_target_changes_only_the_target() -> None:
    edited = with_fields(parse_request_head(WEBHOOK), target="/b?c")
    assert edited.raw == WEBHOOK.replace(b"/voice/webhook?a=1&b=%2F", b"/b?c")
    assert edited == parse_request_head(edited.raw)


def test_a_target_that_repeats_its_neighbours_is_still_told_apart() -> None:
    edited = with_fields(
        parse_request_head(request(first=b"GET /GET HTTP/1.1")), target="/HTTP/1.1"
    )
    assert edited.raw.startswith(b"GET /HTTP/1.1 HTTP/1.1\r\n")


def test_a_set_field_takes_the_place_of_its_first_line_and_of_all_others() -> None:
    edited = with_fields(parse_request_head(WEBHOOK), set_fields=[("VIA", "1.1 d")])
    changed = WEBHOOK.replace(b"Via: 1.1 a", b"VIA: 1.1 d").replace(b"via: 1.1 b,1.1 c\r\n", b"")
    assert edited.raw == changed
    assert edited == parse_request_head(changed)


def test_a_set_field_that_was_not_there_comes_last() -> None:
    edited = with_fields(parse_request_head(WEBHOOK), set_fields=[("X-New", "caf\xe9"), ("B", "")])
    assert edited.raw == WEBHOOK[:-2] + b"X-New: caf\xe9\r\nB: \r\n\r\n"


def test_a_removed_field_goes_with_all_its_lines_in_any_case() -> None:
    edited = with_fields(parse_request_head(WEBHOOK), remove=["VIA", "Missing", "empty"])
    for line in (b"Via: 1.1 a\r\n", b"via: 1.1 b,1.1 c\r\n", b"Empty:\r\n"):
        assert line in WEBHOOK
        assert line not in edited.raw
    assert len(edited.raw) == len(WEBHOOK) - len(b"Via: 1.1 a\r\nvia: 1.1 b,1.1 c\r\nEmpty:\r\n")


def test_a_field_that_is_set_and_removed_is_set() -> None:
    edited = with_fields(parse_request_head(WEBHOOK), set_fields=[("Via", "d")], remove=["via"])
    assert edited.values("Via") == ["d"]


def test_the_last_field_can_go_and_the_first_can_come() -> None:
    bare = with_fields(parse_request_head(request()), remove=["Host"])
    assert bare.raw == b"GET / HTTP/1.1\r\n\r\n"
    assert with_fields(bare, set_fields=[("Host", "a")]).raw == request()


def test_a_response_is_edited_like_a_request() -> None:
    head = parse_response_head(ANSWER)
    assert with_response_fields(head) == head
    edited = with_response_fields(head, set_fields=[("X", "y")], remove=["Set-Cookie"])
    assert edited.raw == (
        b"HTTP/1.1 200 All Right\r\nContent-type: text/xml\r\nContent-Length: 0\r\nX: y\r\n\r\n"
    )
    assert edited == parse_response_head(edited.raw)


# Properties

NAMES = st.sampled_from(["Via", "via", "VIA", "X-A", "x-a", "!#$%&'*+-.^_`|~0", "Upgrade", "z"])
VALUES = st.sampled_from(["", "a", "b, c", "caf\xe9", "a:b", ":", '"', "\x01\x7f", "x" * 300])
PADDINGS = st.sampled_from(["", " ", "\t", " \t "])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


@st.composite
def request_heads(draw: st.DrawFn) -> RequestHead:
    """A head of well-formed lines, as strange as the grammar allows."""
    fields, before, behind = draw(FIELDS), draw(PADDINGS), draw(PADDINGS)
    lines = [f"{name}:{before}{value}{behind}".encode("latin-1") for name, value in fields]
    head = parse_request_head(request(*lines))
    assert head.raw == request(*lines)
    assert head.fields == (("Host", "a"), *fields)
    return head


@given(request_heads())
@quickly
def test_an_edit_with_nothing_to_do_is_the_identity(head: RequestHead) -> None:
    assert with_fields(head) == head
    assert with_fields(head, target=head.target) == head
    assert with_fields(head, remove=["Not-There"]) == head


@given(request_heads(), FIELDS, st.lists(NAMES, max_size=3))
@quickly
def test_an_edit_leaves_every_other_line_alone(
    head: RequestHead, due: list[tuple[str, str]], gone: list[str]
) -> None:
    edited = with_fields(head, set_fields=due, remove=gone)
    assert edited == parse_request_head(edited.raw)
    touched = {name.lower() for name in (*gone, *dict(due))}

    def untouched(raw: bytes) -> list[bytes]:
        lines = raw.split(b"\r\n")
        return [line for line in lines if line.partition(b":")[0].decode().lower() not in touched]

    assert untouched(edited.raw) == untouched(head.raw)
    last = {name.lower(): value for name, value in due}
    assert all(edited.values(name) == [value] for name, value in last.items())
    assert not any(edited.values(name) for name in gone if name.lower() not in last)


PARTS = [b"GET / HTTP/1.1", b"HTTP/1.1 200 OK", b"\r\n", b"\r\n", b"\r\n\r\n", b"Host: a", b"A:"]
NEARLY_A_HEAD = st.lists(st.sampled_from([*PARTS, b"\r", b"\n", b"\0", b" ", b":", b"\xff"]))


@given(NEARLY_A_HEAD.map(b"".join) | st.binary())
@settings(quickly, max_examples=50)
def test_arbitrary_bytes_are_parsed_or_refused_and_never_worse(raw: bytes) -> None:
    for parse in (parse_request_head, parse_response_head):
        try:
            head: RequestHead | ResponseHead = parse(raw)
        except Malformed as malformed:
            assert malformed.reason  # noqa: PT017 - a refusal is one of the two good ends
        else:
            assert head.raw == raw
            assert head_end(raw + b"more") == len(raw)
