"""What Apache does with one request: rewriting, ProxyPass in its order, sections, headers (pure).

As Apache 2.4 does it: mod_rewrite before mod_proxy, the ProxyPass of a <Location> before those of
the host, of these the first that fits, and Redirect only where none did.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from doctor.linting import apache_rewrite
from doctor.linting.apache_access import Refusal, refusal
from doctor.linting.apache_expressions import Facts, facts_of, matches
from doctor.linting.apache_hosts import Host
from doctor.linting.apache_parser import Directive, last
from doctor.linting.apache_workers import Worker, covering, members, parameters_of, workers
from doctor.linting.moves import normalised
from doctor.linting.ways import Request

Ending = Literal["proxied", "redirected", "answered", "static", "unknown"]
Block = Sequence[Directive]
_URL = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<host>[^/?]*)(?P<uri>.*)", re.DOTALL)
_SAFE = "/$-_.+!*'(),:@&=~;%"
_SHAPES = ("proxypass", "proxypassmatch")


@dataclass(frozen=True, slots=True)
class Change:
    """A RequestHeader that changed a header of the request; "" took it away, None is not known."""

    by: Directive
    value: str | None


@dataclass(frozen=True)
class Passage:
    """How a request went through a host. `by` is the directive that decided how it ended."""

    request: Request
    host: Host
    ending: Ending
    by: Directive | None
    blocks: tuple[Block, ...]  # the host's own statements, then the sections that apply
    facts: Facts
    code: str = ""
    scheme: str = ""  # of the address that it is passed to
    address: str = ""  # HOST:PORT
    target: str = ""  # what is asked for there
    worker: Worker | None = None
    members: tuple[Directive, ...] = ()  # of a balancer://
    shadowed: Directive | None = None  # a later line for this path, never asked
    is_rewritten: bool = False
    taken_by: str = ""  # the path of the ProxyPass, or the expression of the RewriteRule

    @property
    def is_proxied(self) -> bool:
        return self.ending == "proxied"

    @property
    def is_specific(self) -> bool:
        """A line names the path, or a part of it, on purpose."""
        return self.is_proxied and self.taken_by != "/"

    @property
    def upstream(self) -> str:
        if not self.is_proxied:
            return ""
        listed = ", ".join(each.args[0] for each in self.members if each.args)
        return f"{self.scheme}://{self.address}{f' ({listed})' if listed else ''}"

    @property
    def at(self) -> Directive:
        """Where a finding about this passage belongs."""
        return self.by or self.host.at

    @property
    def refusal(self) -> Refusal | None:
        return refusal(self.blocks, self.facts)

    def effective(self, name: str) -> Directive | None:
        """A directive as it applies here: the innermost, else the main server's."""
        for block in reversed(self.blocks):
            found = last(block, name)
            if found is not None:
                return found
        return last(self.host.main, name)

    def parameter(self, name: str) -> str:
        """Of the worker; of a balancer, of its first member."""
        if self.members:
            return parameters_of(self.members[0].args).get(name, "")
        return self.worker.parameters.get(name, "") if self.worker is not None else ""

    def header(self, name: str) -> Change | None:
        """The last RequestHeader that changed it."""
        found: Change | None = None
        value = self.facts.headers.get(name, "")
        for each in self.statements("requestheader"):
            change = _changed(each, name, value, self.facts)
            if change is not None:
                found, value = change, change.value
        return found

    def statements(self, *names: str) -> Iterator[Directive]:
        for block in (self.host.main, *self.blocks):
            yield from (each for each in block if each.name in names)


def follow(host: Host, request: Request) -> Passage:
    return _Walk(host, facts_of(host, request)).passage()


