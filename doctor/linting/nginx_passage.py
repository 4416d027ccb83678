"""What nginx does with one request: the phases of its modules, run on directives (pure).

Rewrite in the server{}, then the search for a location and its rewrites, until the path stays; then
try_files, and what makes the answer. No file of a document root is taken to exist.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from doctor.linting.moves import normalised
from doctor.linting.nginx_locations import Found, Location, captured, find, named
from doctor.linting.nginx_parser import Directive
from doctor.linting.nginx_servers import Server
from doctor.linting.nginx_variables import Variables, search
from doctor.linting.urls import shown_url
from doctor.linting.ways import Request

# "proxied" by proxy_pass; "handled" by FastCGI, gRPC or a script; "redirected" and "answered" by
# nginx itself; "static": what lies in a document root; "unknown": what is not modelled.
Ending = Literal["proxied", "handled", "redirected", "answered", "static", "unknown"]
Block = Sequence[Directive]

_HANDLERS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass")
_SCRIPTS = re.compile(
    r"js_content|(content|rewrite|access)_by_lua|perl$|echo$|stub_status|empty_gif"
)
_CYCLES_MAX = 10  # ngx_http.h NGX_HTTP_MAX_URI_CHANGES
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?:unix:(?P<socket>[^:]*)(?::(?P<socket_uri>.*))?|(?P<host>[^/?]+)(?P<uri>[/?].*)?)"
)
# What ngx_escape_uri leaves as it is.
_SAFE = "/!$&'()*+,;=:@-._~[]"


@dataclass(frozen=True, slots=True)
class Passage:
    """How a request went through a server{}. `by` is the directive that decided how it ended."""

    request: Request
    server: Server
    chain: tuple[Location, ...]  # outside first; empty where no location takes it
    scopes: tuple[Block, ...]  # http, server, locations, then `if` or limit_except
    ending: Ending
    by: Directive | None
    variables: Variables
    code: str = ""  # of an answer or a redirect
    scheme: str = ""  # of proxy_pass
    host: str = ""  # of proxy_pass: the name of an upstream{} or an address
    target: str = ""  # what the upstream is asked for; "" where that is not known
    rewrites: tuple[Directive, ...] = ()
    unread: tuple[Location, ...] = ()

    @property
    def is_proxied(self) -> bool:
        return self.ending == "proxied"

    @property
    def is_specific(self) -> bool:
        """A location names the path, or a part of it, on purpose."""
        return any(each.pattern not in ("/", "") for each in self.chain)

    @property
    def at(self) -> Directive:
        """Where a finding about this passage belongs."""
        return self.by or (self.chain[-1].directive if self.chain else self.server.directive)

    @property
    def place(self) -> str:
        return self.chain[-1].directive.place if self.chain else self.server.told

    @property
    def upstream(self) -> str:
        """SCHEME://HOST, with the addresses of an upstream{}."""
        if not self.is_proxied:
            return ""
        group = self.group
        servers = ", ".join(each.args[0] for each in group.all("server")) if group else ""
        return f"{self.scheme}://{self.host}{f' ({servers})' if servers else ''}"

    @property
    def group(self) -> Directive | None:
        """The upstream{} of proxy_pass."""
        http = self.scopes[0]
        return next((e for e in http if e.name == "upstream" and e.args == (self.host,)), None)

    def effective(self, name: str) -> Directive | None:
        """A directive as it applies here: the innermost one."""
        return next(iter(self.effective_all(name)[-1:]), None)

    def effective_all(self, name: str) -> list[Directive]:
        """Those of the innermost block that has any: a list is inherited whole or not at all."""
        for scope in reversed(self.scopes):
            found = [each for each in scope if each.name == name]
            if found:
                return found
        return []

    def outer(self, name: str) -> Iterator[Directive]:
        """Those of the blocks around the one that `effective_all` speaks of, inside first."""
        scopes = [[each for each in scope if each.name == name] for scope in reversed(self.scopes)]
        for found in [scope for scope in scopes if scope][1:]:
            yield from found

    def has_unknown_include(self) -> bool:
        """A file that is not here is included somewhere around: what is absent may be in it."""
        return any(each.name == "include" for scope in self.scopes for each in scope)


