"""Where a message body ends (RFC 9112 sections 6 and 7), read without holding the body.

A reader is told what the buffer holds and answers how many of its leading bytes belong to the
body and may be passed on as they are. It never takes a byte that it has not understood: a chunk
size is judged before any of it is forwarded.
"""

import re

from proxy.http1 import TOKEN, Head, Malformed, RequestHead, ResponseHead, list_items

# A chunk-size line carries extensions, which nobody uses and attackers pad (Go CVE-2023-39326).
CHUNK_LINE_LIMIT = 1024
TRAILER_LIMIT = 16 * 1024
_DIGITS = re.compile(r"[0-9]{1,18}")  # below 2**63: no peer counts further
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_PARTIAL_SIZE = re.compile(rb"(?:%b\r?)?" % _CHUNK_SIZE.pattern)
# Transfer codings may precede "chunked"; it alone delimits (RFC 9112 section 6.1).
_CODINGS = {"gzip", "x-gzip", "compress", "x-compress", "deflate"}


class BodyCopy:
    """The first bytes of a body's content, for those few bodies that are worth reading."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit
        self.is_cut = False

    def receive_data(self, data: bytes | bytearray) -> None:
        self.is_cut = self.is_cut or len(self.data) + len(data) > self._limit
        if not self.is_cut:
            self.data += data


class LengthBody:
    """A body of a known number of bytes; 0 for none."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.copy: BodyCopy | None = None

    @property
    def is_complete(self) -> bool:
        return self._left == 0

    def receive_data(self, buffer: bytearray) -> int:
        """How many leading bytes of the buffer belong to the body."""
        taken = min(self._left, len(buffer))
        self._left -= taken
        if self.copy is not None:
            self.copy.receive_data(buffer[:taken])
        return taken

    def receive_eof(self) -> None:
        """Nothing: an early end leaves the body incomplete, which says it all."""


class CloseBody(LengthBody):
    """A response body that lasts until the server closes."""

    def __init__(self) -> None:
        super().__init__(1 << 63)

    def receive_eof(self) -> None:
        self._left = 0


class ChunkedBody:
    """A chunked body: sizes, data, trailers; each line judged before it is passed on."""

    def __init__(self) -> None:
        self._data_left = 0  # of the current chunk, its CRLF included
        self._in_trailers = False
        self._trailer_bytes = 0
        self.is_complete = False
        self.copy: BodyCopy | None = None

    def receive_data(self, buffer: bytearray) -> int:
        """How many leading bytes of the buffer belong to the body. Raises Malformed."""
        taken = 0
        while not self.is_complete and taken < len(buffer):
            step = self._read_chunk(buffer, taken) if self._data_left else self._line(buffer, taken)
            if not step:
                break
            taken += step
        return taken

    def receive_eof(self) -> None:
        """Nothing: an early end leaves the body incomplete, which says it all."""

    def _read_chunk(self, buffer: bytearray, start: int) -> int:
        step = min(self._data_left, len(buffer) - start)
        # The last two bytes that belong to a chunk are its CRLF.
        crlf_from = max(self._data_left - 2, 0)
        seen = bytes(buffer[start + crlf_from : start + step])
        if seen and seen != b"\r\n"[-self._data_left :][: len(seen)]:
            raise Malformed("a chunk is not followed by CRLF")
        if self.copy is not None:
            self.copy.receive_data(buffer[start : start + min(step, crlf_from)])
        self._data_left -= step
        return step

    def _line(self, buffer: bytearray, start: int) -> int:
        limit = TRAILER_LIMIT - self._trailer_bytes if self._in_trailers else CHUNK_LINE_LIMIT
        end = buffer.find(b"\n", start, start + limit)
        if end < 0:
            if len(buffer) - start >= limit:
                raise Malformed("a chunk-size line or the trailers are too long")
            self._check_partial(bytes(buffer[start:]))
            return 0
        line = bytes(buffer[start:end])
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Malformed("a line of the chunked body does not end in CRLF")
        if self._in_trailers:
            self._receive_trailer(line[:-1])
        else:
            self._receive_size(line[:-1])
        return end + 1 - start

    def _check_partial(self, line: bytes) -> None:
        """Refuse a size line early that no further byte can mend."""
        if not self._in_trailers and _PARTIAL_SIZE.fullmatch(line) is None:
            raise Malformed("a chunk size is not a hexadecimal number")

    def _receive_size(self, line: bytes) -> None:
        found = _CHUNK_SIZE.fullmatch(line)
        if found is None:
            raise Malformed("a chunk size is not a hexadecimal number")
        size = int(found[1], 16)
        if size:
            self._data_left = size + 2
        else:
            self._in_trailers = True

    def _receive_trailer(self, line: bytes) -> None:
        if not line:
            self.is_complete = True
            return
        self._trailer_bytes += len(line) + 2
        name, colon, _ = line.decode("latin-1").partition(":")
        if not colon or TOKEN.fullmatch(name) is None or b"\0" in line:
            raise Malformed("a trailer line is malformed")


Body = LengthBody | ChunkedBody


def request_body(head: RequestHead) -> Body:
    """The reader for a request's body (RFC 9112 section 6.3). Raises Malformed when ambiguous."""
    return _framed(head) or LengthBody(0)


def response_body(head: ResponseHead, request_method: str) -> Body:
    """The reader for a response's body (RFC 9112 section 6.3). Raises Malformed when ambiguous."""
    if request_method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return LengthBody(0)
    return _framed(head) or CloseBody()


def _framed(head: Head) -> Body | None:
    lengths, codings = head.values("Content-Length"), head.values("Transfer-Encoding")
    if lengths and codings:
        raise Malformed("both Content-Length and Transfer-Encoding")
    if codings:
        return _chunked(head, codings)
    if not lengths:
        return None
    if len(lengths) > 1:
        raise Malformed("Content-Length is repeated")
    if _DIGITS.fullmatch(lengths[0]) is None:
        raise Malformed("Content-Length is not a number")
    return LengthBody(int(lengths[0]))


def _chunked(head: Head, codings: list[str]) -> ChunkedBody:
    if head.version == "1.0":
        raise Malformed("Transfer-Encoding in an HTTP/1.0 message")
    if len(codings) > 1:
        raise Malformed("Transfer-Encoding is repeated")
    *before, last = [item.lower() for item in list_items(codings)] or [""]
    if last != "chunked" or not _CODINGS.issuperset(before):
        raise Malformed("Transfer-Encoding is not a known coding that ends in chunked")
    return ChunkedBody()
