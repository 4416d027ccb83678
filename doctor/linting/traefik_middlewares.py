"""What Traefik's middlewares make of a path (pure)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from doctor.linting.go_regex import RegexRefused, RegexUnknown, compile_go
from doctor.linting.nodes import Node
from doctor.linting.ways import Request


@dataclass(frozen=True, slots=True)
class Middleware:
    name: str
    kind: str  # "stripPrefix"
    options: Node


def arrived(middlewares: Iterable[Middleware], path: str) -> str:
    """The path behind all of them; "" where it cannot be told."""
    for each in middlewares:
        path = _rewritten(each, path)
        if not path:
            break
    return path


def redirect_of(middlewares: Iterable[Middleware], is_tls: bool, request: Request) -> str:
    """Where a request is sent in place of the gateway; "" where none of them redirects it."""
    for each in middlewares:
        if each.kind == "redirectScheme":
            scheme = each.options["scheme"].text
            if scheme and scheme != ("https" if is_tls else "http"):
                return f"{scheme}://{request.host}{request.path}"
        if each.kind == "redirectRegex":
            pattern = _compiled(each.options["regex"].text)
            url = f"{'https' if is_tls else 'http'}://{request.host}{request.path}"
            if pattern is not None and pattern.search(url):
                return _replaced(pattern, each.options["replacement"].text, url) or "another URL"
    return ""


def _rewritten(middleware: Middleware, path: str) -> str:
    options = middleware.options
    if middleware.kind == "stripPrefix":
        prefix = next((p.text for p in options["prefixes"] if path.startswith(p.text)), "")
        return _rooted(path[len(prefix) :])
    if middleware.kind == "addPrefix":
        return _rooted(options["prefix"].text + path)
    if middleware.kind == "replacePath":
        return _rooted(options["path"].text)
    if middleware.kind == "stripPrefixRegex":
        for each in options["regex"]:
            pattern = _compiled(each.text)
            if pattern is None:
                return ""
            if found := pattern.match(path):
                return _rooted(path[found.end() :])
        return path
    if middleware.kind == "replacePathRegex":
        pattern = _compiled(options["regex"].text)
        return _replaced(pattern, options["replacement"].text, path) if pattern else ""
    return path


def _rooted(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _compiled(text: str) -> re.Pattern[str] | None:
    try:
        return compile_go(text)
    except (RegexRefused, RegexUnknown):
        return None


def _replaced(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """Go's ReplaceAllString; "" where the replacement names a group that there is not."""
    template = re.sub(r"\$(?:\{(\w+)\}|(\w+))", _group, replacement.replace("\\", r"\\"))
    try:
        return pattern.sub(template, text)
    except (re.error, IndexError):
        return ""


def _group(found: re.Match[str]) -> str:
    return rf"\g<{found[1] or found[2]}>"
