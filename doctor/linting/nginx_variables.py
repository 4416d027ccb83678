"""nginx's variables for one request: what is known of them without running nginx (pure).

A variable is a text, or unknown: set by a module, by a file that is not here, by the client.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from doctor.linting.nginx_locations import captured
from doctor.linting.nginx_parser import Directive
from doctor.linting.nginx_servers import Server, python_regex
from doctor.linting.ways import Request

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_MAPS_DEPTH_MAX = 10
# Sent by what stands in front of nginx, if anything does.
_FROM_IN_FRONT = ("x_forwarded", "x_real", "cf_", "forwarded", "tailscale", "true_client")


class Variables:
    """What `$name` stands for in one request to one server{}."""

    def __init__(self, server: Server, request: Request) -> None:
        path, mark, query = request.path.partition("?")
        self._request = request
        self._maps = {each.args[1].lstrip("$"): each for each in server.http if _is_map(each)}
        self._geos = {each.args[-1].lstrip("$"): each for each in server.http if _is_geo(each)}
        self._depth = 0
        literal = [name for name in server.names if re.fullmatch(r"[\w-]+(\.[\w-]+)+", name)]
        host = request.host or (literal[0] if literal else None)
        port = next((each.port for each in server.listens if "ssl" in each.flags), "")
        self.values: dict[str, str | None] = {
            "request_uri": request.path,
            "uri": path,
            "document_uri": path,
            "args": query,
            "query_string": query,
            "is_args": mark,
            "request_method": request.method,
            "scheme": "https" if server.has_tls else "http",
            "https": "on" if server.has_tls else "",
            "server_port": port or server.listens[0].port,
            "server_name": server.names[0] if server.names else "",
            "host": host,
            "http_host": host,
            "content_type": request.headers.get("content-type", ""),
            "http_x_forwarded_proto": "https",  # Twilio asks for https, whoever ends it
            "http_x_forwarded_ssl": "on",
            "http_x_twilio_signature": "signature",
            "http_sec_websocket_key": "key" if "upgrade" in request.headers else "",
        }

    def get(self, name: str) -> str | None:
        """None for what is not known. Of a map, the value that this request gets."""
        if name in self.values:
            return self.values[name]
        if name in self._maps:
            return self._mapped(self._maps[name])
        if name in self._geos:
            return _of_far_away(self._geos[name])
        if name.startswith("http_"):
            if name.startswith(tuple(f"http_{each}" for each in _FROM_IN_FRONT)):
                return None
            return self._request.headers.get(name[5:].replace("_", "-"), "")
        return "" if name.startswith(("cookie_", "arg_")) else None

    def expand(self, text: str) -> str:
        """The text with every known variable in it replaced; unknown ones stay."""

        def value(match: re.Match[str]) -> str:
            found = self.get(match[1] or match[2])
            return match[0] if found is None else found

        return _VARIABLE.sub(value, text)

    def known(self, text: str) -> str | None:
        """The text without variables, or None where one of them is not known."""
        names = [one or two for one, two in _VARIABLE.findall(text)]
        return None if any(self.get(name) is None for name in names) else self.expand(text)

    def holds(self, condition: Sequence[str]) -> bool | None:
        """What an `if` makes of its condition; None where that is not known."""
        if len(condition) == 1:
            value = self.known(condition[0])
            return None if value is None else value not in ("", "0")
        operator = condition[0]
        if operator.lstrip("!") in ("-f", "-d", "-e", "-x"):  # no file has a name of ours
            return operator.startswith("!")
        if len(condition) != 3:
            return None
        subject, operator, wanted = self.known(condition[0]), condition[1], condition[2]
        if subject is None:
            return None
        if operator in ("=", "!="):
            other = self.known(wanted)
            return None if other is None else (subject == other) == (operator == "=")
        match = search(operator.lstrip("!"), wanted, subject)
        if match is None:
            return None
        if match:
            self.values.update(captured(match))
        return bool(match) != operator.startswith("!")

    def _mapped(self, found: Directive) -> str | None:
        source = self.known(found.args[0])
        if source is None or self._depth > _MAPS_DEPTH_MAX:
            return None
        self._depth += 1
        try:
            value = _entry(found.block or (), source)
            return None if value is None else self.known(value)
        finally:
            self._depth -= 1


def search(operator: str, pattern: str, subject: str) -> re.Match[str] | Literal[False] | None:
    """A match, False for none, None where Python cannot read the expression."""
    try:
        compiled = re.compile(python_regex(pattern), re.IGNORECASE if operator.endswith("*") else 0)
    except (re.error, OverflowError, RecursionError):
        return None
    return compiled.search(subject) or False


def _is_map(each: Directive) -> bool:
    return each.name == "map" and len(each.args) == 2 and each.block is not None


def _is_geo(each: Directive) -> bool:
    return each.name == "geo" and len(each.args) in (1, 2) and each.block is not None


def _of_far_away(geo: Directive) -> str | None:
    """What a geo{} gives an address of the internet; not known where it has one of this machine.

    Twilio's addresses are nobody's to list; behind a tunnel the address is this machine's own.
    """
    entries = [each for each in geo.block or () if each.args]
    has_near = any(each.name.startswith(("127.", "10.", "192.168.", "::1")) for each in entries)
    default = next((each.args[0] for each in entries if each.name == "default"), "")
    return None if has_near else default


def _entry(entries: Iterable[Directive], source: str) -> str | None:
    """The value that a map gives a source: equal first, then regular expressions, then default."""
    default: str | None = ""
    matching: str | None = None
    for each in entries:
        if not each.args:
            continue
        value = each.args[0]
        if each.name == "default":
            default = value
        elif each.name.startswith("~"):
            match = search(each.name[:2], each.name.lstrip("~").removeprefix("*"), source)
            if match is None:
                return None
            if match and matching is None:
                matching = value
                for name, text in captured(match).items():
                    matching = matching.replace(f"${name}", text)
        elif each.name.lower().removeprefix("\\") == source.lower():
            return value
    return default if matching is None else matching
