"""The images of the container tests, under the names that users pull.

    python -m containers.images [NAME]...      from tests/: make them now, all of them by default

An image that is there is used. Otherwise it is pulled, where a registry answers; else a stand-in
is made of Debian packages (stand_ins/*.Dockerfile) and of the pinned tools. CONTAINER_IMAGES=build
never pulls. A stand-in carries the digest of what it was made of, and is made again only when that
has changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "stand_ins"
CONTENT = "hopscope.content"  # the label with the digest
SUITE = "trixie"  # what python:3.13-slim and nginx:stable stand on

DEBIAN = f"hopscope-test/debian:{SUITE}"
PYTHON = "hopscope-test/python:3.13"
BUILDER = "hopscope-test/builder:3.13"
HOPSCOPE = "hopscope:test"
NGINX = "nginx:stable"
CLOUDFLARED = "cloudflare/cloudflared:latest"
TAILSCALE = "tailscale/tailscale:stable"

BUILD_S = 600
PULL_S = 300


class ImageError(Exception):
    """An image can be neither had nor made; str() says why."""


@dataclass(frozen=True)
class StandIn:
    """What an image is made of where it can't be pulled."""

    dockerfile: str
    base: str
    programs: tuple[str, ...] = ()  # of the pinned tools
    fetch: Callable[[Path], None] = lambda context: None  # puts more into the build
    made_of: Callable[[], str] = str  # what of that is in the digest


Say = Callable[[str], None]
Tool = Callable[[str], Path]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


class Images:
    """Makes images and says what it does; `tool` finds the programs that are pinned."""

    def __init__(self, tool: Tool, say: Say = _say) -> None:
        self._tool = tool
        self._say = say
        self._is_registry_there = os.environ.get("CONTAINER_IMAGES") != "build"
        self._ready: dict[str, str] = {}

    def get(self, name: str) -> str:
        """The image, made if need be; its content's digest. Raises ImageError."""
        if name not in self._ready:
            self._ready[name] = self._make(name)
        return self._ready[name]

    def _make(self, name: str) -> str:
        if name == HOPSCOPE:
            return self._hopscope()
        if name == DEBIAN:
            return self._debian()
        if name not in STAND_IN:
            raise ImageError(f"{name}: there is no such image; there are {', '.join(NAMES)}")
        there = _label(name)
        if there == "":  # the real one
            return name
        if there is None and not name.startswith("hopscope-test/") and self._pull(name):
            return name
        return self._stand_in(name, STAND_IN[name])

    def _pull(self, name: str) -> bool:
        if not self._is_registry_there:
            return False
        with self._progress(f"{name}: pulling"):
            pulled = docker("pull", "--quiet", name, timeout_s=PULL_S, check=False)
        if pulled.returncode:
            # One refusal is enough: the others are asked of the same registry.
            self._is_registry_there = False
            self._say(f"  not pulled ({pulled.stderr.strip()}); stand-ins are made instead")
        return not pulled.returncode

    def _debian(self) -> str:
        content = _digest(SUITE, "minbase ca-certificates")
        if _label(DEBIAN) == content:
            return content
        if shutil.which("debootstrap", path=_PATH) is None:
            raise ImageError("debootstrap is not installed, of which all stand-ins are made")
        with self._progress(f"{DEBIAN}: debootstrap"), tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            _run(
                *("debootstrap", "--variant=minbase", "--include=ca-certificates"),
                *(SUITE, str(root)),
            )
            left_out = (f"--exclude=./{path}" for path in _LEFT_OUT)
            tar = ["tar", "--create", "--numeric-owner", *left_out, "--directory", str(root), "."]
            with subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
                change = f"LABEL {CONTENT}={content}"
                docker("import", "--change", change, "-", DEBIAN, stdin=packing.stdout)
            if packing.returncode:
                raise ImageError(f"tar ended with {packing.returncode}")
        return content

    def _stand_in(self, name: str, recipe: StandIn) -> str:
        base = self.get(recipe.base)
        dockerfile = STAND_INS / f"{recipe.dockerfile}.Dockerfile"
        programs = {program: self._tool(program) for program in recipe.programs}
        content = _digest(
            base,
            dockerfile.read_text(),
            recipe.made_of(),
            *(_file_digest(program) for program in programs.values()),
        )
        if _label(name) == content:
            return content
        with self._progress(f"{name}: building"), tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            for program, path in programs.items():
                shutil.copy(path, context / program)
            recipe.fetch(context)
            # The mirror is asked from the machine's own network; inside there may be none.
            options = ("--network=host", f"--file={dockerfile}", f"--label={CONTENT}={content}")
            _build(name, context, *options)
        return content

    def _hopscope(self) -> str:
        """From the repository's own Dockerfile; only its base is a stand-in where it must be."""
        there = _label("python:3.13-slim")
        if there is not None or self._pull("python:3.13-slim"):
            base, builds_on = "python:3.13-slim", []
        else:
            base = self.get(BUILDER)
            builds_on = [f"--build-arg=PYTHON={PYTHON}", f"--build-arg=BUILDER={BUILDER}"]
        content = _digest(base, *(_file_digest(file) for file in sources()))
        if _label(HOPSCOPE) != content:
            with self._progress(f"{HOPSCOPE}: building"):
                _build(HOPSCOPE, ROOT, f"--label={CONTENT}={content}", *builds_on)
        return content

    @contextmanager
    def _progress(self, what: str) -> Iterator[None]:
        self._say(what)
        began = time.monotonic()
        yield
        self._say(f"  {time.monotonic() - began:.0f} s")


