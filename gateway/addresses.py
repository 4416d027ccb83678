"""Where the gateway listens, and the public URL under which Twilio finds it (pure).

Signatures are made over URLs as they are written, so a public URL is kept letter for letter.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_STREAM_SCHEMES = {"https": "wss", "http": "ws"}
# RFC 3986 section 3.2.2, as far as anyone names a server. Neither userinfo nor an IPv6 zone.
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")


class HostPort(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or address (IPv6 without its brackets) is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_host_port(text: object) -> HostPort:
    """HOST:PORT, with an IPv6 address in brackets. Raises ValueError."""
    if isinstance(text, HostPort):
        return text
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", str(text))
    if found is None or int(found[3]) > 65535:
        raise ValueError("should be HOST:PORT, for example 127.0.0.1:8081 or [::1]:8081")
    return HostPort(found[1] or found[2], int(found[3]))


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """https://voice.example.com, perhaps with a port and with a path that an ingress strips.

    `authority` is host and port as written; `prefix` is "" or starts with / and ends without.
    """

    scheme: str
    authority: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def host(self) -> str:
        """The host alone, IPv6 without its brackets."""
        return (urlsplit(str(self)).hostname or "").lower()

    def url(self, target: str) -> str:
        """The public URL of one of our paths, with or without a query."""
        return f"{self}{target}"

    def stream_url(self, path: str) -> str:
        """The same for the WebSocket: wss, or ws where the public URL is plain http."""
        return f"{_STREAM_SCHEMES[self.scheme]}://{self.authority}{self.prefix}{path}"

    def local(self, target: str) -> str:
        """A request's target without our prefix, which not every ingress strips."""
        if self.prefix and target.startswith(self.prefix + "/"):
            return target[len(self.prefix) :]
        return target


def parse_public_url(text: object) -> PublicUrl:
    """https://HOST[:PORT][/PREFIX]; http only on loopback. Raises ValueError."""
    if isinstance(text, PublicUrl):
        return text
    scheme, found, rest = str(text).partition("://")
    authority, slash, path = rest.partition("/")
    parts = _AUTHORITY.fullmatch(authority)
    if scheme not in ("https", "http") or not found or parts is None:
        raise ValueError("should be https://HOST, for example https://voice.example.com")
    if int(parts[2] or 1) not in range(1, 65536):
        raise ValueError("has a port that is none (1 to 65535)")
    if re.search(r"[^!-~]|[?#]", path):
        raise ValueError("should have no query, no fragment and no blanks")
    prefix = (slash + path).rstrip("/")
    if "//" in prefix or re.search(r"/\.\.?(/|$)", prefix):
        raise ValueError("should have a plain path, without // and dot segments")
    url = PublicUrl(scheme, authority, prefix)
    if scheme == "http" and not is_loopback(url.host):
        raise ValueError("should be https://: Twilio opens streams over TLS alone (error 31922)")
    return url
