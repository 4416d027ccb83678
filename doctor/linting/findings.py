"""What a linter found in a configuration file, and the pages of its rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that must work, as Twilio asks for them, and of which public name, if known."""

    webhook: str = "/voice/webhook"
    stream: str = "/voice/stream"
    status: str = "/voice/status"
    host: str = ""  # "voice.example.com"; "" where it is not known
    scheme: str = ""  # "https" or "http", of the public URL; "" where it is not known


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One defect at one place. `line` counts from 1; 0 where the file has no lines (JSON)."""

    rule: str  # "NG01"
    slug: str
    level: Level
    file: Path
    line: int
    saw: str  # one sentence that quotes the file
    fix: str  # what to write instead


@dataclass(frozen=True, slots=True)
class Becomes:
    """What a path becomes: which place in the file takes it, and what goes where."""

    path: str
    place: str  # "location /voice/ (nginx.conf:12)", or "" where nothing takes it
    upstream: str  # "http://127.0.0.1:8080", or ""
    target: str  # the path after rewriting, or ""


@dataclass(frozen=True, slots=True)
class LintReport:
    """`unreadable` says why a file could not be read; then there are no findings.

    `remarks` are sentences about what is no defect, and about what the linter does not model.
    """

    findings: tuple[LintFinding, ...] = ()
    paths: tuple[Becomes, ...] = ()
    unreadable: str = ""
    remarks: tuple[str, ...] = ()
    kind: str = ""  # which linter it was; the engine says it


@dataclass(frozen=True, slots=True)
class LintRule:
    """A page of `hopscope explain`."""

    id: str
    slug: str
    level: Level
    defect: str
    why: str
    fix: str


Pages = Mapping[str, LintRule]