def sources() -> list[Path]:
    """The files that .dockerignore lets into the image, and the two that say how."""
    files = [ROOT / "Dockerfile", ROOT / ".dockerignore"]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            path = ROOT / line[1:]
            inside = sorted(path.rglob("*")) if path.is_dir() else [path]
            files += [file for file in inside if file.is_file() and "__pycache__" not in file.parts]
    return files


def requirements() -> list[str]:
    """What the image installs from the index, and what builds Hopscope itself."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        written = tomllib.load(file)
    project = written["project"]
    offline = project["optional-dependencies"]["offline"]
    return [*project["dependencies"], *offline, *written["build-system"]["requires"]]


def fetch_wheels(context: Path) -> None:
    """Wheels of all requirements for the Python of the image, by this machine's pip."""
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--python-version=3.13", "--only-binary=:all:", f"--dest={context / 'wheels'}"),
        *requirements(),
    )


STAND_IN = {
    PYTHON: StandIn("python", DEBIAN),
    BUILDER: StandIn("builder", PYTHON, (), fetch_wheels, lambda: "\n".join(requirements())),
    NGINX: StandIn("nginx", DEBIAN),
    CLOUDFLARED: StandIn("cloudflared", DEBIAN, ("cloudflared",)),
    TAILSCALE: StandIn("tailscale", DEBIAN, ("tailscale", "tailscaled", "containerboot")),
}
NAMES = (HOPSCOPE, NGINX, CLOUDFLARED, TAILSCALE)

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))
_LEFT_OUT = ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "usr/share/doc/*", "dev/*")


def docker(
    *arguments: str, timeout_s: float = BUILD_S, check: bool = True, stdin: IO[bytes] | None = None
) -> "subprocess.CompletedProcess[str]":
    return _run("docker", *arguments, timeout_s=timeout_s, check=check, stdin=stdin)


def _run(
    *command: str, timeout_s: float = BUILD_S, check: bool = True, stdin: IO[bytes] | None = None
) -> "subprocess.CompletedProcess[str]":
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=stdin or subprocess.DEVNULL,
            check=False,
            env=os.environ | {"PATH": _PATH},
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"{' '.join(command[:3])}: not done in {timeout_s:.0f} s") from None
    if check and done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ImageError(f"{' '.join(command[:3])} ended with {done.returncode}:\n{said}")
    return done


def _build(name: str, context: Path, *options: str) -> None:
    """Build an image, and remove the one that had its name: each change would leave one more."""
    before = _id(name)
    docker("build", "--quiet", f"--tag={name}", *options, str(context))
    if before not in ("", _id(name)):
        docker("image", "rm", before, check=False)


def _id(name: str) -> str:
    return docker("image", "inspect", "--format={{.Id}}", name, check=False).stdout.strip()


def _label(name: str) -> str | None:
    """An image's digest of its content: "" if it is none of ours, None if there is none."""
    form = f'{{{{index .Config.Labels "{CONTENT}"}}}}'
    asked = docker("image", "inspect", "--format", form, name, check=False)
    return None if asked.returncode else asked.stdout.strip()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"{file.name} {digest}"


def main(names: list[str]) -> int:
    from ingress.tunnels.tools import tool

    images = Images(tool)
    try:
        for name in names or NAMES:
            images.get(name)
    except ImageError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
