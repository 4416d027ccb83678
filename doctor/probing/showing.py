"""What may be written down of an exchange: proxy/redact.py's rules, and what probes need beside."""

import re

from doctor.evidence import Pairs
from proxy.http1 import Fields
from proxy.redact import shown_raw_head, shown_target, shown_text, shown_value

FIRST_BYTES_LIMIT = 300
_REQUEST_LINE = "GET / HTTP/1.1\r\n"


def printable(data: bytes) -> str:
    """The beginning of some bytes, with escapes where they are no text."""
    text = shown_text(data[:FIRST_BYTES_LIMIT].decode("latin-1"))
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)


def shown_strange(data: bytes) -> str:
    """What came in place of a head: if it looks like one, without what its fields may hold."""
    if not data.startswith(b"HTTP/"):
        return printable(data)
    first, ending, rest = data.partition(b"\n")
    hidden = shown_raw_head(_REQUEST_LINE.encode() + rest).removeprefix(_REQUEST_LINE)
    return printable(first + ending) + printable(hidden.encode("latin-1"))


def shown_pairs(fields: Fields) -> Pairs:
    """Fields in their order, without the values that may be secrets."""
    return tuple((name, _shown(name, value)) for name, value in fields)


def _shown(name: str, value: str) -> str | None:
    key = name.lower()
    if key == "location":
        return shown_location(value)
    if key == "www-authenticate":
        return value.partition(" ")[0][:32]
    return shown_value(name, value)


def shown_location(value: str) -> str:
    """Where a redirect leads, its query hidden as a target's is."""
    found = re.match(r"([a-z]+:)?//([^/?#]*)", value)
    if found is None:
        return shown_target(value)
    host = found[2].rpartition("@")[2]
    return f"{found[1] or ''}//{host}{shown_target(value[found.end() :])}"
