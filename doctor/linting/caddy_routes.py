"""The way of a request through Caddy's routes, as its JSON has them (pure).

As Caddy 2.11 was seen to do it: routes in order, of a group only the first that matches; handlers
change the request on the way; what nothing answers is 200 with an empty body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from doctor.linting.caddy_matchers import Asked, matches, names_path
from doctor.linting.caddy_source import Source
from doctor.linting.family import Saw
from doctor.linting.findings import Paths
from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.nodes import Node
from doctor.linting.ways import Request, Way, Ways, requests_of

_DEPTH_MAX = 20
_HOSTS_MAX = 50
_EMPTY = "with 200 and an empty body"
_PLACEHOLDERS = ("{http.request.uri.path}", "{http.request.uri}", "{http.request.orig_uri.path}")


@dataclass
class Passage:
    """What was passed, and what answered: the handler, or nothing."""

    request: Request
    asked: Asked
    hints: list[str] = field(default_factory=list)  # hosts and paths of the matchers on the way
    headers: list[Node] = field(default_factory=list)  # request_header
    logins: list[Node] = field(default_factory=list)
    limits: list[Node] = field(default_factory=list)  # request_body
    handler: Node = field(default_factory=Node)
    answer: str = _EMPTY
    is_named: bool = False
    unknown: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.handler["handler"].text


@dataclass(frozen=True, slots=True)
class Config:
    """`source` is the Caddyfile; None where the file is Caddy's JSON, which has lines itself."""

    root: Node
    file: Path
    source: Source | None

    def servers(self) -> Iterator[tuple[str, Node]]:
        yield from self.root.at("apps", "http", "servers").items()

    def saw(self, node: Node, words: list[str], passage: Passage, text: str) -> Saw:
        """`words` are those of a directive in a Caddyfile; without any it is the reverse_proxy."""
        return Saw(text, self.file, self.line(node, words, passage))

    def line(self, node: Node, words: list[str], passage: Passage) -> int:
        if self.source is None:
            return node.line
        hints = passage.hints
        around = self.source.find(["reverse_proxy", *_dials(passage.handler)[:1]], hints)
        return (self.source.find(words, hints) if words else 0) or around

    def hosts(self, server: Node, paths: Paths) -> list[str]:
        if paths.host:
            return [paths.host.lower()]
        named = dict.fromkeys(_named_hosts(server["routes"]))
        return list(named)[:_HOSTS_MAX] or [""]

    def passages(self, server: Node, host: str, paths: Paths) -> tuple[Passage, ...]:
        """Webhook, stream, status."""
        listens = [each.text for each in server["listen"]]
        is_tls = any(each.endswith(":443") for each in listens) or bool(
            server["tls_connection_policies"]
        )
        asked_host = f"any{host[1:]}" if host.startswith("*.") else host
        return tuple(
            walk(server["routes"], each, is_tls) for each in requests_of(paths, asked_host)
        )

    def ways(self, label: str, passages: tuple[Passage, ...]) -> Ways:
        return Ways(label, *(self._way(passage) for passage in passages))

    def _way(self, passage: Passage) -> Way:
        path, handler = passage.request.path, passage.handler
        if passage.kind != "reverse_proxy":
            directive = {"static_response": "respond", "file_server": "file_server"}
            words = [directive.get(passage.kind, passage.kind)]
            line = self.line(handler, words, passage) if passage.kind else self._site(passage)
            place = f"{words[0]} ({self.file.name}:{line})" if passage.kind else ""
            return Way(path, place, line, answer=passage.answer)
        upstream = upstream_of(handler)
        line = self.line(handler, ["reverse_proxy", *_dials(handler)[:1]], passage)
        target = passage.asked.path or ""
        if (uri := handler.at("rewrite", "uri").text) and target:
            target = _placed(uri, passage)
        place = f"reverse_proxy {' '.join(_dials(handler)[:3])} ({self.file.name}:{line})"
        return Way(path, place, line, upstream, target, is_named=passage.is_named)

    def _site(self, passage: Passage) -> int:
        """The line of the site's address."""
        if self.source is None:
            return self.root.at("apps", "http", "servers").line
        host = passage.request.host
        return next(
            (
                line
                for each in (host, f"https://{host}", f"http://{host}")
                if (line := self.source.find([each]))
            ),
            0,
        )


def upstream_of(handler: Node) -> str:
    transport = handler["transport"]
    scheme = "https" if transport["tls"] else "http"
    if "h2c" in [each.text for each in transport["versions"]]:
        scheme = "h2c"
    if transport["protocol"].text not in ("", "http"):
        scheme = transport["protocol"].text
    dial = next(iter(_dials(handler)), "")
    return (
        f"unix:{dial.removeprefix('unix/')}"
        if dial.startswith("unix/")
        else (f"{scheme}://{dial}" if dial else "(upstreams that are found at run time)")
    )


