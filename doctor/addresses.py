"""URLs as Twilio reads them, and where they are dialled from here."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from doctor.errors import Objection

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
# RFC 3986: what a URL may consist of. Twilio's 31923 includes escaping that was forgotten.
_URL = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]*")
_HOST = re.compile(r"[A-Za-z0-9._~\-]+|\[[0-9A-Fa-f:.]+\]")


class BadUrl(ValueError):  # noqa: N818 - a fact about TwiML, not an error of ours
    """`code` is what Twilio raises for a stream's URL."""

    def __init__(self, code: int, saw: str) -> None:
        super().__init__(saw)
        self.code = code
        self.saw = saw


@dataclass(frozen=True, slots=True)
class Address:
    """Where TCP goes."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts. `url` is what is signed, `path` what stands in the request line."""

    url: str = field(repr=False)
    address: Address
    authority: str  # of the Host header: as written, without a default port
    path: str
    is_secure: bool
    user: str | None = field(default=None, repr=False)  # name:password, of a URL that has them


@dataclass(frozen=True, slots=True)
class Detour:
    """Another address in the place of one host's, as curl's --connect-to; `plain`: without TLS.

    Host, signature and certificate name stay those of the URL.
    """

    host: str
    connect_to: Address | None = None
    plain: bool = False

    def address(self, target: Target) -> Address:
        if self.connect_to is not None and self._applies(target):
            return self.connect_to
        return target.address

    def is_secure(self, target: Target) -> bool:
        return target.is_secure and not (self.plain and self._applies(target))

    def _applies(self, target: Target) -> bool:
        return target.address.host == self.host.lower()


def parse_address(text: str) -> Address:
    """HOST:PORT or [IPv6]:PORT. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not colon or not 0 < number < 65536 or _HOST.fullmatch(host) is None:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host.strip("[]").lower(), number)


def parse_url(url: str, base: str | None = None) -> Target:
    """A webhook's URL, absolute or relative to `base`. Raises BadUrl."""
    if base is not None:
        url = _joined(base, url)
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise BadUrl(11100, f"{_shown(url)} is not http:// or https://")
    return _target(parts, 11100)


def parse_stream_url(
    url: str, base: str | None, *, may_be_plain: bool
) -> tuple[Target, Objection | None]:
    """The url of a <Stream>, and what to remark about it. Raises BadUrl.

    A query is dropped, as has been seen of Twilio, so that the bare path is requested and signed.
    `may_be_plain`: ws:// is followed, which Twilio never does.
    """
    if not url:
        raise BadUrl(31923, "the stream has no URL")
    if not _scheme_of(url) and base is not None:
        url = re.sub("^http", "ws", _joined(base, url))
    parts = _split(url)
    if parts.scheme not in ("wss", "ws"):
        raise BadUrl(31922 if parts.scheme else 31923, f"{_shown(url)} is not wss://")
    if parts.scheme == "ws" and not may_be_plain:
        raise BadUrl(31922, f"{_shown(url)} is ws://, and only wss:// is supported")
    objection = None
    if parts.query:
        objection = Objection(31920, "the stream's URL has a query, which Twilio drops")
    return _target(parts._replace(query=""), 31923), objection


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _scheme_of(url: str) -> str:
    """The scheme of a URL, "" where it is relative."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.\-]*):", url)
    return found[1].lower() if found else ""


def _joined(base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError as error:
        raise BadUrl(11100, f"{_shown(url)}: {error}") from None


def _split(url: str) -> SplitResult:
    if _URL.fullmatch(url) is None:
        code = 31923 if url.startswith("ws") else 11100
        raise BadUrl(code, f"{_shown(url)} has characters that no URL has")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadUrl(31923, f"{_shown(url)}: {error}") from None


def _target(parts: SplitResult, code: int) -> Target:
    url = parts._replace(fragment="").geturl()
    try:
        number = parts.port
    except ValueError:
        number = 0
    # "wss://wss://host", a scheme doubled by whoever pasted, reads as the host "wss" with no port.
    if number == 0 or parts.netloc.endswith(":"):
        raise BadUrl(code, f"{_shown(url)} has no valid port")
    hostname = parts.hostname or ""
    written = f"[{hostname}]" if ":" in hostname else hostname
    if _HOST.fullmatch(written) is None:
        raise BadUrl(code, f"{_shown(url)} has no host")
    default = _PORTS[parts.scheme]
    authority = written if number in (None, default) else f"{written}:{number}"
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    path = parts.path or "/"
    if parts.query:
        path += f"?{parts.query}"
    is_secure = parts.scheme in ("https", "wss")
    return Target(url, Address(hostname, number or default), authority, path, is_secure, user)


def _shown(url: str) -> str:
    return repr(url if len(url) <= 200 else url[:200] + "...")