class _Walk:
    def __init__(self, host: Host, facts: Facts) -> None:
        self._host = host
        self._facts = facts
        self._everything = (*host.main, *host.block)

    def passage(self) -> Passage:
        encoded = re.search(r"%2f", self._facts.path, re.IGNORECASE)
        slashes = self._host.last("allowencodedslashes")
        if encoded and (slashes is None or slashes.args[:1] == ("Off",)):
            return self._ended("answered", slashes or self._host.at, code="404")
        merges = self._host.last("mergeslashes")
        is_merged = merges is None or merges.args[:1] != ("Off",)
        self._facts.path = normalised(self._facts.path, merges=is_merged)
        ruled = apache_rewrite.rewritten(self._host.block, self._facts)
        if ruled is not None:
            if ruled.ending == "proxied":
                return self._proxied(ruled.by, ruled.url, is_rewritten=True)
            if ruled.ending == "mapped" and not ruled.is_passed_through:
                return self._ended("static", ruled.by)
            if ruled.ending != "mapped":
                return self._ended(ruled.ending, ruled.by, code=ruled.code)
        return self._mapped(is_rewritten=ruled is not None)

    def _mapped(self, *, is_rewritten: bool) -> Passage:
        """ProxyPass, then Redirect, then the files."""
        lines = list(self._lines())
        for place, (each, url) in enumerate(lines):
            found = _translated(each, url, self._facts.path)
            if found is None:
                continue
            if found == "!":
                return self._ended("static", each)
            shadowed = self._later(lines[place + 1 :])
            return self._proxied(
                each,
                f"{found}{self._facts.query}",
                is_rewritten=is_rewritten,
                shadowed=shadowed,
                taken_by=url,
            )
        return self._redirected() or self._unmapped()

    def _lines(self) -> Iterator[tuple[Directive, str]]:
        """ProxyPass lines with the path that each is for, in the order in which they are asked."""
        inner = [
            (each, f"~{path}" if _is_regex(section) else path)
            for section in self._sections("location", "locationmatch")
            for each in section.block or ()
            if each.name in _SHAPES and (path := _path_of(section))
        ]
        yield from inner[-1:]
        for each in self._everything:
            if each.name in _SHAPES and len(each.args) > 1:
                yield each, each.args[0]

    def _later(self, lines: Sequence[tuple[Directive, str]]) -> Directive | None:
        fitting = (e for e, url in lines if _translated(e, url, self._facts.path) is not None)
        return next(fitting, None)

    def _redirected(self) -> Passage | None:
        names = ("redirect", "redirectmatch", "redirectpermanent", "redirecttemp")
        for each in (each for each in self._everything if each.name in names and each.args):
            words = list(each.args)
            code = "301" if each.name == "redirectpermanent" else "302"
            known = {"permanent": "301", "temp": "302", "seeother": "303", "gone": "410"}
            if words[0] in known or words[0].isdigit():
                code = known.get(words[0], words.pop(0) if words[0].isdigit() else code)
                words = words[1:] if words and words[0] in known else words
            if not words:
                continue
            if each.name == "redirectmatch":
                is_found = bool(matches(words[0], self._facts.path, ignore_case=False))
            else:
                is_found = _alias_length(words[0], self._facts.path) is not None
            if is_found:
                is_redirect = code.startswith("3")
                return self._ended("redirected" if is_redirect else "answered", each, code=code)
        return None

    def _unmapped(self) -> Passage:
        handler = next((last(block, "sethandler") for block in reversed(self._blocks())), None)
        scripts = ("wsgiscriptalias", "scriptalias", "scriptaliasmatch", "jkmount", "use")
        for each in self._everything:
            if each.name in scripts:
                return self._ended("unknown", each)
        if handler is not None or self._has_inner_rules():
            return self._ended("unknown", handler)
        return self._ended("static", None)

    def _has_inner_rules(self) -> bool:
        """RewriteRule in sections, or a host without a document root's rules: not followed."""
        return any(each.name == "rewriterule" for block in self._blocks()[1:] for each in block)

    def _sections(self, *names: str) -> list[Directive]:
        """Those that apply to the path, the main server's first."""
        return [
            each
            for each in self._everything
            if each.name in names and each.block is not None and self._applies(each)
        ]

    def _applies(self, section: Directive) -> bool:
        path = _path_of(section)
        if section.name == "if":
            return bool(self._facts.holds(" ".join(section.args)))
        if _is_regex(section):
            return bool(matches(path, self._facts.path, ignore_case=False))
        if any(character in path for character in "*?["):
            pattern = re.escape(path).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
            return re.match(f"{pattern}(/|$)", self._facts.path) is not None
        bare = path.rstrip("/")
        rest = self._facts.path.removeprefix(bare)
        is_beginning = self._facts.path.startswith(path if path.endswith("/") else bare)
        return path == "/" or (is_beginning and rest[:1] in ("", "/"))

    def _blocks(self) -> tuple[Block, ...]:
        """The host's statements and those of the sections that apply, in Apache's order."""
        locations = self._sections("location", "locationmatch")
        conditions = self._sections("if")
        return (self._host.block, *(each.block or () for each in (*locations, *conditions)))

    def _proxied(
        self,
        by: Directive,
        url: str,
        *,
        is_rewritten: bool = False,
        shadowed: Directive | None = None,
        taken_by: str = "",
    ) -> Passage:
        match = _URL.fullmatch(url.removeprefix("unix:").partition("|")[2] or url)
        if match is None:
            return self._ended("unknown", by)
        proxies = [
            each.block or ()
            for each in self._everything
            if each.name == "proxy" and each.args and _is_of(each.args[0], url)
        ]
        blocks = self._blocks()
        balancer = f"{match['scheme']}://{match['host']}"
        is_balancer = match["scheme"] == "balancer"
        return Passage(
            self._facts.request,
            self._host,
            "proxied",
            by,
            (blocks[0], *proxies, *blocks[1:]),
            self._facts,
            scheme=match["scheme"],
            address=match["host"].rpartition("@")[2],
            target=_escaped(match["uri"] or "/"),
            worker=covering(workers(self._host), url),
            members=members(self._host, balancer) if is_balancer else (),
            shadowed=shadowed,
            is_rewritten=is_rewritten,
            taken_by=taken_by or by.args[0],
        )

    def _ended(self, ending: Ending, by: Directive | None, *, code: str = "") -> Passage:
        request, host = self._facts.request, self._host
        return Passage(request, host, ending, by, self._blocks(), self._facts, code)


