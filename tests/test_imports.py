"""Who may import whom: packages that share protocols, a doctor that takes only readers, layers."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import doctor

ROOT = Path(__file__).parent.parent
PACKAGES = ("proxy", "gateway", "doctor")
# What waits, listens, tells the time, or writes a log.
SHELL = {"aiohttp", "asyncio", "logging", "selectors", "socket", "ssl", "structlog", "time"}


def imported(file: Path) -> Iterator[str]:
    """Names of modules, in functions and for types as well."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # `from proxy import relay` names a module, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def source_of(module: str) -> Path | None:
    file = ROOT / (module.replace(".", "/") + ".py")
    return file if file.is_file() else None


def from_others(package: str) -> dict[str, set[str]]:
    """Modules of the other packages that a package imports, and by which of its files."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        for name in imported(file):
            if name.partition(".")[0] in PACKAGES and not f"{name}.".startswith(f"{package}."):
                found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("package", ["proxy", "gateway"])
def test_sidecar_and_gateway_import_nothing_of_the_others(package: str) -> None:
    assert from_others(package) == {}


def test_the_doctor_imports_only_what_neither_waits_nor_listens() -> None:
    reached = {name: name for name in from_others("doctor") if source_of(name)}
    queue = list(reached)
    impure = []
    while queue:
        module = queue.pop()
        file = source_of(module)
        assert file is not None
        for name in imported(file):
            if name.partition(".")[0] in SHELL:
                impure.append(f"{module} imports {name}, by way of {reached[module]}")
            elif name.partition(".")[0] in PACKAGES and source_of(name) and name not in reached:
                reached[name] = reached[module]
                queue.append(name)
    assert impure == []
    assert {"proxy.routes", "proxy.http1", "gateway.g711", "gateway.settings"} <= set(reached)


def in_order() -> list[str]:
    """The doctor's packages as its docstring lists them, from the command line inwards."""
    listed = (doctor.__doc__ or "").partition("Words used")[0]
    return re.findall(r"^ {4}(\w+) {2,}", listed, re.MULTILINE)


def test_the_doctor_lists_its_packages_and_none_imports_one_that_is_listed_above_it() -> None:
    order = in_order()
    folders = {file.parent.name for file in (ROOT / "doctor").glob("*/__init__.py")}
    assert sorted(order) == sorted(folders)
    outwards = []
    for file in sorted((ROOT / "doctor").rglob("*.py")):
        own = file.relative_to(ROOT / "doctor").parts[0]
        depth = order.index(own) if own in order else len(order)  # what they share is innermost
        for name in imported(file):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "doctor" and other in order and order.index(other) < depth:
                outwards.append(f"{file.relative_to(ROOT)} imports {name}")
    assert outwards == []


@pytest.mark.parametrize("package", [*PACKAGES, "deployment"])
def test_every_folder_of_modules_is_in_the_wheel(package: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    files = (ROOT / package).rglob("*.py")
    folders = {".".join(file.relative_to(ROOT).parent.parts) for file in files}
    assert folders - listed == set()
