"""Message framing: exactly the bytes of a body are taken, and never one that was not understood."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds import every_split
from proxy.body import (
    CHUNK_LINE_LIMIT,
    TRAILER_LIMIT,
    Body,
    BodyCopy,
    ChunkedBody,
    CloseBody,
    LengthBody,
    request_body,
    response_body,
)
from proxy.http1 import Malformed, RequestHead, ResponseHead

NEXT_REQUEST = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = (
    b'4\r\nWiki\r\n7;name=value\r\npedia i\r\n00B ; quoted="a;b" ;x\r\nn \r\nchunks.\r\n0\r\n\r\n'
)
quickly = settings(derandomize=True, deadline=None, max_examples=25)


def receive(body: Body, pieces: Iterable[bytes], taken: bytearray) -> None:
    """Feed a reader as a wire does: what it does not take stays in front of what comes next."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        count = body.receive_data(buffer)
        assert 0 <= count <= len(buffer)
        taken += buffer[:count]
        del buffer[:count]


def copied(body: Body) -> bytes:
    assert body.copy is not None
    assert not body.copy.is_cut
    return bytes(body.copy.data)


# Bodies that are whole


@pytest.mark.parametrize("behind", [b"", b"\r\n", NEXT_REQUEST], ids=["", "CRLF", "request"])
@pytest.mark.parametrize(
    ("start", "wire", "content"),
    [
        pytest.param(lambda: LengthBody(0), b"", b"", id="none"),
        pytest.param(lambda: LengthBody(5), b"a\r\n\0b", b"a\r\n\0b", id="length"),
        pytest.param(ChunkedBody, CHUNKS, b"Wikipedia in \r\nchunks.", id="chunks"),
        pytest.param(ChunkedBody, b"0\r\n\r\n", b"", id="no chunk"),
        pytest.param(ChunkedBody, b"000\r\n\r\n", b"", id="three zeros"),
        pytest.param(ChunkedBody, b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="content is CRLF"),
        pytest.param(ChunkedBody, b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", id="content ends"),
        pytest.param(ChunkedBody, b"1 \t\r\na\r\n0\r\n\r\n", b"a", id="padded size"),
        pytest.param(ChunkedBody, b"0;last\r\n\r\n", b"", id="extension of the last"),
        pytest.param(ChunkedBody, b"1\r\na\r\n0\r\nA: b\r\nX:\r\n\r\n", b"a", id="trailers"),
    ],
)
def test_exactly_the_body_is_taken_and_its_content_copied(
    start: Callable[[], Body], wire: bytes, content: bytes, behind: bytes
) -> None:
    for pieces in every_split(wire + behind):
        body, taken = start(), bytearray()
        body.copy = BodyCopy(1000)
        receive(body, pieces, taken)
        assert bytes(taken) == wire
        assert body.is_complete
        assert copied(body) == content
        assert body.receive_data(bytearray(b"more")) == 0


@pytest.mark.parametrize("size", ["f", "F", "00f", "10", "1f", "1F", "fff"])
def test_a_chunk_size_is_hexadecimal_in_either_case(size: str) -> None:
    content = b"x" * int(size, 16)
    body, wire = ChunkedBody(), size.encode() + b"\r\n" + content + b"\r\n0\r\n\r\n"
    assert body.receive_data(bytearray(wire)) == len(wire)
    assert body.is_complete


def test_the_largest_size_is_counted_and_not_waited_for() -> None:
    body = ChunkedBody()
    assert body.receive_data(bytearray(b"f" * 15 + b"\r\n" + b"x" * 100)) == 117
    assert body.receive_data(bytearray(b"x" * 100)) == 100
    assert not body.is_complete


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=4), st.booleans())
@quickly
def test_any_content_in_any_chunks_is_found_again(chunks: list[bytes], has_trailer: bool) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    wire += b"0\r\nA: b\r\n\r\n" if has_trailer else b"0\r\n\r\n"
    for pieces in every_split(wire + NEXT_REQUEST):
        body, taken = ChunkedBody(), bytearray()
        body.copy = BodyCopy(1000)
        receive(body, pieces, taken)
        assert bytes(taken) == wire
        assert copied(body) == b"".join(chunks)


# Bodies that end early, or with the connection


@pytest.mark.parametrize("start", [lambda: LengthBody(len(CHUNKS) + 1), ChunkedBody])
def test_an_early_end_leaves_a_delimited_body_incomplete(start: Callable[[], Body]) -> None:
    body = start()
    body.receive_data(bytearray(CHUNKS[:-1]))
    body.receive_eof()
    assert not body.is_complete