def _escaped(target: str) -> str:
    """The path is decoded on the way in and escaped on the way out."""
    path, mark, query = target.partition("?")
    return f"{quote(path, safe=_SAFE)}{mark}{query}"


def _is_of(pattern: str, url: str) -> bool:
    """Whether <Proxy PATTERN> speaks of an address."""
    return pattern == "*" or url.startswith(pattern.rstrip("*"))


def _is_regex(section: Directive) -> bool:
    return section.name == "locationmatch" or section.args[:1] == ("~",)


def _path_of(section: Directive) -> str:
    """The path of a <Location>, or its expression."""
    args = section.args[1:] if section.args[:1] == ("~",) else section.args
    return args[0] if args else "/"


def _translated(each: Directive, path: str, asked: str) -> str | None:
    """Where a ProxyPass sends a path: a URL, "!" for nowhere, None where it does not take it."""
    is_inner = each.args[:1] != (path,)
    url = next(iter(each.args if is_inner else each.args[1:]), "")
    is_of_section = path.startswith("~")
    if is_of_section and "$" not in url and each.name == "proxypass":
        return None  # measured: the expression of the section is then compared as a path
    if each.name == "proxypassmatch" or is_of_section:
        match = matches(path.removeprefix("~"), asked, ignore_case=False)
        if match is None or isinstance(match, bool):
            return None
        groups = (match[0], *match.groups())
        found = re.sub(
            r"\$(\d)", lambda m: (groups[int(m[1])] or "") if int(m[1]) < len(groups) else "", url
        )
        return url if url == "!" else found if found != url else f"{url}{asked}"
    length = _alias_length(path, asked)
    if length is None:
        return None
    return url if url == "!" else f"{url}{asked[length:]}"


def _alias_length(alias: str, path: str) -> int | None:
    """How much of a path an alias stands for: alias_match of mod_proxy and mod_alias."""
    alias = re.sub("/+", "/", alias)
    pattern = re.escape(alias).replace("/", "/+")
    match = re.match(pattern, path)
    if match is None:
        return None
    is_whole = alias.endswith("/") or path[match.end() :][:1] in ("", "/")
    return match.end() if is_whole else None


def _changed(each: Directive, name: str, value: str | None, facts: Facts) -> Change | None:
    """What a RequestHeader makes of a header; None where it leaves it alone."""
    if len(each.args) < 2 or each.args[1].rstrip(":").lower() != name:
        return None
    action, rest = each.args[0].lower(), list(each.args[2:])
    for word in rest:
        if word.startswith("env=") and word != "env=HTTPS" and not word.startswith("env=!"):
            return None
        if word == "env=HTTPS" and not facts.host.has_tls:
            return None
        if word.startswith("expr=") and action == "unset" and facts.holds(word[5:]) is not True:
            return None
    if action == "unset":
        return Change(each, "") if value != "" else None
    if action == "setifempty" and value:
        return None
    text = rest[0] if rest else ""
    if action in ("set", "append", "add", "merge", "setifempty"):
        return Change(each, _formatted(text, facts))
    return Change(each, None) if action.startswith("edit") else None


def _formatted(text: str, facts: Facts) -> str | None:
    """A header's value: "https", "expr=%{REQUEST_SCHEME}"; None where it is not known."""
    if text.startswith("expr="):
        return facts.expanded(text[5:])
    return None if "%" in text else text
