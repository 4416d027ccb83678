"""What the rules for nginx look at: one passage, and those beside it (pure)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from doctor.linting.family import Family, Saw
from doctor.linting.findings import Level, Paths
from doctor.linting.nginx_parser import Directive
from doctor.linting.nginx_passage import Passage
from doctor.linting.nginx_servers import Server
from proxy.redact import shown_target

_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class Case:
    """The passage of one of the paths. `beside` are those of all paths in the same server{}."""

    passage: Passage
    beside: tuple[Passage, ...]
    paths: Paths
    elsewhere: Server | None = None  # serves the path, and does not get requests for the host

    @property
    def role(self) -> str:
        return self.passage.request.role

    @property
    def path(self) -> str:
        """As it may be shown: a query may be a token."""
        return shown_target(self.passage.request.path)

    @property
    def target(self) -> str:
        """What the path becomes, as it may be shown."""
        return shown_target(self.passage.target)

    @property
    def is_stream(self) -> bool:
        """The stream, passed on by proxy_pass."""
        return self.role == "stream" and self.passage.is_proxied

    @property
    def level(self) -> Level | None:
        """A gateway can do without status callbacks."""
        return "warning" if self.role == "status" else None

    def other(self, role: str) -> Passage | None:
        return next((each for each in self.beside if each.request.role == role), None)

    def saw(
        self,
        text: str,
        at: Directive | None = None,
        *,
        fix: str = "",
        level: Level | None = None,
    ) -> Saw:
        at = at or self.passage.at
        return Saw(text, at.file, at.line, fix, level)

    def header(self, name: str) -> Directive | None:
        """The proxy_set_header that applies, by a header's name."""
        return of_header(self.passage.effective_all("proxy_set_header"), name)

    def header_value(self, directive: Directive) -> str | None:
        """What it sends for this request; None where that is not known."""
        return self.passage.variables.known(directive.args[1])

    def may_be_elsewhere(self, found: Directive | None) -> bool:
        """A directive is absent, and an include that is not here may hold it."""
        return found is None and self.passage.has_unknown_include()


NGINX: Family[Case] = Family()


def of_header(found: Iterable[Directive], name: str) -> Directive | None:
    headers = [each for each in found if len(each.args) == 2 and each.args[0].lower() == name]
    return headers[-1] if headers else None


def seconds(text: str) -> float | None:
    """nginx's time ("60", "1m 30s", "500ms"), or None."""
    parts = re.findall(r"(\d+)(ms|[smhdw]?)\s*", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        return None
    return sum(int(number) * _TIMES[unit] for number, unit in parts)


def size_bytes(text: str) -> int | None:
    """nginx's size ("8k", "1m"), or None."""
    match = re.fullmatch(r"(\d+)([kmg]?)", text.lower())
    return int(match[1]) * _SIZES[match[2]] if match else None
