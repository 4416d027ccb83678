"""Which location takes a path: ngx_http_core_find_location, on directives (pure).

https://github.com/nginx/nginx/blob/master/src/http/ngx_http_core_module.c
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from doctor.linting.nginx_parser import Directive
from doctor.linting.nginx_servers import python_regex

_HANDLERS = ("proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass")


@dataclass(frozen=True)
class Location:
    """`sort` is "", "=", "^~", "~", "~*" or "@"; `pattern` what stands behind it."""

    directive: Directive
    sort: str
    pattern: str

    @property
    def is_regex(self) -> bool:
        return self.sort in ("~", "~*")

    @cached_property
    def compiled(self) -> re.Pattern[str] | None:
        """None where Python cannot read it."""
        flags = re.IGNORECASE if self.sort == "~*" else 0
        try:
            return re.compile(python_regex(self.pattern), flags)
        except (re.error, OverflowError, RecursionError):
            return None

    @property
    def redirects(self) -> bool:
        """/name is answered 301 /name/ where the location is /name/ and passes requests on."""
        has_handler = any(self.directive.last(name) for name in _HANDLERS)
        return self.pattern.endswith("/") and has_handler


@dataclass(frozen=True, slots=True)
class Found:
    """Locations from outside to inside, and what a regular expression captured on the way.

    `redirect` is a location that answers 301 to the path with a slash; `unread` are expressions
    that might have taken the path, and cannot be read here.
    """

    chain: tuple[Location, ...] = ()
    captures: dict[str, str] = field(default_factory=dict)
    redirect: Location | None = None
    unread: tuple[Location, ...] = ()


def location(directive: Directive) -> Location | None:
    """What a location{} stands for; None where its arguments are not nginx's."""
    args = directive.args
    if len(args) == 2 and args[0] in ("=", "^~", "~", "~*"):
        return Location(directive, args[0], args[1])
    if len(args) != 1:
        return None
    for sort in ("=", "^~", "~*", "~", "@"):
        if args[0].startswith(sort):
            pattern = args[0] if sort == "@" else args[0][len(sort) :]
            return Location(directive, sort, pattern)
    return Location(directive, "", args[0])


def locations(block: Sequence[Directive]) -> tuple[Location, ...]:
    """Those of one block, in their order."""
    return tuple(
        found
        for each in block
        if each.name == "location" and each.block is not None and (found := location(each))
    )


def named(block: Sequence[Directive], name: str) -> Location | None:
    """Named locations stand in the server{} itself."""
    return next((each for each in locations(block) if each.pattern == name), None)


def find(block: Sequence[Directive], path: str) -> Found:
    """The way of a decoded path through the locations of a server{}."""
    return _find(locations(block), path)[1]


def _find(here: Sequence[Location], path: str) -> tuple[bool, Found]:
    """Whether the search is over, and what it found: NGX_OK and NGX_DONE, or NGX_AGAIN."""
    is_over, best, redirect = _find_prefix(here, path)
    if redirect is not None:
        return True, Found(redirect=redirect)
    if best is None:
        found = Found()
    elif is_over:
        return True, Found((best,))
    else:
        is_over, inner = _find(locations(best.directive.block or ()), path)
        found = Found((best, *inner.chain), inner.captures, inner.redirect, inner.unread)
        if is_over:
            return True, found
    unread = list(found.unread)
    if best is None or best.sort != "^~":
        for each in here:
            if not each.is_regex:
                continue
            if each.compiled is None:
                unread.append(each)
                continue
            match = each.compiled.search(path)
            if match is not None:
                inner = _find(locations(each.directive.block or ()), path)[1]
                captures = captured(match) | inner.captures
                return True, Found(
                    (each, *inner.chain), captures, inner.redirect, (*unread, *inner.unread)
                )
    return False, Found(found.chain, found.captures, found.redirect, tuple(unread))


def _find_prefix(
    here: Sequence[Location], path: str
) -> tuple[bool, Location | None, Location | None]:
    """Whether it is exact, the location with the longest prefix, and one that wants a slash."""
    best: Location | None = None
    redirect: Location | None = None
    for each in here:
        if each.sort == "=" and each.pattern == path:
            return True, each, None
        is_prefix = each.sort in ("", "^~") and path.startswith(each.pattern)
        if is_prefix and (best is None or len(each.pattern) > len(best.pattern)):
            best = each
        if each.sort in ("", "^~", "=") and each.pattern == f"{path}/" and each.redirects:
            redirect = each
    if best is not None and best.pattern == path:
        return False, best, None
    return False, best, redirect


def captured(match: re.Match[str]) -> dict[str, str]:
    """$1, $2 and the named ones."""
    groups = {str(place): text or "" for place, text in enumerate(match.groups(), 1)}
    return groups | {name: text or "" for name, text in match.groupdict().items()}
