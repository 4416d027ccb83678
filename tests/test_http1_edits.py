"""Edits of heads: what they change, and that they touch nothing else, whatever the head."""

from hypothesis import given, settings
from hypothesis import strategies as st

from made_heads import ANSWER, WEBHOOK, quickly, request
from proxy.http1 import (
    Malformed,
    RequestHead,
    ResponseHead,
    head_end,
    parse_request_head,
    parse_response_head,
    with_fields,
    with_response_fields,
)

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
