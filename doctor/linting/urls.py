"""Addresses, durations and names as configurations write them. Nothing here raises."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Where the gateways of this world listen without TLS: http, OpenClaw, the sidecar, its gateway.
_PLAIN_PORTS = frozenset((80, 3334, 8080, 8081))
_TLS_PORTS = frozenset((443, 8443))
_USERINFO = re.compile(r"(?<=://)[^/?#]*@")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_UNITS |= {"h": 3600.0}
_TERM = re.compile(r"([0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_TERM.pattern})++")
# A time.Duration counts nanoseconds in 63 bits: 292 years, and Go refuses more.
_LONGEST_S = 2**63 / 1e9
# Twilio ends a call after four hours at the latest, and a stream lives as long as its call.
LONGEST_CALL_S = 4 * 3600


@dataclass(frozen=True, slots=True)
class Url:
    """`text` is fit to be shown: no userinfo, no query."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    text: str

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def is_address(self) -> bool:
        """An IP address, which hardly any certificate names."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def read_url(text: str) -> Url | None:
    """SCHEME://HOST[:PORT][/PATH], or None."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or "://" not in text:
        return None
    return Url(parts.scheme, parts.hostname, port, parts.path, parts.query, shown_url(text))


def shown_url(text: str) -> str:
    """What may be printed of a URL: neither userinfo nor query, either may hold a secret."""
    return re.split(r"[?#]", _USERINFO.sub("", text), maxsplit=1)[0]


def is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def scheme_doubt(is_tls: bool, host: str, port: int | None) -> str:
    """Why a port hardly speaks what it is asked in; "" where nothing speaks against it."""
    if is_tls and port in _PLAIN_PORTS and (port == 80 or is_loopback(host)):
        return f"TLS is spoken to port {port}, where plain HTTP is usual"
    if not is_tls and port in _TLS_PORTS:
        return f"plain HTTP is spoken to port {port}, where TLS is usual"
    return ""


def seconds(text: str) -> float | None:
    """A duration in Go's form ("1h30m", "15s"), or None. "0" needs no unit."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if _DURATION.fullmatch(text) is None:
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(text))
    if total > _LONGEST_S:
        return None
    return -total if text.startswith("-") else total