def test_a_body_without_a_length_lasts_until_the_server_closes() -> None:
    for pieces in every_split(CHUNKS + NEXT_REQUEST):
        body, taken = CloseBody(), bytearray()
        body.copy = BodyCopy(1000)
        receive(body, pieces, taken)
        assert bytes(taken) == copied(body) == CHUNKS + NEXT_REQUEST
        assert not body.is_complete
        body.receive_eof()
        assert body.is_complete


def test_the_end_of_the_connection_changes_nothing_about_a_complete_body() -> None:
    body = ChunkedBody()
    body.receive_data(bytearray(CHUNKS))
    body.receive_eof()
    assert body.is_complete


# Chunks that are refused


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param(b"", b"-5\r\nabcde\r\n", id="minus"),
        pytest.param(b"", b"+5\r\nabcde\r\n", id="plus"),
        pytest.param(b"", b"0x5\r\nabcde\r\n", id="0x"),
        pytest.param(b"", b"5_0\r\n", id="underscore"),
        pytest.param(b"", b" 5\r\nabcde\r\n", id="space before the size"),
        pytest.param(b"", b"5 5\r\nabcde\r\n", id="two sizes"),
        pytest.param(b"", b"5,5\r\nabcde\r\n", id="list of sizes"),
        pytest.param(b"", b"g\r\n", id="no digit"),
        pytest.param(b"", b"\xb2\r\nab\r\n", id="superscript digit"),
        pytest.param(b"", b"\r\nabcde", id="empty size"),
        pytest.param(b"", b";a=b\r\nabcde", id="extension alone"),
        pytest.param(b"", b"0000000000000005\r\nabcde\r\n", id="16 digits"),
        pytest.param(b"", b"ffffffffffffffffff\r\n", id="overflow"),
        pytest.param(b"", b"5\nabcde\r\n", id="bare LF behind the size"),
        pytest.param(b"", b"5\r\r\nabcde\r\n", id="two CR behind the size"),
        pytest.param(b"", b"5;a\rb\r\nabcde\r\n", id="bare CR in the extension"),
        pytest.param(b"", b"5;a\nabcde\r\n", id="bare LF behind the extension"),
        pytest.param(b"", b"5;a\0\r\nabcde\r\n", id="NUL in the extension"),
        pytest.param(b"", b"5;a\x7f\r\nabcde\r\n", id="DEL in the extension"),
        pytest.param(b"", b"5 a=b\r\nabcde\r\n", id="extension without a semicolon"),
        pytest.param(b"1\r\na\r\n", b"-1\r\n", id="second size"),
        pytest.param(b"3\r\nabc", b"0\r\n\r\n", id="no CRLF behind the chunk"),
        pytest.param(b"3\r\nabc", b"\n0\r\n\r\n", id="bare LF behind the chunk"),
        pytest.param(b"3\r\nabc\r", b"0\r\n\r\n", id="bare CR behind the chunk"),
        pytest.param(b"3\r\nabc", b"\r\r\n0\r\n\r\n", id="two CR behind the chunk"),
        pytest.param(b"3\r\nabc", b"d\r\n0\r\n\r\n", id="chunk longer than its size"),
        pytest.param(b"0\r\n", b"no colon\r\n\r\n", id="trailer without a colon"),
        pytest.param(b"0\r\n", b": a\r\n\r\n", id="trailer without a name"),
        pytest.param(b"0\r\n", b"A : b\r\n\r\n", id="space before the trailer's colon"),
        pytest.param(b"0\r\n", b" A: b\r\n\r\n", id="trailer starts with a space"),
        pytest.param(b"0\r\nA: b\r\n", b" c: d\r\n\r\n", id="folded trailer"),
        pytest.param(b"0\r\n", b"A: b\n\r\n", id="bare LF behind a trailer"),
        pytest.param(b"0\r\n", b"\n", id="bare LF at the end"),
        pytest.param(b"0\r\n", b"A: b\rC: d\r\n\r\n", id="bare CR in a trailer"),
        pytest.param(b"0\r\n", b"A: b\r\r\n\r\n", id="two CR behind a trailer"),
        pytest.param(b"0\r\n", b"A: b\0\r\n\r\n", id="NUL in a trailer"),
        pytest.param(b"0\r\n", b"GET / HTTP/1.1\r\n\r\n", id="request instead of the end"),
    ],
)
def test_a_malformed_chunk_is_refused_before_any_of_it_is_taken(good: bytes, bad: bytes) -> None:
    for pieces in every_split(good + bad):
        taken = bytearray()
        with pytest.raises(Malformed):
            receive(ChunkedBody(), pieces, taken)
        # A CR behind a chunk may be taken before the LF that it lacks.
        assert good.startswith(taken) or bytes(taken) == good + b"\r"


@pytest.mark.parametrize(
    "line", [b"-", b"0x", b"g", b" ", b";", b"\r", b"0" * 16, b"1\r\r", b"1;\0"]
)
def test_a_size_that_nothing_can_mend_is_refused_before_its_line_ends(line: bytes) -> None:
    with pytest.raises(Malformed, match="not a hexadecimal number"):
        ChunkedBody().receive_data(bytearray(line))


