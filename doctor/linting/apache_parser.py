"""Apache's configuration as a tree of directives, with its includes in their places.

https://httpd.apache.org/docs/2.4/configuring.html. <IfModule> and <IfDefine> are decided as far as
the file tells: by its LoadModule lines where it has any, else they are taken to hold.
"""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from doctor.linting.nodes import Unreadable
from doctor.linting.reading import read_text
from doctor.linting.urls import shown_url

_DEPTH_MAX = 12
_FILES_MAX = 500
_CONDITIONS = ("ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection")


@dataclass(frozen=True, slots=True, eq=False)
class Directive:
    """One statement; its name in lower case. `block` is None where it is no section."""

    name: str
    args: tuple[str, ...]
    file: Path
    line: int
    spelled: str
    block: tuple["Directive", ...] | None = None

    @property
    def told(self) -> str:
        """As it stands in the file, short enough to be quoted, without the secrets of URLs."""
        args = (shown_url(arg) if "://" in arg else arg for arg in self.args)
        text = " ".join((self.spelled, *args))
        text = f"<{text}>" if self.block is not None else text
        return text if len(text) <= 100 else f"{text[:97]}..."

    @property
    def place(self) -> str:
        return f"{self.told} ({self.file.name}:{self.line})"


@dataclass(frozen=True, slots=True)
class Config:
    """`block` is the main server's. `modules` is empty where no line loads any."""

    block: tuple[Directive, ...]
    modules: frozenset[str] = frozenset()
    missing: tuple[Directive, ...] = ()

    @property
    def is_whole(self) -> bool:
        """The main file, not one of sites-enabled alone."""
        return any(each.name in ("serverroot", "listen", "loadmodule") for each in self.block)


@dataclass(slots=True)
class _Section:
    """A section while it is open."""

    name: str
    args: tuple[str, ...]
    spelled: str
    line: int
    block: list[Directive] = field(default_factory=list)


def parse(text: str, file: Path) -> Config:
    """Raises Unreadable."""
    reader = _Reader(file)
    block = tuple(reader.read(text, file))
    return Config(block, frozenset(reader.modules), tuple(reader.missing))


class _Reader:
    def __init__(self, main: Path) -> None:
        self._root = main.parent
        self._defines: dict[str, str] = {}
        self._read = 0
        self.modules: set[str] = set()
        self.missing: list[Directive] = []

    def read(self, text: str, file: Path, depth: int = 0) -> list[Directive]:
        self._read += 1
        if depth > _DEPTH_MAX or self._read > _FILES_MAX:
            raise Unreadable(f"{file}: includes go round in circles, or there are too many")
        top = _Section("", (), "", 0)
        opened = [top]
        for number, line in _lines(text):
            if line.startswith("</"):
                self._close(opened, line, number, file)
            elif line.startswith("<"):
                opened.append(self._section(line, number, file))
            else:
                line = self._expanded(line)
                # The expressions of Require hold quotes of their own.
                is_raw = line.lower().startswith("require ")
                spelled, *args = (line.split() if is_raw else _words(line)) or [""]
                each = Directive(spelled.lower(), tuple(args), file, number, spelled)
                opened[-1].block += self._kept(each, depth)
        if len(opened) > 1:
            last = opened[-1]
            raise Unreadable(
                f"{file}: line {last.line}: <{last.spelled}> is never closed; is the file whole?"
            )
        return top.block

    def _section(self, line: str, number: int, file: Path) -> _Section:
        if not line.endswith(">"):
            raise Unreadable(f"{file}: line {number}: {line[:40]} lacks its >; is the file whole?")
        spelled, *args = _words(self._expanded(line[1:-1])) or [""]
        return _Section(spelled.lower(), tuple(args), spelled, number)

    def _close(self, opened: list[_Section], line: str, number: int, file: Path) -> None:
        name = line[2:].rstrip("> ").lower()
        last = opened[-1]
        if last.name != name or len(opened) == 1:
            expected = f"</{last.spelled}> is expected" if len(opened) > 1 else "nothing is open"
            raise Unreadable(f"{file}: line {number}: {line[:40]} where {expected}")
        opened.pop()
        if last.name in _CONDITIONS:
            opened[-1].block += last.block if self._holds(last) else []
        else:
            block = tuple(last.block)
            each = Directive(last.name, last.args, file, last.line, last.spelled, block)
            opened[-1].block.append(each)

    def _kept(self, each: Directive, depth: int) -> list[Directive]:
        """A directive, or what it stands for."""
        if each.name == "define" and each.args:
            self._defines[each.args[0]] = each.args[1] if len(each.args) > 1 else ""
        elif each.name == "serverroot" and each.args:
            self._root = Path(each.args[0])
        elif each.name == "loadmodule" and each.args:
            self.modules.add(each.args[0].lower())
        elif each.name in ("include", "includeoptional") and each.args:
            return self._included(each, depth)
        return [each]

    def _included(self, include: Directive, depth: int) -> list[Directive]:
        pattern = include.args[0]
        found = self._found(pattern, include.file)
        if not found:
            is_absent = include.name == "include" and not glob.has_magic(pattern)
            folder = Path(pattern).parent
            if is_absent or (pattern.startswith("/") and not folder.is_dir()):
                self.missing.append(include)
                return [include]
        block: list[Directive] = []
        for path in found:
            block += self.read(read_text(path), path, depth + 1)
        return block

    def _found(self, pattern: str, file: Path) -> list[Path]:
        if "\0" in pattern:
            return []
        # Relative to ServerRoot; a site's file is linted without the line that says it.
        for base in (self._root, file.parent, file.absolute().parent.parent):
            names = sorted(glob.glob(str(base / pattern)))
            if names:
                paths = [Path(name) for name in names]
                inside = [
                    each for path in paths if path.is_dir() for each in sorted(path.iterdir())
                ]
                return [path for path in (*paths, *inside) if path.is_file()]
        return []

    def _holds(self, section: _Section) -> bool:
        if not section.args:
            return True
        name = section.args[0].lower()
        is_negated, name = name.startswith("!"), name.lstrip("!")
        if section.name == "ifdefine":
            holds = any(name == each.lower() for each in self._defines)
        elif section.name == "ifmodule" and self.modules:
            bare = name.removeprefix("mod_").removesuffix(".c").removesuffix("_module")
            holds = f"{bare}_module" in self.modules or bare in ("core", "so", "http")
        else:
            holds = True
        return holds != is_negated

    def _expanded(self, line: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda m: self._defines.get(m[1], m[0]), line)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines without comments: a backslash at the end joins the next one."""
    joined, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        whole = (joined + line).strip()
        if whole and not whole.startswith("#"):
            yield first, whole
        joined, first = "", 0
    if joined.strip() and not joined.strip().startswith("#"):
        yield first, joined.strip()


_WORD = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"?|'((?:\\.|[^'\\])*)'?|([^\s"']\S*))""")


def _words(line: str) -> list[str]:
    """As ap_getword_conf: quotes hold words together, a backslash hides a quote."""
    words = []
    place = 0
    while (match := _WORD.match(line, place)) is not None and match.end() > place:
        double, single, plain = match.groups()
        quoted = double if double is not None else single
        words.append(plain if quoted is None else re.sub(r"""\\(["'\\])""", r"\1", quoted))
        place = match.end()
    return words


def sections(block: Sequence[Directive], *names: str) -> Iterator[Directive]:
    yield from (each for each in block if each.name in names and each.block is not None)


def last(block: Sequence[Directive], name: str) -> Directive | None:
    return next((each for each in reversed(block) if each.name == name), None)
