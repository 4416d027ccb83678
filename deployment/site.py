"""The values that configurations are written from, each checked before a text sees it (pure).

What a value may hold is an allow-list, narrower than what a URL may: no blank, quote, brace,
semicolon, dollar, backslash or line break of it reaches a configuration.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 section 2.1
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_FILE = re.compile(r"/[A-Za-z0-9._@+/-]+")
# Names of containers may have underscores.
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[\w.-]*\w)?):([0-9]{1,5})", re.ASCII)
_TUNNEL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IPV4 = re.compile(r"[0-9.]+")
# What stands where `cloudflared tunnel create` has not been asked yet.
NO_TUNNEL = "00000000-0000-0000-0000-000000000000"


class SiteError(ValueError):
    """A value that no configuration is written with: its name, its value, what is allowed."""


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT, as dialled. `host` of an IPv6 address is without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether it must be resolved first."""
        return ":" not in self.host and _IPV4.fullmatch(self.host) is None


@dataclass(frozen=True, slots=True)
class Site:
    """One public name and what is behind it.

    `prefix` is the folder that holds all paths that Twilio asks for: it starts and ends with a
    slash. `certificate` and `key` are None where the ingress has its usual place for them.
    """

    host: str
    upstream: Address
    port: int = 443
    prefix: str = "/voice/"
    webhook: str = "/voice/webhook"
    stream: str = "/voice/stream"
    gateway: Address | None = None  # None: it has no TCP address that a doctor could dial
    admin: Address = Address("127.0.0.1", 9101)
    certificate: str | None = None
    key: str | None = None
    tunnel: str = NO_TUNNEL

    @property
    def authority(self) -> str:
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.authority}"


def parse_host(text: str) -> str:
    """A public name in lower case. Raises SiteError."""
    if _NAME.fullmatch(text.lower()) is None or _IPV4.fullmatch(text):
        raise SiteError(
            f"public_url: {text!r} is no name that a configuration can be written for; letters, "
            "digits, hyphens and dots are, and a name with others in its xn-- form"
        )
    return text.lower()


def parse_path(text: str) -> str:
    """A path. Raises SiteError."""
    if _PATH.fullmatch(text) is None or "//" in text or re.search(r"/\.\.?(/|$)", text):
        raise SiteError(
            f"{text!r} is no path that a configuration can be written for; letters, digits and "
            "- . _ ~ between single slashes are"
        )
    return text


def parse_file(name: str, text: str) -> str:
    """The absolute path of a file. Raises SiteError."""
    if _FILE.fullmatch(text) is None:
        raise SiteError(
            f"{name} = {text!r}: should be the absolute path of a file, of letters, digits and "
            "- . _ @ + alone"
        )
    return text


def parse_address(name: str, text: str) -> Address:
    """HOST:PORT. Raises SiteError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536:
        raise SiteError(f"{name} = {text!r}: should be HOST:PORT, for example 127.0.0.1:8080")
    return Address(found[1].strip("[]"), int(found[2]))


def parse_tunnel(text: str) -> str:
    """The UUID of a tunnel. Raises SiteError."""
    if _TUNNEL.fullmatch(text.lower()) is None:
        raise SiteError(
            f"tunnel = {text!r}: should be the UUID that `cloudflared tunnel create` printed"
        )
    return text.lower()


def reachable(listen: Address) -> Address:
    """Where something is dialled that listens there: every address is not one that is dialled."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound
    return Address(loopback.get(listen.host, listen.host), listen.port)


def folder_of(paths: Sequence[str]) -> str:
    """The deepest folder that holds all of these paths: "/voice/", or "/"."""
    split = [path.split("/")[:-1] for path in paths]
    common = []
    for segments in zip(*split, strict=False):
        if len(set(segments)) > 1:
            break
        common.append(segments[0])
    return "/".join((*common, ""))