def _dials(handler: Node) -> list[str]:
    return [each["dial"].text for each in handler["upstreams"] if each["dial"].text]


def walk(routes: Node, request: Request, is_tls: bool) -> Passage:
    asked = Asked(request.method, request.host, request.path, dict(request.headers), is_tls)
    passage = Passage(request, asked)
    _walk(routes, passage, 0)
    return passage


def _walk(routes: Node, passage: Passage, depth: int) -> bool:
    """Whether the request was answered, or ended, here."""
    groups: set[str] = set()
    if depth > _DEPTH_MAX:
        return True
    for route in routes:
        group = route["group"].text
        if group and group in groups:
            continue
        found = matches(route["match"], passage.asked)
        if found is None:
            passage.unknown += [name for each in route["match"] for name in each.fields]
        if not found:
            continue
        groups.add(group)
        passage.hints += _hints(route["match"])
        passage.is_named = passage.is_named or names_path(route["match"])
        if any(_handle(handler, passage, depth) for handler in route["handle"]):
            return True
        if route["terminal"].is_true:
            return True
    return False


def _handle(handler: Node, passage: Passage, depth: int) -> bool:
    kind = handler["handler"].text
    if kind == "subroute":
        return _walk(handler["routes"], passage, depth + 1)
    if kind == "rewrite":
        _rewrite(handler, passage)
    elif kind == "headers":
        passage.headers.append(handler)
        _edit(handler["request"], passage.asked.headers)
    elif kind == "authentication":
        passage.logins.append(handler)
    elif kind == "request_body":
        passage.limits.append(handler)
    elif kind == "reverse_proxy" and _is_forward_auth(handler):
        passage.logins.append(handler)
    elif kind in ("reverse_proxy", "static_response", "error", "file_server"):
        if kind == "file_server" and handler["pass_thru"].is_true:
            return False
        passage.handler = handler
        passage.answer = _answer(kind, handler)
        return True
    return False


def _answer(kind: str, handler: Node) -> str:
    status = handler["status_code"].text
    if kind == "file_server":
        return "with a file, or 404"
    location = any(name.lower() == "location" for name in handler["headers"].fields)
    if location or status.startswith("3"):
        return f"with a redirect ({status or 302})"
    return status or ("500" if kind == "error" else _EMPTY if not handler["body"] else "200")


def _is_forward_auth(handler: Node) -> bool:
    """A reverse_proxy that asks another server, and goes on where that says 2xx."""
    for each in handler["handle_response"]:
        statuses = [status.number for status in each.at("match", "status_code")]
        if 2 in statuses or 200 in statuses:
            return True
    return False


def _rewrite(handler: Node, passage: Passage) -> None:
    asked = passage.asked
    asked.method = handler["method"].text.upper() or asked.method
    if asked.path is None:
        return
    if uri := handler["uri"].text:
        asked.path = _placed(uri, passage) or None
    path = asked.path or ""
    prefix, suffix = handler["strip_path_prefix"].text, handler["strip_path_suffix"].text
    if prefix and path.lower().startswith(prefix.lower()):
        path = "/" + path[len(prefix) :].lstrip("/")
    if suffix and path.lower().endswith(suffix.lower()):
        path = path[: len(path) - len(suffix)]
    for each in handler["uri_substring"]:
        path = path.replace(each["find"].text or "\0", each["replace"].text)
    for each in handler["path_regexp"]:
        path = _substituted(each, path)
    asked.path = path or None


def _substituted(node: Node, path: str) -> str:
    """Go's ReplaceAllString; "" where it cannot be told."""
    template = re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", node["replace"].text.replace("\\", r"\\"))
    try:
        return compile_go(node["find"].text).sub(template, path)
    except (RegexRefused, RegexUnknown, re.error, IndexError):
        return ""


def _placed(uri: str, passage: Passage) -> str:
    """The path of a URI with placeholders; "" where one of them is not known."""
    path = uri
    for name in _PLACEHOLDERS:
        path = path.replace(name, passage.asked.path or "")
    path = path.partition("?")[0]
    return "" if "{" in path else path


def _edit(edits: Node, headers: dict[str, str]) -> None:
    for each in edits["delete"]:
        headers.pop(each.text.lower(), None)
    for operation in ("set", "add"):
        for name, values in edits[operation].items():
            headers[name.lower()] = ", ".join(value.text for value in values)


def _hints(sets: Node) -> list[str]:
    return [value.text for each in sets for name in ("host", "path") for value in each[name]]


def _named_hosts(routes: Node, depth: int = 0) -> Iterator[str]:
    for route in routes:
        for each in route["match"]:
            yield from (host.text.lower() for host in each["host"] if "{" not in host.text)
        if depth < _DEPTH_MAX:
            for handler in route["handle"]:
                yield from _named_hosts(handler["routes"], depth + 1)
