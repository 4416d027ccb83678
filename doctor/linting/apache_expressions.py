"""Apache's variables and expressions for one request: what is known without running it (pure).

https://httpd.apache.org/docs/2.4/expr.html. A value is a text, or None where it is not known; an
expression is true, false, or None.
"""

import re
from dataclasses import dataclass, field

from doctor.linting.apache_hosts import Host
from doctor.linting.ways import Request

_VARIABLE = re.compile(r"%\{([\w:-]+)\}")
_COMPARISON = re.compile(
    r"(?P<left>%\{[\w:-]+\}|'[^']*'|\"[^\"]*\")\s*"
    r"(?P<operator>==|!=|=~|!~|=|-eq|-ne|-strmatch|-strcmatch)\s*"
    r"(?P<right>%\{[\w:-]+\}|'[^']*'|\"[^\"]*\"|/(?:\\.|[^/])*/\w*|m(?P<mark>[^\w\s]).*(?P=mark)\w*)"
)
_UNARY = re.compile(r"-(?P<operator>[nz])\s+(?P<value>%\{[\w:-]+\}|'[^']*'|\"[^\"]*\")")


@dataclass(slots=True)
class Facts:
    """One request to one host. A header that is None has a value that is not known."""

    request: Request
    host: Host
    path: str
    query: str
    headers: dict[str, str | None]
    captures: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str | None:
        """%{NAME}."""
        kind, _, rest = name.partition(":")
        if kind == "HTTP" or (kind == "req" and rest):
            return self.headers.get(rest.lower(), "")
        if kind in ("ENV", "LA-U", "LA-F", "SSL", "reqenv", "osenv"):
            return "on" if rest == "HTTPS" and self.host.has_tls else None
        scheme = "https" if self.host.has_tls else "http"
        known: dict[str, str | None] = {
            "REQUEST_URI": self.path,
            "REQUEST_METHOD": self.request.method,
            "REQUEST_SCHEME": scheme,
            "QUERY_STRING": self.query[1:],
            "THE_REQUEST": f"{self.request.method} {self.request.path} HTTP/1.1",
            "HTTPS": "on" if self.host.has_tls else "off",
            "SERVER_PORT": self.host.addresses[0].rpartition(":")[2] or None,
            "SERVER_NAME": self.host.names[0] if self.host.names else None,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": self.headers.get("host"),
            "HTTP_USER_AGENT": self.headers.get("user-agent", ""),
            "HTTP_COOKIE": "",
            "HTTP_REFERER": "",
            "HTTP_ACCEPT": "*/*" if self.request.role != "stream" else "",
            "REMOTE_USER": "",
        }
        return known.get(name)

    def expanded(self, text: str) -> str | None:
        """A text with its variables; None where one of them is not known."""
        values = [self.value(name) for name in _VARIABLE.findall(text)]
        if None in values:
            return None
        return _VARIABLE.sub(lambda match: self.value(match[1]) or "", text)

    def holds(self, expression: str) -> bool | None:
        """An expression of <If> and Require expr."""
        text = expression.strip()
        while text.startswith("(") and text.endswith(")") and "(" not in text[1:]:
            text = text[1:-1].strip()
        for mark, deciding in (("||", True), ("&&", False)):
            parts = _split(text, mark)
            if len(parts) > 1:
                values = [self.holds(part) for part in parts]
                return deciding if deciding in values else None if None in values else not deciding
        if text.startswith("!") and not text.startswith("!~"):
            value = self.holds(text[1:])
            return None if value is None else not value
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        return self._compared(text)

    def _compared(self, text: str) -> bool | None:
        unary = _UNARY.fullmatch(text)
        if unary is not None:
            value = self._operand(unary["value"])
            return None if value is None else (value == "") == (unary["operator"] == "z")
        match = _COMPARISON.fullmatch(text)
        if match is None:
            return None
        left, operator, right = self._operand(match["left"]), match["operator"], match["right"]
        if left is None:
            return None
        if operator in ("=~", "!~"):
            pattern, flags = _regex(right)
            found = matches(pattern, left, ignore_case="i" in flags)
            return None if found is None else (found is not False) == (operator == "=~")
        if operator.startswith("-str"):
            return None
        other = self._operand(right)
        return None if other is None else (left == other) == (operator in ("==", "=", "-eq"))

    def _operand(self, text: str) -> str | None:
        return self.expanded(text[1:-1] if text[:1] in "'\"" else text)


def facts_of(host: Host, request: Request) -> Facts:
    path, mark, query = request.path.partition("?")
    literal = [name for name in host.names if "*" not in name]
    name = request.host or (literal[0] if literal else None)
    sent = {key: value or "key" for key, value in request.headers.items() if key != "host"}
    headers: dict[str, str | None] = {"host": name, **sent, "x-twilio-signature": "signature"}
    headers |= {"x-forwarded-proto": "https"}  # Twilio asks for https, whoever ends it
    return Facts(request, host, path, f"{mark}{query}", headers)


def matches(pattern: str, text: str, *, ignore_case: bool) -> "re.Match[str] | bool | None":
    """A match, False for none, None where Python cannot read the expression."""
    pattern = re.sub(r"\(\?<(?![=!])", "(?P<", pattern)
    try:
        return re.search(pattern, text, re.IGNORECASE if ignore_case else 0) or False
    except (re.error, OverflowError, RecursionError):
        return None


def _regex(text: str) -> tuple[str, str]:
    """/PATTERN/FLAGS or m#PATTERN#FLAGS."""
    text = text.removeprefix("m")
    pattern, _, flags = text[1:].rpartition(text[0])
    return pattern, flags


def _split(text: str, mark: str) -> list[str]:
    """At a mark outside quotes, parentheses and expressions between slashes."""
    parts = [""]
    closing = ""
    place = 0
    while place < len(text):
        character = text[place]
        if closing:
            closing = "" if character == closing and text[place - 1] != "\\" else closing
        elif character in "'\"(/":
            closing = {"(": ")"}.get(character, character)
        elif text.startswith(mark, place):
            parts.append("")
            place += len(mark)
            continue
        parts[-1] += character
        place += 1
    return parts
