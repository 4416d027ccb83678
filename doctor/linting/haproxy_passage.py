"""What HAProxy does with one request: the rules of its frontend, then of its backend (pure).

A rule whose condition is not known (addresses, counters) is not taken, and kept among the doubts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from doctor.linting.haproxy_expressions import (
    ReadFile,
    State,
    condition_of,
    formatted,
    holds,
    names_in,
    sample,
    state_of,
    substituted,
)
from doctor.linting.haproxy_parser import Config, Line, Proxy
from doctor.linting.nodes import Unreadable
from doctor.linting.reading import read_text
from doctor.linting.ways import Request

# "proxied" to a server; "redirected" and "answered" by HAProxy; "unrouted": no backend, no server.
Ending = Literal["proxied", "redirected", "answered", "unrouted"]
_ENDS: dict[str, str] = {
    "deny": "403",
    "reject": "EOF",
    "silent-drop": "EOF",
    "tarpit": "500",
    "return": "200",
    "auth": "401",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that changed a header: its name in lower case, and what it is then."""

    line: Line
    name: str
    value: str | None  # None where it is not known, "" where it is gone


@dataclass(frozen=True, slots=True)
class Doubt:
    """A rule that may refuse the request, and what its condition asks for.

    `refuses_far` and `refuses_near` are what it does to an address of the internet and to this
    machine's own; None where that is not the question.
    """

    line: Line
    asks: str
    refuses_far: bool | None
    refuses_near: bool | None


