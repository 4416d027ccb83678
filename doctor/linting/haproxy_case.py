"""What the rules for HAProxy look at: one passage, and those beside it (pure)."""

from dataclasses import dataclass

from doctor.linting.family import Family, Saw
from doctor.linting.findings import Level, Paths
from doctor.linting.haproxy_parser import Line
from doctor.linting.haproxy_passage import Passage
from proxy.redact import shown_target


@dataclass(frozen=True, slots=True)
class Case:
    """The passage of one of the paths. `beside` are those of all paths, asked in the same way."""

    passage: Passage
    beside: tuple[Passage, ...]
    paths: Paths

    @property
    def role(self) -> str:
        return self.passage.request.role

    @property
    def path(self) -> str:
        """As it may be shown: a query may be a token."""
        return shown_target(self.passage.request.path)

    @property
    def target(self) -> str:
        return shown_target(self.passage.target)

    @property
    def is_stream(self) -> bool:
        return self.role == "stream" and self.passage.is_proxied

    @property
    def level(self) -> Level | None:
        """A gateway can do without status callbacks."""
        return "warning" if self.role == "status" else None

    def saw(self, text: str, at: Line | None = None, *, level: Level | None = None) -> Saw:
        at = at or self.passage.by
        return Saw(text, at.file, at.number, level=level)


HAPROXY: Family[Case] = Family()
