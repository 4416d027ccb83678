"""What the rules for Apache look at: one passage, and those beside it (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from doctor.linting.apache_hosts import Host
from doctor.linting.apache_parser import Config, Directive
from doctor.linting.apache_passage import Passage
from doctor.linting.family import Family, Saw
from doctor.linting.findings import Level, Paths
from proxy.redact import shown_target


@dataclass(frozen=True, slots=True)
class Case:
    """The passage of one of the paths. `beside` are those of all paths in the same host."""

    passage: Passage
    beside: Sequence[Passage]
    paths: Paths
    config: Config
    elsewhere: Host | None = None  # passes the path on, and does not get requests for the name

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

    @property
    def misses_includes(self) -> bool:
        """A file that is not here is included: what is absent may be in it."""
        return bool(self.config.missing)

    def saw(
        self, text: str, at: Directive | None = None, *, fix: str = "", level: Level | None = None
    ) -> Saw:
        at = at or self.passage.at
        return Saw(text, at.file, at.line, fix, level)


APACHE: Family[Case] = Family()