@dataclass(frozen=True)
class Passage:
    """How a request went. `by` is the line that decided how it ended."""

    request: Request
    frontend: Proxy
    backend: Proxy | None
    ending: Ending
    by: Line
    state: State
    code: str = ""
    routed_by: Line | None = None  # use_backend or default_backend
    changes: tuple[Change, ...] = ()
    path_rules: tuple[Line, ...] = ()  # that changed the path
    doubts: tuple[Doubt, ...] = ()
    is_specific: bool = False  # a rule that names the path chose the backend

    @property
    def is_proxied(self) -> bool:
        return self.ending == "proxied"

    @property
    def target(self) -> str:
        """What the server is asked for; "" where that is not known."""
        return self.state.target or ""

    @property
    def servers(self) -> tuple[Line, ...]:
        return usable_servers(self.backend) if self.backend is not None else ()

    @property
    def upstream(self) -> str:
        if not self.is_proxied or not self.servers:
            return ""
        scheme = "https" if "ssl" in self.servers[0].words[3:] else "http"
        return f"{scheme}://{', '.join(each.words[2] for each in self.servers)}"

    @property
    def place(self) -> str:
        if self.routed_by is not None:
            return f"{self.frontend.told}, {self.routed_by.place}"
        return self.frontend.told if self.ending == "unrouted" else self.by.place

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Frontend and backend, one of them in a listen."""
        other = self.backend
        return (self.frontend,) if other in (None, self.frontend) else (self.frontend, other)

    def header(self, name: str) -> Change | None:
        """The last rule that changed a header."""
        return next((each for each in reversed(self.changes) if each.name == name), None)


def usable_servers(backend: Proxy) -> tuple[Line, ...]:
    found = [each for each in backend.all("server") if len(each.words) > 2]
    found += [each for each in backend.all("server-template") if len(each.words) > 3]
    return tuple(each for each in found if "disabled" not in each.words)


def binds(frontend: Proxy) -> tuple[Line, ...]:
    return tuple(each for each in frontend.all("bind") if len(each.words) > 1)


def follow(frontend: Proxy, request: Request, config: Config) -> Passage:
    has_tls = any("ssl" in each.words for each in binds(frontend))
    state = state_of(request, has_tls=has_tls, read_file=_reader(config))
    state.is_tcp = frontend.mode == "tcp"
    return _Walk(frontend, state, config).passage()


def _reader(config: Config) -> ReadFile:
    def read(name: str) -> str | None:
        try:
            return read_text(config.folder / name)
        except Unreadable:
            return None

    return read


@dataclass(slots=True)
class _Walk:
    frontend: Proxy
    state: State
    config: Config
    changes: list[Change] = field(default_factory=list)
    path_rules: list[Line] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def passage(self) -> Passage:
        return self._through(self.frontend) or self._routed()

    def _routed(self) -> Passage:
        backend = self.frontend if self.frontend.is_backend else None
        line: Line | None = None
        is_specific = False
        for each in self.frontend.all("use_backend"):
            words, condition = condition_of(each.words)
            if len(words) > 1 and holds(condition, self.state):
                name = formatted(words[1], self.state)
                if name is None:  # chosen by what is not known
                    continue
                line, backend = each, self.config.backend(name)
                is_specific = "path" in names_in(condition, self.state) or "%[path" in words[1]
                break
        else:
            line = self.frontend.last("default_backend") or None
            if line is not None and len(line.words) > 1:
                backend = self.config.backend(line.words[1])
        if backend is None:
            return self._ended("unrouted", line or self.frontend.at, "503")
        if backend is not self.frontend:
            stopped = self._through(backend)
            if stopped is not None:
                return stopped
        if not usable_servers(backend):
            return self._ended("unrouted", backend.at, "503", backend=backend, routed_by=line)
        by = usable_servers(backend)[0]
        return self._ended("proxied", by, backend=backend, routed_by=line, is_specific=is_specific)

    def _takes(self, condition: "Iterable[str]") -> bool:
        """Whether a rule is taken; which host is asked for, is not known, and taken to be right."""
        words = tuple(condition)
        known = holds(words, self.state)
        if known is None and not self.state.request.host:
            return (
                re.search(r"\bhdr(_\w+)?\(host\)|ssl_fc_sni", names_in(words, self.state))
                is not None
            )
        return bool(known)

    def _through(self, proxy: Proxy) -> Passage | None:
        """The rules of one proxy; a passage where one of them ends the request."""
        self.state.acls = [each for each in proxy.all("acl") if len(each.words) > 2]
        for each in _rules(proxy, is_tcp=self.state.is_tcp):
            kind, action, *rest = each.words
            words, condition = condition_of(rest)
            known = holds(condition, self.state)
            if known is None and (action in _ENDS or kind == "redirect"):
                self.doubts.append(self._doubt(each, condition))
            if not known:
                continue
            if kind == "redirect" or action == "redirect":
                told = words if action == "redirect" else (action, *words)
                code = told[told.index("code") + 1] if "code" in told[:-1] else "302"
                return self._ended("redirected", each, code)
            if kind == "tcp-request" and action == "content":
                action = words[0] if words else ""
            if action in ("allow", "accept"):
                return None
            if action in _ENDS:
                return self._ended("answered", each, _status(words, _ENDS[action]))
            self._change(each, action, tuple(words))
        return None

    def _doubt(self, line: Line, condition: Sequence[str]) -> Doubt:
        far = holds(condition, replace(self.state, source="203.0.113.7"))
        near = holds(condition, replace(self.state, source="127.0.0.1"))
        return Doubt(line, names_in(condition, self.state), far, near)

    def _change(self, line: Line, action: str, words: tuple[str, ...]) -> None:
        """A rule that changes the request."""
        before = self.state.target
        if action.startswith("set-var(") and words:
            name = action.partition("(")[2].rstrip(")").partition(",")[0]
            self.state.variables[name] = sample(words[-1], self.state)
        elif action in _PATHS and words:
            _PATHS[action](self.state, words)
            if self.state.target != before:
                self.path_rules.append(line)
        elif action == "del-header" and words:
            for name in _matching(words, self.state.headers):
                self._set(line, name, "")
        elif action in ("set-header", "add-header") and len(words) > 1:
            name, value = words[0].lower(), formatted(words[1], self.state)
            if action == "set-header" or name not in self.state.headers:
                self._set(line, name, value)
        elif action in ("replace-header", "replace-value") and len(words) > 2:
            name = words[0].lower()
            present = self.state.headers.get(name)
            if present:
                value = substituted(words[1], words[2], present)
                if value != present:
                    self._set(line, name, value)

    def _set(self, line: Line, name: str, value: str | None) -> None:
        self.state.headers[name] = value
        self.changes.append(Change(line, name, value))
        if value == "":
            del self.state.headers[name]

    def _ended(
        self,
        ending: Ending,
        by: Line,
        code: str = "",
        *,
        backend: Proxy | None = None,
        routed_by: Line | None = None,
        is_specific: bool = False,
    ) -> Passage:
        return Passage(
            self.state.request,
            self.frontend,
            backend,
            ending,
            by,
            self.state,
            code,
            routed_by,
            tuple(self.changes),
            tuple(self.path_rules),
            tuple(self.doubts),
            is_specific,
        )


def _rules(proxy: Proxy, *, is_tcp: bool) -> Iterator[Line]:
    """In the order in which they are asked: connections, requests, then `redirect` lines."""
    lines = (*proxy.defaults, *proxy.lines)
    for kind in ("tcp-request",) if is_tcp else ("tcp-request", "http-request", "redirect"):
        for each in lines:
            if each.words[0] == kind and len(each.words) > 1:
                yield each


def _status(words: Iterable[str], usual: str) -> str:
    """deny_status 429, or status 200."""
    listed = list(words)
    for name in ("deny_status", "status"):
        if name in listed[:-1]:
            return listed[listed.index(name) + 1]
    return usual


def _matching(words: tuple[str, ...], headers: Iterable[str]) -> list[str]:
    """The names that del-header removes: one, or those that a method finds."""
    method = words[words.index("-m") + 1] if "-m" in words[:-1] else "str"
    pattern = words[0].lower()
    found = []
    for name in headers:
        if method == "reg":
            is_found = _regex_finds(words[0], name)
        else:
            is_found = {
                "beg": name.startswith(pattern),
                "end": name.endswith(pattern),
                "sub": pattern in name,
            }.get(method, name == pattern)
        if is_found:
            found.append(name)
    return found


def _regex_finds(pattern: str, name: str) -> bool:
    """HAProxy writes names in lower case before it looks at them; (?i) may stand anywhere."""
    try:
        return re.search(pattern.replace("(?i)", ""), name, re.IGNORECASE) is not None
    except (re.error, OverflowError, RecursionError):
        return False


def _set_path(state: State, words: tuple[str, ...]) -> None:
    state.path = formatted(words[0], state)


def _set_target(state: State, words: tuple[str, ...]) -> None:
    state.change_target(formatted(words[0], state))


def _set_query(state: State, words: tuple[str, ...]) -> None:
    value = formatted(words[0], state)
    state.query = "" if not value else f"?{value}"


def _replace_path(state: State, words: tuple[str, ...]) -> None:
    if len(words) > 1 and state.path is not None:
        state.path = substituted(words[0], words[1], state.path)


def _replace_target(state: State, words: tuple[str, ...]) -> None:
    if len(words) > 1 and state.target is not None:
        state.change_target(substituted(words[0], words[1], state.target))


_PATHS: dict[str, Callable[[State, tuple[str, ...]], None]] = {
    "set-path": _set_path,
    "set-pathq": _set_target,
    "set-uri": _set_target,
    "set-query": _set_query,
    "replace-path": _replace_path,
    "replace-pathq": _replace_target,
    "replace-uri": _replace_target,
}
