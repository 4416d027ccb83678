"""The cases of the fault laboratory, read from their files. Pure.

A case is one configuration file whose first comment block is TOML: the row of the catalogue, what a
caller gets, what arrives behind, and what the doctor must say. The rest is the configuration as its
program reads it, with @listen@, @upstream@ and the like in place of addresses. README.md has the
format.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
SUFFIXES = {".conf", ".cfg", ".Caddyfile", ".yaml", ".toml", ".sh"}
Set = Literal["faults", "healthy", "unseen"]
_SECTION = re.compile(r"^# ==> (\S+)\n", re.MULTILINE)
_PLACE = re.compile(r"@([a-z][a-z_0-9]*)@")


class BadCase(ValueError):  # noqa: N818 - a verdict on a file
    """What is wrong with a case's file."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the doctor must say.

    `also` are other rules that are due at the level of errors, where a case has two faults, `warns`
    those that may warn.
    """

    verdict: Literal["healthy", "broken", "cannot_tell"] = "broken"
    hop: str | None = None
    phase: str | None = None
    rule: str | None = None
    also: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One laboratory case. `chain` is the programs in front of the sidecar, inside first.

    `client` is what a Twilio-shaped upgrade gets at the outermost hop: a status, "EOF", "timeout"
    and so on (see raw_upgrade). `backend` is what the head that arrived behind must hold, "no NAME"
    for a header that must be absent, or ["nothing"].
    """

    name: str  # "nginx/h01-no-upgrade-headers"
    set: Set
    row: str  # of the catalogue, "" for healthy configurations
    says: str
    chain: tuple[str, ...]
    files: Mapping[str, str]
    expected: Expected
    gateway: str = "proper"
    client: str = "101"
    backend: tuple[str, ...] = ()
    secure: bool = False  # the outermost hop is asked by https
    inner_secure: bool = False  # ... and the ones behind it
    server_name: str = "voice.example.com"
    host: str = "voice.example.com"
    path: str = "/voice/stream"
    webhook: str = "/voice/webhook"
    admin: bool = True
    idle_s: float = 0.0
    answer_s: float = 1.2
    held: int = 0  # streams that are open while the case runs
    asked: int = 0  # requests that were made before
    settle_s: float = 0.0  # until a health check has found its verdict
    sidecar: tuple[str, ...] = ()  # further options of `hopscope proxy`
    reload_when_idle: bool = False
    open: str = ""  # why the doctor does not see it yet

    def text(self, program: str) -> str:
        """The configuration of one program of the chain; "" where it has its proper one."""
        if program in self.files:
            return self.files[program]
        return self.files.get("", "") if len(self.chain) == 1 else ""

    @property
    def snippets(self) -> dict[str, str]:
        """Files that are included, by their path."""
        return {name: text for name, text in self.files.items() if name not in ("", *self.chain)}


_EXPECTED = {each.name for each in fields(Expected)}
_OWN = {"name", "set", "files", "expected"}
_KEYS = {each.name for each in fields(Case)} - _OWN | _EXPECTED


def all_cases(root: Path = HERE) -> list[Case]:
    """Every case of the laboratory, by name. Raises BadCase."""
    paths = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)
    return [read_case(path, root) for path in paths]


def read_case(path: Path, root: Path = HERE) -> Case:
    """Raises BadCase."""
    name = str(path.relative_to(root).with_suffix(""))
    head, body = _split(path.read_text(encoding="utf-8"))
    try:
        told = tomllib.loads(head)
    except tomllib.TOMLDecodeError as error:
        raise BadCase(f"{name}: its first comment is not TOML: {error}") from None
    unknown = told.keys() - _KEYS
    if unknown:
        raise BadCase(f"{name}: there is no key {', '.join(sorted(unknown))}")
    folder = path.relative_to(root).parts[:-1]
    of_set: Set = "healthy" if "healthy" in folder else "unseen" if "unseen" in folder else "faults"
    if "says" not in told or (of_set != "healthy" and "row" not in told):
        raise BadCase(f"{name}: lacks says or row")
    expected = {key: _frozen(told.pop(key)) for key in _EXPECTED & told.keys()}
    if of_set == "healthy":
        expected = {"verdict": "healthy"} | expected
    told.setdefault("chain", [folder[-1]])
    told.setdefault("row", "")
    return Case(
        name=name,
        set=of_set,
        files=dict(_sections(body)),
        expected=Expected(**expected),
        **{key: _frozen(value) for key, value in told.items()},
    )


def places_of(text: str) -> set[str]:
    """The names of the places that a configuration asks for."""
    return set(_PLACE.findall(text))


def render(text: str, places: Mapping[str, str]) -> str:
    """A configuration with its places filled in. Raises KeyError for one that is unknown."""
    return _PLACE.sub(lambda found: places[found[1]], text)


def _split(text: str) -> tuple[str, str]:
    """The first comment block without its marks, and everything behind it."""
    lines = text.splitlines(keepends=True)
    count = 0
    while count < len(lines) and lines[count].startswith("#") and "==>" not in lines[count]:
        count += 1
    head = "".join(line[1:].removeprefix(" ") for line in lines[:count])
    return head, "".join(lines[count:])


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """The files in a case's body: "" for what stands before the first `# ==> NAME`."""
    first, *others = _SECTION.split(body)
    if first.strip():
        yield "", first.lstrip("\n")
    yield from zip(others[::2], others[1::2], strict=True)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
