"""What may be written down of an exchange: proxy/redact.py's rules, and what probes need beside."""

import re

from doctor.evidence import Pairs
from proxy.http1 import Fields
from proxy.redact import HIDDEN, shown_raw_head, shown_target, shown_text, shown_value

FIRST_BYTES_LIMIT = 300
_REQUEST_LINE = "GET / HTTP/1.1\r\n"
# What is called a secret where it stands, and credentials of HTTP (RFC 9110 section 11.4).
_NAMES = r"[\w.-]{0,40}(?:token|secret|passw(?:or)?d|api[_-]?key|signature)[\w-]{0,40}"
_NAMED = re.compile(rf"({_NAMES}=)[^\s&;,\"'<>()]+", re.IGNORECASE)
_QUOTED = re.compile(rf"([\"']{_NAMES}[\"']\s*:\s*([\"']))(?:(?!\2).)+", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]*[\d/+=._~-][\w.~+/=-]*")
_USERINFO = re.compile(r"(?<=://)[^\s/?#@]*@")


def shown_words(text: str) -> str:
    """A peer's page or a line of a configuration, without what looks like or is named a secret."""
    text = _CREDENTIALS.sub(rf"\1 {HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", text))
    named = _QUOTED.sub(rf"\1{HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))
    return shown_text(named)


def printable(data: bytes) -> str:
    """The beginning of some bytes, with escapes where they are no text."""
    text = shown_words(data[:FIRST_BYTES_LIMIT].decode("latin-1"))
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
