"""Which upstream a request goes to, and what its path becomes there.

Paths are compared and rewritten as raw bytes of the request line: decoding %2F or merging // is
how proxies break signatures (and how `location` rules are bypassed). The query is never touched.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.http1 import RequestHead, ResponseHead, with_fields, with_response_fields


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    set: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upstream:
    """An address to dial: a host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    unix_path: str = ""

    def __str__(self) -> str:
        if self.unix_path:
            return f"unix:{self.unix_path}"
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the routing table. Times are seconds; at most one of path and prefix is set."""

    name: str
    upstream: Upstream
    path: str | None = None
    prefix: str | None = None
    host: str | None = None
    strip_prefix: str | None = None
    add_prefix: str | None = None
    rewrite: str | None = None
    request_headers: HeaderEdits = field(default_factory=HeaderEdits)
    response_headers: HeaderEdits = field(default_factory=HeaderEdits)
    connect_seconds: float = 5.0
    handshake_seconds: float = 15.0
    response_seconds: float = 60.0
    capture: bool = False

    def matches(self, host: str, path: str) -> bool:
        if self.host is not None and not _host_matches(self.host, host):
            return False
        if self.path is None and self.prefix is None:
            return True
        # An upstream resolves dot segments, so /voice/../admin would leave the route it entered by.
        if has_dot_segment(path):
            return False
        if self.path is not None:
            return path == self.path
        return self.prefix is not None and has_prefix(path, self.prefix)

    def rewritten(self, target: str) -> str:
        """The target as the upstream will see it."""
        start, path, query = split_target(target)
        if self.strip_prefix is not None and has_prefix(path, self.strip_prefix):
            path = path[len(self.strip_prefix.rstrip("/")) :] or "/"
        if self.add_prefix is not None:
            path = self.add_prefix.rstrip("/") + path
        if self.rewrite is not None:
            path = self.rewrite
        return start + path + query

    def forwarded_request(self, head: RequestHead) -> RequestHead:
        edits = self.request_headers
        target = self.rewritten(head.target) if head.target != "*" else None
        return with_fields(head, target=target, set_fields=edits.set, remove=edits.remove)

    def forwarded_response(self, head: ResponseHead) -> ResponseHead:
        edits = self.response_headers
        return with_response_fields(head, set_fields=edits.set, remove=edits.remove)

    def takes_all_of(self, other: "Route") -> bool:
        """Whether every request that `other` matches is matched here, so `other` is unreachable."""
        if self.host is not None and not (
            other.host is not None and _host_matches(self.host, other.host.lower())
        ):
            return False
        if self.path is None and self.prefix is None:
            return True
        if self.path is not None:
            return other.path == self.path
        theirs = other.path if other.path is not None else other.prefix
        return self.prefix is not None and theirs is not None and has_prefix(theirs, self.prefix)


def find_route(routes: Sequence[Route], head: RequestHead) -> Route | None:
    """The first route that matches, in the order of the file."""
    start, path, _ = split_target(head.target)
    # RFC 9112 section 3.2.2: an absolute target's authority replaces Host.
    authority = start.partition("//")[2] or head.value("Host") or ""
    host = re.sub(r":\d*$", "", authority).rstrip(".").lower()
    return next((route for route in routes if route.matches(host, path or "/")), None)


def split_target(target: str) -> tuple[str, str, str]:
    """Scheme and authority (of an absolute target), path, query with its question mark."""
    start = ""
    if not target.startswith("/") and "://" in target:
        scheme, _, rest = target.partition("://")
        authority = re.split(r"[/?]", rest, maxsplit=1)[0]
        start = f"{scheme}://{authority}"
    path, question, query = target[len(start) :].partition("?")
    return start, path, question + query


def has_prefix(path: str, prefix: str) -> bool:
    """Whether a path lies under a prefix, by whole segments: /voice holds /voice/a, not /voices."""
    bare = prefix.rstrip("/")
    return path in (prefix, bare) or path.startswith(bare + "/")


def has_dot_segment(path: str) -> bool:
    """Whether any upstream might read a segment of the path as . or .. and resolve it."""
    decoded = re.sub("%2e", ".", path, flags=re.IGNORECASE)
    decoded = re.sub("%2f|%5c|\\\\", "/", decoded, flags=re.IGNORECASE)
    # Servlet containers take ..;x for .. with a parameter.
    return any(segment.partition(";")[0] in (".", "..") for segment in decoded.split("/"))


def _host_matches(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:].lower()) and host != pattern[2:].lower()
    return host == pattern.lower()
