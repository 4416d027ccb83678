"""nginx configuration as a tree of directives, with its includes in their places.

crossplane reads one file at a time; which files there are is decided here, because an `nginx -T`
output holds its includes itself, and a file of sites-enabled is linted without the main one.
"""

import glob
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import crossplane  # type: ignore[import-untyped, unused-ignore]
from crossplane.analyzer import (  # type: ignore[import-untyped, unused-ignore]
    DIRECTIVES,
)

from doctor.linting.nginx_dump import sections
from doctor.linting.nodes import Unreadable
from doctor.linting.reading import read_text
from doctor.linting.urls import shown_url

# Files that every nginx.conf includes and that say nothing about where a request goes.
_HARMLESS = ("mime.types", "fastcgi_params", "fastcgi.conf", "uwsgi_params", "scgi_params")
_HARMLESS_PARTS = ("modules-enabled", "options-ssl", "ssl-params", "koi-", "win-utf")
_DEPTH_MAX = 12
_FILES_MAX = 500
# What a fragment is wrapped in, so that crossplane knows the context it is meant for. All on the
# first line: line numbers stay as they are.
_WRAPPINGS: Mapping[str, tuple[str, ...]] = {
    "main": (),
    "http": ("http",),
    "server": ("http", "server"),
    "location": ("http", "server", "location /"),
    "other": (),
}
_MAIN = frozenset(("http", "events", "stream", "mail", "daemon", "user", "worker_processes", "pid"))
_HTTP = frozenset(("server", "upstream", "map", "limit_req_zone", "limit_conn_zone", "log_format"))


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """One statement. `block` is None where it has none; two of them are never equal."""

    name: str
    args: tuple[str, ...]
    file: Path
    line: int
    block: tuple["Directive", ...] | None = None

    @property
    def told(self) -> str:
        """As it stands in the file, short enough to be quoted, without the secrets of URLs."""
        args = (shown_url(arg) if "://" in arg else arg for arg in self.args)
        text = " ".join((self.name, *args))
        return text if len(text) <= 100 else f"{text[:97]}..."

    @property
    def place(self) -> str:
        return f"{self.told} ({self.file.name}:{self.line})"

    def all(self, name: str) -> Iterator["Directive"]:
        yield from (each for each in self.block or () if each.name == name)

    def last(self, name: str) -> "Directive | None":
        return next((each for each in reversed(self.block or ()) if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Config:
    """`block` is the main context. `missing` are includes whose files are not here."""

    block: tuple[Directive, ...]
    missing: tuple[Directive, ...] = ()


def parse(text: str, file: Path) -> Config:
    """A file, or the output of `nginx -T`. Raises Unreadable."""
    files = sections(text)
    main = next(iter(files), file)
    reader = _Reader(main, files, is_dump=bool(files))
    return Config(reader.read(files.get(main, text), main, None), tuple(reader.missing))


class _Reader:
    def __init__(self, main: Path, files: Mapping[Path, str], *, is_dump: bool) -> None:
        self._main = main
        self._files = files
        self._is_dump = is_dump
        self._read = 0
        self.missing: list[Directive] = []

    def read(
        self, text: str, file: Path, context: str | None, depth: int = 0
    ) -> tuple[Directive, ...]:
        self._read += 1
        if depth > _DEPTH_MAX or self._read > _FILES_MAX:
            raise Unreadable(f"{file}: includes go round in circles, or there are too many")
        return tuple(self._joined(_parse_text(text, file, context), file, context, depth))

    def _joined(
        self, block: Sequence[Directive], file: Path, context: str | None, depth: int
    ) -> Iterator[Directive]:
        """The block with what its includes hold in their places."""
        here = context or _context_of(block)
        for each in block:
            if each.name == "include" and len(each.args) == 1:
                yield from self._included(each, here, depth)
            elif each.block is None:
                yield each
            else:
                inside = _context_in(each, here)
                yield replace(each, block=tuple(self._joined(each.block, file, inside, depth)))

    def _included(self, include: Directive, context: str, depth: int) -> Iterator[Directive]:
        pattern = include.args[0]
        found = self._found(pattern)
        if found is None:
            if Path(pattern).name not in _HARMLESS and not any(
                part in pattern for part in _HARMLESS_PARTS
            ):
                self.missing.append(include)
                yield include
            return
        for path, text in found:
            yield from self.read(text, path, context, depth + 1)

    def _found(self, pattern: str) -> list[tuple[Path, str]] | None:
        """The files that a pattern stands for, by name; None where they are not to be had."""
        folder = self._main.parent
        if self._is_dump:
            wanted = str(folder / pattern)
            found = sorted(path for path in self._files if path.match(wanted))
            is_empty_glob = glob.has_magic(pattern)
            return [(p, self._files[p]) for p in found] if found or is_empty_glob else None
        # nginx counts from the folder of its main file; a site's file lies one or two below it.
        for base in (folder, *folder.absolute().parents[:3]):
            names = sorted(glob.glob(str(base / pattern))) if "\0" not in pattern else []
            if names:
                files = [Path(name) for name in names if Path(name).is_file()]
                is_found = files or glob.has_magic(pattern)
                return [(each, read_text(each)) for each in files] if is_found else None
            if glob.has_magic(pattern) and (base / pattern).parent.is_dir():
                return []
        is_relative_glob = glob.has_magic(pattern) and not pattern.startswith("/")
        return [] if is_relative_glob else None


def _parse_text(text: str, file: Path, context: str | None) -> tuple[Directive, ...]:
    """The statements of one file. `context` is where it is included; None tells it from itself."""
    bare = _payload(text, check_args=False)
    _refuse_faults(bare, text, file)
    wrapping = _WRAPPINGS[context or _context_of(_statements(bare, file))]
    wrapped = "".join(f"{each} {{" for each in wrapping) + text + "\n" + "}" * len(wrapping)
    payload = _payload(wrapped, check_args=True)
    _refuse_faults(payload, text, file)
    if payload["errors"]:
        suspects = {each["line"] for each in payload["errors"]}
        payload = _payload(wrapped, check_args=False)
        _refuse_missing_semicolon(_statements(payload, file), suspects, file)
    block = _statements(payload, file)
    for _ in wrapping:
        block = block[0].block or ()
    return block


def _refuse_faults(payload: dict[str, Any], text: str, file: Path) -> None:
    # What newer nginxes allow and crossplane does not know looks like a wrong number of arguments.
    faults = [each for each in payload["errors"] if not each["error"].startswith("invalid")]
    if faults:
        raise Unreadable(f"{file}: {_told(faults[0], text)}")


def _payload(text: str, *, check_args: bool) -> dict[str, Any]:
    """What crossplane makes of a text; it reads nothing but files."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as copy:
        copy.write(f"{text}\n")  # its lexer loses a word that ends the file
        copy.flush()
        payload: dict[str, Any] = crossplane.parse(
            copy.name, single=True, check_ctx=False, check_args=check_args
        )
        for error in payload["errors"]:
            error["error"] = error["error"].split(f" in {copy.name}")[0]
    return payload


def _statements(payload: dict[str, Any], file: Path) -> tuple[Directive, ...]:
    def read(found: list[dict[str, Any]]) -> tuple[Directive, ...]:
        return tuple(
            Directive(
                each["directive"],
                tuple(each["args"]),
                file,
                each["line"],
                read(each["block"]) if "block" in each else None,
            )
            for each in found
        )

    return read(payload["config"][0]["parsed"])


def _context_of(block: Sequence[Directive]) -> str:
    """Where statements are meant to stand, told from the statements."""
    names = {each.name for each in block}
    if names & _MAIN:
        return "main"
    if names & _HTTP:
        return "http"
    if names & {"location", "listen", "server_name"}:
        return "server"
    return "location"


def _context_in(block: Directive, context: str) -> str:
    if block.name in ("http", "server", "location"):
        return block.name
    return "location" if block.name in ("if", "limit_except") else "other"


def _told(error: dict[str, Any], text: str) -> str:
    message = error["error"] or "the file ends within a directive; is it whole, and is a ; missing?"
    if "expecting" in message:
        message = "the file ends within a block; is it whole, and is a } missing?"
    elif message.startswith("unexpected"):
        message = f"{message}: there is one too many, or a {{ is missing before it"
    line = error["line"] if error["error"] and "expecting" not in error["error"] else None
    return f"line {line or text.rstrip().count(chr(10)) + 1}: {message}"


def _refuse_missing_semicolon(
    block: Sequence[Directive], lines: set[int | None], file: Path
) -> None:
    for each in block:
        swallowed = next((arg for arg in each.args if arg in DIRECTIVES), None)
        if swallowed is not None and each.line in lines:
            raise Unreadable(
                f"{file}: line {each.line}: {each.name} has no ; at its end, and takes "
                f"{swallowed} for an argument"
            )
        _refuse_missing_semicolon(each.block or (), lines, file)
