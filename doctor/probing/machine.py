"""What this machine tells of the programs that run on it: processes, ports, files, commands.

Everything here may be forbidden, absent, or of another system: then it is None or empty, and
whoever asked makes a note of it.
"""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from doctor.addresses import Detour, parse_url
from doctor.dial import Patience, Unanswered
from doctor.exchange import ask
from doctor.probing.dial import Place
from doctor.probing.tls import BOTH, look, trusting

COMMAND_S = 2.0
LOOK_S = 1.0
PATIENCE = Patience(connect_s=0.5, tries=1, total_s=1.0)
OUTPUT_LIMIT = 4 << 20
FILE_LIMIT = 1 << 20
_LISTEN = "0A"  # proc(5): the state of a listening socket
# Where Debian and Homebrew install servers, which is not always on a user's path.
_MORE_PATHS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin")


@dataclass(frozen=True, slots=True)
class Process:
    """A running program. `ports` are those it listens on, as far as that may be seen."""

    pid: int
    argv: tuple[str, ...]
    ports: tuple[int, ...] = ()

    @property
    def program(self) -> str:
        """Its name: nginx writes "nginx: master process /usr/sbin/nginx -c ..." there."""
        return Path(self.argv[0].split(":")[0].split(" ")[0]).name if self.argv else ""

    @property
    def words(self) -> list[str]:
        """Its arguments, those apart that a title has in one string."""
        return [word for arg in self.argv for word in arg.split(" ") if word]

    def option(self, *names: str) -> str | None:
        """The value of an option: --config FILE or --config=FILE."""
        words = self.words
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            if name in names and equals:
                return value
            if word in names and index + 1 < len(words):
                return words[index + 1]
        return None


class Machine:
    """This machine. Tests put their own in its place."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    async def run(self, *command: str) -> str | None:
        """What a command prints, None where it is not there, fails or takes too long."""
        path = os.pathsep.join((os.environ.get("PATH", ""), *_MORE_PATHS))
        program = shutil.which(command[0], path=path)
        if program is None:
            return None
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *command[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return None
        try:
            async with asyncio.timeout(COMMAND_S):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return None
        if process.returncode != 0 or len(output) > OUTPUT_LIMIT:
            return None
        return output.decode(errors="replace")

    def read(self, file: Path) -> str | None:
        """A text file, None where it is not there or may not be read."""
        try:
            if file.stat().st_size > FILE_LIMIT:
                return None
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def expand(self, pattern: str) -> list[Path]:
        """The files that an absolute pattern names."""
        try:
            return sorted(Path("/").glob(pattern.lstrip("/")))
        except (OSError, ValueError, NotImplementedError):
            return []

    async def fetch(self, url: str) -> str | None:
        """The body of a GET on this machine, whatever its status; None where nobody answers."""
        target = parse_url(url)
        fields = [("Host", target.authority), ("Connection", "close")]
        detour = Detour(target.address.host)
        try:
            answer = await ask("GET", target, fields, b"", detour, None, PATIENCE)
        except Unanswered:
            return None
        return answer.body.decode(errors="replace")

    async def speaks_tls(self, port: int) -> bool:
        """Whether a port of this machine answers a ClientHello with TLS, an alert included."""
        place = Place(socket.AF_INET, "127.0.0.1", port)
        seen = await look(place, trusting(BOTH), "localhost", LOOK_S)
        return seen.tls is not None or seen.fault == "tls_alert"

    async def processes(self, programs: Sequence[str]) -> list[Process]:
        """The running processes of some programs, by /proc where there is one, else by ps."""
        if self._proc.is_dir():
            return self._by_proc(programs)
        listed = await self.run("ps", "-axww", "-o", "pid=,command=") or ""
        found = [_from_ps(line) for line in listed.splitlines()]
        return [
            Process(each.pid, each.argv, await self._ports_by_lsof(each.pid))
            for each in found
            if each is not None and each.program in programs
        ]

    def _by_proc(self, programs: Sequence[str]) -> list[Process]:
        found = []
        for folder in self._proc.iterdir():
            if not folder.name.isdigit():
                continue
            text = self.read_line(folder / "cmdline")
            argv = tuple(part for part in text.split("\0") if part)
            process = Process(int(folder.name), argv)
            if process.program in programs and self._is_of_our_network(folder):
                found.append(Process(process.pid, argv, self._ports_by_proc(folder)))
        return sorted(found, key=lambda each: each.pid)

    def read_line(self, file: Path) -> str:
        """A file of /proc, whose size is said to be 0."""
        try:
            return file.read_bytes()[:FILE_LIMIT].decode(errors="replace")
        except OSError:
            return ""

    def _is_of_our_network(self, folder: Path) -> bool:
        """Whether a process's ports are ours: those of a container are its own."""
        try:
            ours = (self._proc / "self/ns/net").readlink()
            return (folder / "ns/net").readlink() == ours
        except OSError:
            return True  # not to be seen; its ports will tell

    def _ports_by_proc(self, folder: Path) -> tuple[int, ...]:
        try:
            links = [os.readlink(each) for each in (folder / "fd").iterdir()]
        except OSError:
            return ()
        inodes = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
        ports: set[int] = set()
        for name in ("tcp", "tcp6"):
            for line in self.read_line(folder / "net" / name).splitlines()[1:]:
                parts = line.split()
                if len(parts) > 9 and parts[3] == _LISTEN and parts[9] in inodes:
                    ports.add(int(parts[1].rpartition(":")[2], 16))
        return tuple(sorted(ports))

    async def _ports_by_lsof(self, pid: int) -> tuple[int, ...]:
        listed = await self.run("lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-sTCP:LISTEN", "-Fn")
        return tuple(sorted({int(port) for port in re.findall(r"^n.*:(\d+)$", listed or "", re.M)}))


def _from_ps(line: str) -> Process | None:
    pid, _, command = line.strip().partition(" ")
    return Process(int(pid), tuple(command.split())) if pid.isdigit() and command else None
