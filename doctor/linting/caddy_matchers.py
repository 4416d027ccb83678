"""The matchers of Caddy's routes (pure). https://caddyserver.com/docs/json/apps/http/servers/routes/match/

What depends on more than the request of Twilio that we know (addresses, expressions, variables)
gives None: it cannot be told.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.nodes import Node


@dataclass
class Asked:
    """A request on its way through the routes; handlers change it. `path` is None where a rewrite
    made of it what cannot be told."""

    method: str
    host: str
    path: str | None
    headers: dict[str, str]
    is_tls: bool


def matches(sets: Node, asked: Asked) -> bool | None:
    """Whether one of the matcher sets matches; a route without any takes everything."""
    if not sets.entries:
        return True
    return _any(_all(_one(name, node, asked) for name, node in each.items()) for each in sets)


def names_path(sets: Node) -> bool:
    return any("path" in each.fields or "path_regexp" in each.fields for each in sets)


def _one(name: str, node: Node, asked: Asked) -> bool | None:
    known = _MATCHERS.get(name)
    return known(node, asked) if known else None


def _host(node: Node, asked: Asked) -> bool | None:
    """A star stands for one label."""
    labels = asked.host.lower().split(".")
    for each in node:
        pattern = each.text.lower().split(".")
        if len(pattern) == len(labels) and all(
            own in ("*", label) for own, label in zip(pattern, labels, strict=True)
        ):
            return True
    return None if any("{" in each.text for each in node) else False


def _path(node: Node, asked: Asked) -> bool | None:
    """Without regard to case; a star at either end, else a glob."""
    if asked.path is None:
        return None
    path = asked.path.lower()
    return any(_path_matches(each.text.lower(), path) for each in node)


def _path_matches(pattern: str, path: str) -> bool:
    if "//" not in pattern:
        path = re.sub("/+", "/", path)
    inner = pattern.strip("*")
    if "*" not in inner and "?" not in inner and "[" not in inner:
        starts, ends = pattern.startswith("*"), pattern.endswith("*")
        if starts and ends:
            return inner in path
        if starts:
            return path.endswith(inner)
        return path.startswith(inner) if ends else path == inner
    # Go's path.Match: a star takes no slash.
    glob = fnmatch.translate(pattern).replace(".*", "[^/]*")
    return re.match(glob, path) is not None


def _path_regexp(node: Node, asked: Asked) -> bool | None:
    return None if asked.path is None else _regexp(node, asked.path)


def _regexp(node: Node, text: str) -> bool | None:
    try:
        return compile_go(node["pattern"].text).search(text) is not None
    except (RegexRefused, RegexUnknown):
        return None


def _header(node: Node, asked: Asked) -> bool | None:
    """Of a name, one of the values; null asks that there is none. Of several names, all."""
    for name, wanted in node.items():
        value = asked.host if name.lower() == "host" else asked.headers.get(name.lower())
        if wanted.is_empty:
            if value is not None:
                return False
        elif value is None or not any(_value_matches(each.text, value) for each in wanted):
            return False
    return True


def _value_matches(wanted: str, value: str) -> bool:
    """With regard to case; a star at either end."""
    inner = wanted.strip("*")
    starts, ends = wanted.startswith("*"), wanted.endswith("*")
    if starts and ends:
        return inner in value
    if starts:
        return value.endswith(inner)
    return value.startswith(inner) if ends else value == wanted


def _header_regexp(node: Node, asked: Asked) -> bool | None:
    return _all(
        _regexp(pattern, asked.headers[name.lower()]) if name.lower() in asked.headers else False
        for name, pattern in node.items()
    )


def _method(node: Node, asked: Asked) -> bool | None:
    return asked.method in [each.text.upper() for each in node]


def _protocol(node: Node, asked: Asked) -> bool | None:
    return node.text in (("https", "http/1", "http/1.1") if asked.is_tls else ("http", "http/1"))


def _query(node: Node, asked: Asked) -> bool | None:
    return not node.fields  # Twilio drops the query of a stream


def _not(node: Node, asked: Asked) -> bool | None:
    inner = matches(node, asked) if node.entries else False
    return None if inner is None else not inner


_MATCHERS: Mapping[str, Callable[[Node, Asked], bool | None]] = {
    "host": _host,
    "path": _path,
    "path_regexp": _path_regexp,
    "header": _header,
    "header_regexp": _header_regexp,
    "method": _method,
    "protocol": _protocol,
    "query": _query,
    "not": _not,
}


def _any(values: Iterable[bool | None]) -> bool | None:
    known = list(values)
    return True if True in known else None if None in known else False


def _all(values: Iterable[bool | None]) -> bool | None:
    known = list(values)
    return False if False in known else None if None in known else True
