"""HTTP/1.x heads as they were received (RFC 9112 sections 2 to 5): parsed, never rewritten.

A head is evidence before it is an instruction: `raw` keeps every byte, `fields` keeps order,
spelling and case. What two parsers could read differently is refused with its reason, because a
request that the hop in front and the gateway behind read differently is how requests are
smuggled (RFC 9112 section 11).

Text is decoded as latin-1, which maps each byte to one character and back.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

Fields = tuple[tuple[str, str], ...]

# RFC 9110 section 5.6.2: the characters of a token.
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/(\d)\.(\d)")
# RFC 9110 sections 4.2.1 and 4.2.4: an empty host is invalid, and a userinfo an error.
_ABSOLUTE = re.compile(r"https?://([^/?#@:][^/?#@]*)(?:[/?]|$)")
# The space before an empty reason phrase is often forgotten, and nobody misreads its absence.
_STATUS_LINE = re.compile(r"HTTP/(1)\.([01]) ([1-9]\d\d)(?: ([\t -\xff]*))?")


class Malformed(Exception):  # noqa: N818 - a verdict on a peer's message, not an error of ours
    """A message that must not be passed on. `reason` is one sentence for the log and the 400."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Head:
    """What both kinds of head share. `version` is "1.0" or "1.1"."""

    raw: bytes
    version: str
    fields: Fields = field(repr=False)

    def values(self, name: str) -> list[str]:
        """All values of a field, one for each line it came in; names match in any case."""
        name = name.lower()
        return [value for key, value in self.fields if key.lower() == name]

    def value(self, name: str) -> str | None:
        """The value of a field, its lines joined by a comma (RFC 9110 section 5.3), or None."""
        values = self.values(name)
        return ", ".join(values) if values else None

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated field lists a token, compared without case."""
        return token.lower() in (item.lower() for item in list_items(self.values(name)))

    @property
    def has_close(self) -> bool:
        return self.has_token("Connection", "close")

    @property
    def has_keep_alive(self) -> bool:
        return self.has_token("Connection", "keep-alive")


@dataclass(frozen=True, slots=True)
class RequestHead(Head):
    method: str
    target: str


@dataclass(frozen=True, slots=True)
class ResponseHead(Head):
    status: int
    phrase: str


def list_items(values: Iterable[str]) -> list[str]:
    """The members of a comma-separated field, in order, without the empty ones."""
    return [item for value in values for part in value.split(",") if (item := part.strip(" \t"))]


def head_end(buffer: bytes | bytearray) -> int:
    """The length of the head at the start of the buffer, or 0 while its empty line is missing.

    Raises Malformed as soon as a line is seen that ends in a bare LF or holds a bare CR, so that
    nobody waits for an end that will never be recognised.
    """
    end = buffer.find(b"\r\n\r\n")
    complete = buffer[: end + 4] if end >= 0 else buffer
    line_feeds, pairs = complete.count(b"\n"), complete.count(b"\r\n")
    if line_feeds != pairs:
        raise Malformed("a line of the head ends in a bare LF")
    carriage_returns = complete.count(b"\r")
    # The last byte may be a CR whose LF has not arrived.
    if carriage_returns - pairs > (1 if end < 0 and complete.endswith(b"\r") else 0):
        raise Malformed("a bare CR stands in the head")
    return end + 4 if end >= 0 else 0


def parse_request_head(raw: bytes) -> RequestHead:
    """Parse a complete request head. Raises Malformed with the reason."""
    first, fields = _parse_lines(raw)
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise Malformed(_explain_request_line(first))
    method, target, major, minor = found.groups()
    if major != "1":
        raise Malformed(f"HTTP/{major}.{minor} is not spoken here, only HTTP/1.0 and HTTP/1.1")
    version = "1.0" if minor == "0" else "1.1"  # RFC 9110 section 2.5: 1.2 is read as 1.1
    if method == "CONNECT":
        raise Malformed("CONNECT asks for a forward proxy, and this is a reverse proxy")
    if target == "*" and method != "OPTIONS":
        raise Malformed("only OPTIONS may ask for *")  # RFC 9112 section 3.2.4
    if target != "*" and not target.startswith(("/", "http://", "https://")):
        raise Malformed("the request target is neither a path nor an absolute URL")
    absolute = _ABSOLUTE.match(target)
    if target.startswith("http") and absolute is None:
        raise Malformed("the authority of the absolute target is not a host")
    head = RequestHead(raw, version, fields, method, target)
    hosts = head.values("Host")
    if len(hosts) > 1:
        raise Malformed("more than one Host")  # RFC 9112 section 3.2
    if version == "1.1" and not hosts:
        raise Malformed("an HTTP/1.1 request without Host")
    if hosts and re.search(r"[\s,/@?#]", hosts[0]):
        raise Malformed("Host is not a host")
    # A gateway may believe either (RFC 9112 section 3.2.2), and we would have routed by one.
    if absolute is not None and hosts and absolute[1].lower() != hosts[0].lower():
        raise Malformed("the absolute target and Host name different authorities")
    return head


def parse_response_head(raw: bytes) -> ResponseHead:
    """Parse a complete response head. Raises Malformed with the reason."""
    first, fields = _parse_lines(raw)
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise Malformed("the status line is not HTTP/1.x")
    _, minor, status, phrase = found.groups()
    return ResponseHead(raw, f"1.{minor}", fields, int(status), phrase or "")


def _parse_lines(raw: bytes) -> tuple[str, Fields]:
    if b"\0" in raw:
        raise Malformed("a NUL stands in the head")
    if head_end(raw) != len(raw):
        raise Malformed("the head does not end in one empty line")
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    return first, tuple(_parse_field(line) for line in lines)


def _parse_field(line: str) -> tuple[str, str]:
    if line[0] in " \t":  # RFC 9112 section 5.2; never empty: the first empty line ended the head
        raise Malformed("a header line is folded (obsolete since RFC 7230)")
    name, colon, value = line.partition(":")
    if not colon:
        raise Malformed("a header line has no colon")
    if name != name.rstrip(" \t"):  # RFC 9112 section 5.1: MUST be rejected with 400
        raise Malformed("white space stands before the colon of a header line")
    if TOKEN.fullmatch(name) is None:
        raise Malformed("a header name is not a token")
    return name, value.strip(" \t")


def _explain_request_line(line: str) -> str:
    if line.startswith("HTTP/"):
        return "a response arrived where a request was due"
    if line.count(" ") < 2:
        return "the request line has fewer than three parts (HTTP/0.9?)"
    return "the request line is not 'method SP target SP HTTP/1.x'"


def with_fields(
    head: RequestHead,
    *,
    target: str | None = None,
    set_fields: Sequence[tuple[str, str]] = (),
    remove: Sequence[str] = (),
) -> RequestHead:
    """The same head with what a route changes, every other byte as received."""
    first_end = head.raw.index(b"\r\n")
    first = head.raw[:first_end]
    if target is not None and target != head.target:
        # The target is the middle of three parts, and neither neighbour holds a space.
        method, _, rest = first.partition(b" ")
        first = method + b" " + target.encode("latin-1") + b" " + rest.rpartition(b" ")[2]
    raw, fields = edit_fields(head.raw[first_end:], head.fields, set_fields, remove)
    return replace(head, raw=first + raw, fields=fields, target=target or head.target)


def with_response_fields(
    head: ResponseHead, *, set_fields: Sequence[tuple[str, str]] = (), remove: Sequence[str] = ()
) -> ResponseHead:
    """The response counterpart of `with_fields`."""
    first_end = head.raw.index(b"\r\n")
    raw, fields = edit_fields(head.raw[first_end:], head.fields, set_fields, remove)
    return replace(head, raw=head.raw[:first_end] + raw, fields=fields)


def edit_fields(
    block: bytes, fields: Fields, set_fields: Sequence[tuple[str, str]], remove: Sequence[str]
) -> tuple[bytes, Fields]:
    """Remove and set fields in a block that starts with the CRLF of the first line.

    A field that is set takes the place of its first occurrence, or comes last.
    """
    if not set_fields and not remove:
        return block, fields
    gone = {name.lower() for name in remove}
    due = {name.lower(): (name, value) for name, value in set_fields}
    lines = block[2:-4].split(b"\r\n") if len(block) > 4 else []
    kept: list[tuple[bytes, tuple[str, str]]] = []
    placed: set[str] = set()
    for line, pair in zip(lines, fields, strict=True):
        key = pair[0].lower()
        if key in due:
            if key not in placed:
                kept.append((_field_line(due[key]), due[key]))
                placed.add(key)
        elif key not in gone:
            kept.append((line, pair))
    kept += [(_field_line(pair), pair) for key, pair in due.items() if key not in placed]
    raw = b"".join(b"\r\n" + line for line, _ in kept) + b"\r\n\r\n"
    return raw, tuple(pair for _, pair in kept)


def _field_line(pair: tuple[str, str]) -> bytes:
    return f"{pair[0]}: {pair[1]}".encode("latin-1")