def follow(server: Server, request: Request) -> Passage:
    return _Walk(server, request).passage()


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why a list of rewrite directives ended early."""

    why: Literal["return", "redirect", "last", "break"]
    by: Directive


class _Walk:
    def __init__(self, server: Server, request: Request) -> None:
        self._server = server
        self._block: Block = server.directive.block or ()
        self._request = request
        self._variables = Variables(server, request)
        path, mark, query = request.path.partition("?")
        merges = server.directive.last("merge_slashes")
        self._uri = normalised(path, merges=merges is None or merges.args != ("off",))
        self._query = f"{mark}{query}"
        self._variables.values.update(uri=self._uri, document_uri=self._uri)
        self._is_raw = True  # nothing changed the path: the request line goes on as it came
        self._is_changed = False  # a `rewrite` asks for another location
        self._is_internal = False
        self._keeps_prefix = True  # until a `rewrite ... break`, proxy_pass replaces the prefix
        self._had_error_page = False
        self._tries = 0
        self._rewrites: list[Directive] = []
        self._found = Found()
        self._branch: Directive | None = None

    def passage(self) -> Passage:
        stop = self._run(self._block)
        if stop is not None and stop.why in ("return", "redirect"):
            return self._answered(stop)
        return self._located()

    def _located(self) -> Passage:
        """Search a location until no rewrite asks for another one."""
        for _ in range(_CYCLES_MAX):
            self._found, self._branch = find(self._block, self._uri), None
            self._keeps_prefix, self._is_changed = True, False
            if self._found.redirect is not None:
                return self._ended("redirected", self._found.redirect.directive, "301")
            self._variables.values.update(self._found.captures)
            stop = self._run(self._leaf) if self._found.chain else None
            if stop is not None and stop.why in ("return", "redirect"):
                return self._answered(stop)
            if not self._is_changed:
                return self._content()
        return self._ended("answered", self._rewrites[-1], "500")

    @property
    def _leaf(self) -> Block:
        return self._found.chain[-1].directive.block or () if self._found.chain else self._block

    def _run(self, block: Block) -> _Stop | None:
        """The directives of the rewrite module, in their order."""
        for each in block:
            stop: _Stop | None = None
            if each.name == "set" and len(each.args) == 2:
                self._variables.values[each.args[0].lstrip("$")] = self._variables.known(
                    each.args[1]
                )
            elif each.name == "rewrite" and len(each.args) >= 2:
                stop = self._rewrite(each)
            elif each.name == "if" and self._variables.holds(each.args):
                self._branch = each
                stop = self._run(each.block or ())
            elif each.name in ("return", "break"):
                stop = _Stop("return" if each.name == "return" else "break", each)
            if stop is not None:
                return stop
        return None

    def _rewrite(self, each: Directive) -> _Stop | None:
        match = search("~", each.args[0], self._uri)
        if not match or isinstance(match, bool):
            return None
        self._variables.values.update(captured(match))
        flag = each.args[2] if len(each.args) > 2 else ""
        if flag in ("redirect", "permanent") or re.match(r"https?://|\$scheme", each.args[1]):
            return _Stop("redirect", each)
        path, _, query = self._variables.expand(each.args[1]).partition("?")
        kept = self._query[1:] if not each.args[1].endswith("?") else ""
        queries = [text for text in (query, kept) if text]
        self._rewrites.append(each)
        self._change(path, "?" + "&".join(queries) if queries else "")
        if flag == "break":
            self._keeps_prefix, self._is_changed = False, False
            return _Stop("break", each)
        self._is_changed = True
        return _Stop("last", each) if flag == "last" else None

    def _change(self, path: str, query: str) -> None:
        self._uri, self._query, self._is_raw = path, query, False
        self._variables.values.update(
            uri=path, document_uri=path, args=query[1:], query_string=query[1:], is_args=query[:1]
        )

    def _answered(self, stop: _Stop) -> Passage:
        """By `return`, or by a `rewrite` that redirects."""
        each = stop.by
        if stop.why == "redirect":
            return self._ended("redirected", each, "301" if "permanent" in each.args else "302")
        code = each.args[0] if each.args and each.args[0].isdigit() else "302"
        if code in ("301", "302", "303", "307", "308"):
            return self._ended("redirected", each, code)
        # A `return` with a text is the whole answer; without one error_page may take over.
        instead = self._error_page(code) if len(each.args) == 1 else None
        return instead or self._ended("answered", each, code)

    def _error_page(self, code: str) -> Passage | None:
        """Where error_page sends what nginx itself would answer with this code."""
        if self._had_error_page:
            return None
        for each in self._ended("static", None).effective_all("error_page"):
            if code in each.args[:-1] and each.args[-1].startswith(("@", "/")):
                self._had_error_page = True
                return self._redirected_inside(each.args[-1])
        return None

    def _redirected_inside(self, target: str) -> Passage:
        """To a named location, which sees the path as it came, or to another path."""
        self._is_internal = True
        if not target.startswith("@"):
            path, mark, query = self._variables.expand(target).partition("?")
            self._change(path, f"{mark}{query}")
            return self.passage()
        location = named(self._block, target)
        if location is None:
            return self._ended("answered", None, "500")
        self._found, self._branch, self._is_changed = Found((location,)), None, False
        stop = self._run(self._leaf)
        if stop is not None and stop.why in ("return", "redirect"):
            return self._answered(stop)
        return self._located() if self._is_changed else self._content()

    def _content(self) -> Passage:
        """What makes the answer, once the location is known."""
        internal = next((each for each in self._leaf if each.name == "internal"), None)
        if internal is not None and self._found.chain and not self._is_internal:
            return self._error_page("404") or self._ended("answered", internal, "404")
        tries = next((each for each in self._leaf if each.name == "try_files"), None)
        if tries is not None and tries.args:
            last = tries.args[-1]
            if last.startswith("="):
                code = last[1:]
                return self._error_page(code) or self._ended("answered", tries, code)
            if self._cycles_left():
                return self._redirected_inside(last)
        handler = self._handler()
        if handler is None:
            return self._error_page("404") or self._ended("static", None)
        if handler.name == "proxy_pass" and handler.args:
            return self._proxied(handler)
        return self._ended("handled" if handler.name in _HANDLERS else "unknown", handler)

    def _cycles_left(self) -> bool:
        self._tries += 1
        return self._tries <= _CYCLES_MAX

    def _handler(self) -> Directive | None:
        """proxy_pass and its kind are not inherited, but for an `if` and for limit_except."""
        inner = self._branch.block or () if self._branch is not None else ()
        for block in (inner, self._leaf):
            for each in block:
                if each.name in ("proxy_pass", *_HANDLERS) or _SCRIPTS.match(each.name):
                    return each
        return None

    def _proxied(self, handler: Directive) -> Passage:
        text = self._variables.expand(handler.args[0])
        match = _URL.match(text)
        if match is None:  # the whole address is in a variable that is not known
            return self._ended("proxied", handler, host=shown_url(text), target=self._unchanged())
        uri = match["uri"] or match["socket_uri"] or ""
        host = match["host"] or f"unix:{match['socket']}"
        if not uri:
            target = self._unchanged()
        elif "$" in handler.args[0]:
            target = uri  # "as is, replacing the original request URI"
        else:
            target = self._replaced(uri)
        return self._ended("proxied", handler, scheme=match["scheme"], host=host, target=target)

    def _unchanged(self) -> str:
        return self._request.path if self._is_raw else self._escaped(self._uri)

    def _replaced(self, uri: str) -> str:
        """The part of the path that the location names gives way to the URI of proxy_pass."""
        if not self._keeps_prefix:
            return self._escaped(self._uri)
        location = self._found.chain[-1] if self._found.chain else None
        name = location.pattern if location and location.sort in ("", "^~", "=") else ""
        return uri + self._escaped(self._uri[len(name) :])

    def _escaped(self, path: str) -> str:
        return quote(path, safe=_SAFE) + self._query

    def _ended(
        self,
        ending: Ending,
        by: Directive | None,
        code: str = "",
        *,
        scheme: str = "",
        host: str = "",
        target: str = "",
    ) -> Passage:
        scopes: list[Block] = [self._server.http, self._block]
        scopes += [each.directive.block or () for each in self._found.chain]
        if self._branch is not None:
            scopes.append(self._branch.block or ())
        excepted = next((e for e in self._leaf if e.name == "limit_except"), None)
        if excepted is not None and self._request.method not in excepted.args:
            scopes.append(excepted.block or ())
        return Passage(
            self._request,
            self._server,
            self._found.chain,
            tuple(scopes),
            ending,
            by,
            self._variables,
            code,
            scheme,
            host,
            target,
            tuple(self._rewrites),
            self._found.unread,
        )


def normalised_target(target: str) -> str:
    """What becomes of a request line's target where proxy_pass puts the same path in its place."""
    path, mark, query = target.partition("?")
    return f"{quote(normalised(path), safe=_SAFE)}{mark}{query}"
