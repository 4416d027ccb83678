"""The URL of a <Stream>: its parts, what is wrong with it, and how it may be written down."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from proxy.http1 import RequestHead, list_items
from proxy.redact import shown_target
from proxy.routes import Route, split_target

HOSTS_LIMIT = 8
SEGMENTS_LIMIT = 20  # of a path that an ingress may have cut
# Names that are given out within a machine, a cluster or a home; a proxy that was not told to
# keep Host puts one of these in its place.
_PRIVATE = (".local", ".internal", ".localhost", ".lan", ".home.arpa", ".svc")
_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_FORWARDED_HOST = re.compile(r'(?:^|[;,\s])host="?([^";,\s]+)', re.IGNORECASE)  # RFC 7239

UrlFact = Literal[
    "malformed_url",  # nobody can dial it (Twilio: 31923)
    "not_wss",  # Twilio dials nothing else (31922)
    "has_query",  # Twilio drops the query, or refuses it
    "host_not_public",  # an address or a name that only a local network knows
    "host_elsewhere",  # not the name under which the webhook's own request came in
    "path_not_routed_here",  # no route takes it, nor what is left when an ingress cuts a prefix
]


@dataclass(frozen=True, slots=True)
class StreamUrl:
    """A URL as it was advertised. `host` and `path` are None where nobody can dial it."""

    text: str
    scheme: str = ""
    host: str | None = None
    port: int | None = None
    path: str | None = None
    query: str = ""

    def facts(self, hosts: Sequence[str], routes: Sequence[Route]) -> list[UrlFact]:
        """What is wrong with it, as far as the sidecar can tell.

        `hosts` are the names that the webhook's request came in under, from `hosts_of`.
        """
        if self.host is None or self.path is None:
            return ["malformed_url"]
        public = [host for host in hosts if is_public(host)]
        found: list[tuple[UrlFact, bool]] = [
            ("not_wss", self.scheme != "wss"),
            ("has_query", bool(self.query)),
            ("host_not_public", not is_public(self.host)),
            ("host_elsewhere", bool(public) and self.host not in public),
            ("path_not_routed_here", not _is_routed(self.path, (self.host, *hosts), routes)),
        ]
        return [fact for fact, is_so in found if is_so]

    def shown(self) -> str:
        """The URL without its secrets: no userinfo, no query values, no tokens in the path."""
        if self.host is None or self.path is None:
            return shown_target(self.text)
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{host}{port}{shown_target(self.path + query)}"


def parse_stream_url(text: str) -> StreamUrl:
    """Read a URL; one that nobody could dial has neither host nor path."""
    try:
        parts = urlsplit(text)
        port = parts.port  # raises for what is none
    except ValueError:
        return StreamUrl(text)
    if not parts.scheme or not parts.hostname:
        return StreamUrl(text)
    host, path = _bare(parts.hostname), parts.path or "/"
    return StreamUrl(text, parts.scheme, host, port, path, parts.query)


def hosts_of(head: RequestHead) -> tuple[str, ...]:
    """The names under which a request came in, as far as the hops in front tell; no ports."""
    authority = split_target(head.target)[0].partition("//")[2]
    told = [authority, *head.values("Host"), *list_items(head.values("X-Forwarded-Host"))]
    told += [host for value in head.values("Forwarded") for host in _FORWARDED_HOST.findall(value)]
    names = (_HOST.fullmatch(host.strip()) for host in told)
    return tuple(dict.fromkeys(_bare(name[1]) for name in names if name is not None))[:HOSTS_LIMIT]


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def is_public(host: str) -> bool:
    """Whether a name or address means the same machine to everybody."""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE)


def _is_routed(path: str, hosts: Iterable[str], routes: Sequence[Route]) -> bool:
    """Whether any route takes a path, as advertised or as an ingress may have left it."""
    segments = path.split("/")[1:][-SEGMENTS_LIMIT:]
    ends = [path, "/", *("/" + "/".join(segments[cut:]) for cut in range(1, len(segments)))]
    if any(route.path is not None and route.path.endswith(path) for route in routes):
        return True  # it would be, with a prefix before it
    return any(route.matches(host, end) for route in routes for host in hosts for end in ends)