@pytest.mark.parametrize("line", [b"", b"5", b"5\r", b"5 ", b"5;", b'5;a="\xe9', b"f" * 15])
def test_a_size_that_may_still_become_one_is_waited_for(line: bytes) -> None:
    assert ChunkedBody().receive_data(bytearray(line)) == 0


def test_an_extension_may_fill_its_line_and_not_a_byte_more() -> None:
    longest = b"1;" + b"x" * (CHUNK_LINE_LIMIT - 4) + b"\r\n"
    body = ChunkedBody()
    assert body.receive_data(bytearray(longest + b"a\r\n0\r\n\r\n")) == CHUNK_LINE_LIMIT + 8
    assert body.is_complete
    with pytest.raises(Malformed, match="too long"):
        ChunkedBody().receive_data(bytearray(longest.replace(b";", b";x")))
    with pytest.raises(Malformed, match="too long"):
        ChunkedBody().receive_data(bytearray(b"1;" + b"x" * (CHUNK_LINE_LIMIT - 2)))


def test_trailers_are_bounded_together_and_not_line_by_line() -> None:
    line = b"A: " + b"x" * 1019 + b"\r\n"
    lines = [b"0\r\n", *[line] * (TRAILER_LIMIT // len(line) - 1), line.replace(b"xxx", b"x", 1)]
    for pieces in ([*lines, b"\r\n"], [b"".join(lines) + b"\r\n"]):
        body = ChunkedBody()
        receive(body, pieces, bytearray())
        assert body.is_complete
    for pieces in ([*lines[:-1], line, b"\r\n"], [b"".join(lines[:-1]) + b"x" + lines[-1]]):
        with pytest.raises(Malformed, match="trailers are too long"):
            receive(ChunkedBody(), [*pieces, b"\r\n"], bytearray())


def test_a_size_that_is_cut_behind_a_large_chunk_is_waited_for() -> None:
    body, chunk = ChunkedBody(), b"%x\r\n%b\r\n" % (CHUNK_LINE_LIMIT, bytes(CHUNK_LINE_LIMIT))
    assert body.receive_data(bytearray(chunk + b"5;a")) == len(chunk)
    assert body.receive_data(bytearray(b"5;a\r\n")) == 5


PARTS = [b"0\r\n", b"1\r\n", b"2;x\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b"a", b"A: b\r\n", b" "]


@given(st.lists(st.sampled_from(PARTS)).map(b"".join) | st.binary())
@settings(quickly, max_examples=60)
def test_arbitrary_bytes_get_the_same_verdict_however_they_are_cut(data: bytes) -> None:
    ends = []
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        body, taken, refused = ChunkedBody(), bytearray(), False
        body.copy = BodyCopy(1000)
        try:
            receive(body, pieces, taken)
        except Malformed:
            refused = True
        else:
            assert data.startswith(taken)
        ends.append((refused, body.is_complete, refused or (bytes(taken), copied(body))))
    assert ends[0] == ends[1]


# Copies


def test_a_copy_holds_up_to_its_limit_and_says_when_that_was_not_all() -> None:
    for pieces in every_split(b"12345"):
        exact, short = BodyCopy(5), BodyCopy(4)
        for piece in pieces:
            exact.receive_data(piece)
            short.receive_data(piece)
        assert bytes(exact.data) == b"12345"
        assert not exact.is_cut
        assert short.is_cut
        assert len(short.data) <= 4
        short.receive_data(b"")
        assert short.is_cut


def test_a_copy_that_was_cut_stays_cut() -> None:
    copy = BodyCopy(2)
    copy.receive_data(b"abc")
    copy.receive_data(b"d")
    assert copy.is_cut
    assert not copy.data


# Which body a head announces


def request(*fields: tuple[str, str], version: str = "1.1", method: str = "POST") -> RequestHead:
    return RequestHead(b"", version, fields, method, "/")


def response(*fields: tuple[str, str], status: int = 200, version: str = "1.1") -> ResponseHead:
    return ResponseHead(b"", version, fields, status, "")


@pytest.mark.parametrize(
    ("value", "length"), [("0", 0), ("5", 5), ("007", 7), ("9" * 18, int("9" * 18))]
)
def test_a_content_length_is_the_length(value: str, length: int) -> None:
    for body in (
        request_body(request(("content-length", value))),
        response_body(response(("Content-Length", value)), "GET"),
    ):
        assert type(body) is LengthBody
        assert body.is_complete is (length == 0)
        assert body.receive_data(bytearray(b"123456789")) == min(length, 9)


@pytest.mark.parametrize(
    "value",
    [
        "chunked",
        "Chunked",
        "gzip, chunked",
        "x-gzip,deflate , chunked",
        "compress, x-compress, chunked",
        ", chunked,",
    ],
)
def test_chunked_as_the_last_coding_delimits(value: str) -> None:
    field = ("Transfer-Encoding", value)
    assert type(request_body(request(field))) is ChunkedBody
    assert type(response_body(response(field), "GET")) is ChunkedBody


def test_without_a_length_a_request_has_no_body_and_a_response_lasts_until_close() -> None:
    body = request_body(request())
    assert body.is_complete
    assert body.receive_data(bytearray(NEXT_REQUEST)) == 0
    assert type(response_body(response(), "GET")) is CloseBody
    assert type(response_body(response(version="1.0"), "GET")) is CloseBody


@pytest.mark.parametrize(
    "fields", [[], [("Content-Length", "5")], [("Transfer-Encoding", "chunked")]]
)
@pytest.mark.parametrize(
    ("status", "method"), [(200, "HEAD"), (100, "GET"), (101, "GET"), (204, "GET"), (304, "GET")]
)
def test_some_responses_have_no_body_whatever_they_announce(
    status: int, method: str, fields: list[tuple[str, str]]
) -> None:
    body = response_body(response(*fields, status=status), method)
    assert body.is_complete
    assert body.receive_data(bytearray(b"next")) == 0


LENGTH, CHUNKED = ("Content-Length", "5"), ("Transfer-Encoding", "chunked")


@pytest.mark.parametrize(
    ("fields", "version", "reason"),
    [
        pytest.param([LENGTH, CHUNKED], "1.1", "both", id="both"),
        pytest.param([CHUNKED, LENGTH], "1.1", "both", id="both, the other way"),
        pytest.param([CHUNKED, ("Content-Length", "0")], "1.1", "both", id="both, length 0"),
        pytest.param([LENGTH, LENGTH], "1.1", "repeated", id="the same length twice"),
        pytest.param([LENGTH, ("content-length", "6")], "1.1", "repeated", id="two lengths"),
        pytest.param([("Content-Length", "5, 5")], "1.1", "not a number", id="list of lengths"),
        pytest.param([("Content-Length", "-5")], "1.1", "not a number", id="minus"),
        pytest.param([("Content-Length", "+5")], "1.1", "not a number", id="plus"),
        pytest.param([("Content-Length", "0x5")], "1.1", "not a number", id="hexadecimal"),
        pytest.param([("Content-Length", "5_0")], "1.1", "not a number", id="underscore"),
        pytest.param([("Content-Length", "5 0")], "1.1", "not a number", id="space inside"),
        pytest.param([("Content-Length", "5.0")], "1.1", "not a number", id="decimal"),
        pytest.param([("Content-Length", "")], "1.1", "not a number", id="empty length"),
        pytest.param([("Content-Length", "\xb2")], "1.1", "not a number", id="superscript"),
        pytest.param([("Content-Length", "5\x0b")], "1.1", "not a number", id="control behind"),
        pytest.param([("Content-Length", "9" * 19)], "1.1", "not a number", id="huge"),
        pytest.param([CHUNKED], "1.0", "HTTP/1.0", id="chunked in 1.0"),
        pytest.param([CHUNKED, CHUNKED], "1.1", "repeated", id="two lines of codings"),
        pytest.param([("Transfer-Encoding", "gzip")], "1.1", "ends in chunked", id="not last"),
        pytest.param([("Transfer-Encoding", "chunked, gzip")], "1.1", "ends in", id="gzip last"),
        pytest.param([("Transfer-Encoding", "chunked, chunked")], "1.1", "known", id="twice"),
        pytest.param([("Transfer-Encoding", "identity")], "1.1", "ends in", id="identity"),
        pytest.param([("Transfer-Encoding", "identity, chunked")], "1.1", "known", id="unknown"),
        pytest.param([("Transfer-Encoding", "xchunked")], "1.1", "ends in", id="xchunked"),
        pytest.param([("Transfer-Encoding", "chunked;q=1")], "1.1", "ends in", id="parameter"),
        pytest.param([("Transfer-Encoding", '"chunked"')], "1.1", "ends in", id="quoted"),
        pytest.param([("Transfer-Encoding", "\x0bchunked")], "1.1", "ends in", id="control"),
        pytest.param([("Transfer-Encoding", "")], "1.1", "ends in chunked", id="empty coding"),
    ],
)
def test_ambiguous_framing_is_refused_in_both_directions(
    fields: list[tuple[str, str]], version: str, reason: str
) -> None:
    with pytest.raises(Malformed, match=reason):
        request_body(request(*fields, version=version))
    with pytest.raises(Malformed, match=reason):
        response_body(response(*fields, version=version), "GET")
