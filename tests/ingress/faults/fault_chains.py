"""A running chain: gateway, sidecar, the programs of a case, each in front of the one before."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from doctor.evidence import Hop
from ingress.faults.fault_callers import Call, hold, raw_upgrade
from ingress.faults.fault_cases import Case, places_of, render
from ingress.faults.fault_certificates import make_certificates
from ingress.faults.fault_edge_programs import EDGE_PROGRAMS
from ingress.faults.fault_gateways import BEHAVIOURS
from ingress.faults.fault_peers import Listener
from ingress.faults.fault_programs import PROGRAMS
from ingress.faults.fault_tunnel_programs import TUNNEL_PROGRAMS
from programs import HopscopeProcess, free_port, require

START_S = 30.0
END_S = 0.15
CASES_OF_A_SIDECAR = 25
REFUSED = "refused"
FULL = "full"


class StartError(RuntimeError):
    """A program of a case did not come up, which says nothing about what the doctor makes of it."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What runs of a case. `hops` is inside first, as in hops.toml."""

    case: Case
    hops: tuple[Hop, ...]
    admin: str
    ca: Path
    outermost: Call
    folder: Path


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller got, and the head that arrived behind ("" where none did)."""

    client: str
    backend: str

    def lacks(self, wanted: tuple[str, ...]) -> list[str]:
        """What is not as a case's `backend` says, whatever the case of letters."""
        if wanted == ("nothing",):
            return [f"nothing, and it saw {self.backend!r}"] if self.backend else []
        names = {line.partition(":")[0].lower() for line in self.backend.split("\r\n")[1:]}
        head = self.backend.lower()
        missing = []
        for want in wanted:
            absent = want.removeprefix("no ")
            is_so = absent.lower() not in names if absent != want else want.lower() in head
            if not is_so or not self.backend:
                missing.append(f"{want}, and it saw {self.backend!r}")
        return missing


class Laboratory:
    """Everything that cases share: certificates, gateways, sidecars. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certs = folder / "certs"
        self.heads: list[bytes] = []
        self._peers: dict[str, Listener] = {}
        self._sidecars: dict[tuple[str, ...], HopscopeProcess] = {}
        self._uses: dict[tuple[str, ...], int] = {}
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> "Laboratory":
        self.certs.mkdir()
        make_certificates(self.certs)
        self._refused = self._stack.enter_context(socket.socket())
        self._refused.bind(("127.0.0.1", 0))  # bound, and nobody listens
        return self

    def __exit__(self, *_: object) -> None:
        for sidecar in self._sidecars.values():
            sidecar.close()
        for peer in self._peers.values():
            peer.close()
        self._stack.close()

    def address(self, peer: str) -> str:
        """HOST:PORT of a gateway by its name, started when it is first asked for."""
        if peer == REFUSED:
            return f"127.0.0.1:{self._refused.getsockname()[1]}"
        if peer == FULL:
            return f"127.0.0.1:{self._full().getsockname()[1]}"
        if peer not in self._peers:
            behaviour = BEHAVIOURS[peer if peer != "gateway" else "proper"]
            self._peers[peer] = Listener(behaviour, self.heads, self.certs)
        return self._peers[peer].address

    @contextmanager
    def running(self, case: Case) -> Iterator[Chain]:
        """Start a case's chain, end it afterwards. Raises StartError."""
        gateway, sidecar = self._gateway(case), self._sidecar(case)
        hops = [
            Hop("gateway", "gateway", f"http://{gateway}"),
            Hop("sidecar", "sidecar", f"http://127.0.0.1:{sidecar.port}"),
        ]
        self._count += 1
        folder = self.folder / f"case-{self._count}"
        folder.mkdir()
        with ExitStack() as stack:
            behind = f"127.0.0.1:{sidecar.port}"
            for name in case.chain:
                hop = self._start(case, name, behind, folder / name, stack)
                hops.append(hop)
                behind = hop.url.partition("://")[2]
            call = self._call(case, behind)
            time.sleep(case.settle_s)
            for _ in range(case.held):
                stack.enter_context(hold(call))
            for _ in range(case.asked):
                raw_upgrade(call)
            admin = f"http://127.0.0.1:{sidecar.admin_port}"
            yield Chain(case, tuple(hops), admin, self.certs / "ca.pem", call, folder)
        for peer in self._peers.values():
            peer.hang_up()

    def look(self, chain: Chain) -> Seen:
        """What a raw caller sees at the outermost hop, and what arrived of it."""
        self.heads.clear()
        client = raw_upgrade(chain.outermost)
        return Seen(client, self.heads[0].decode("latin-1") if self.heads else "")

    def _full(self) -> socket.socket:
        """A listener that accepts nobody, and whose queue is full: who dials now waits (U04)."""
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        return listener

    def _gateway(self, case: Case) -> str:
        if case.gateway == REFUSED:
            return self.address(REFUSED)
        address = self.address("gateway")
        self._peers["gateway"].behaviour = BEHAVIOURS[case.gateway]
        return address

    def _sidecar(self, case: Case) -> HopscopeProcess:
        """A sidecar in front of the gateway; one that is running, if it was started likewise.

        It is a new one now and then: it keeps armed probes for minutes, and only so many.
        """
        gateway = self._gateway(case)
        key = (gateway, *case.sidecar)
        if self._uses.get(key, 0) >= CASES_OF_A_SIDECAR:
            self._sidecars.pop(key).close()
            self._uses[key] = 0
        if key not in self._sidecars:
            port = int(gateway.rpartition(":")[2])
            self._sidecars[key] = HopscopeProcess(port, "--no-history", *case.sidecar)
        self._uses[key] = self._uses.get(key, 0) + 1
        return self._sidecars[key]

    def _call(self, case: Case, address: str) -> Call:
        ca = self.certs / "ca.pem" if case.secure else None
        port = int(address.rpartition(":")[2])
        return Call(port, case.path, case.host, ca, case.server_name, case.answer_s, case.idle_s)

    def _start(self, case: Case, name: str, behind: str, folder: Path, stack: ExitStack) -> Hop:
        program = (PROGRAMS | EDGE_PROGRAMS | TUNNEL_PROGRAMS)[name]
        port = _own_port()
        places = {
            "listen": f"127.0.0.1:{port}",
            "port": str(port),
            "upstream": behind,
            "upstream_port": behind.rpartition(":")[2],
            "certs": str(self.certs),
            "folder": str(folder),
        }
        text = case.text(name) or program.proper
        for peer in places_of(text + "".join(case.snippets.values())) - places.keys():
            address = self.address(peer.removesuffix("_port"))
            places[peer] = address.rpartition(":")[2] if peer.endswith("_port") else address
        folder.mkdir()
        for path, snippet in case.snippets.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(render(snippet, places))
        path = (program.find or require)(program.executable)
        started = program.write(path, folder, render(text, places), places["listen"])
        log = stack.enter_context((folder / "output.log").open("wb"))
        try:
            process = subprocess.Popen(
                started.command,
                cwd=folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"{started.command!r} was not executed: {error!r}") from None
        stack.callback(_end, process)
        _wait(port, process, folder, program.ready, started.ping)
        is_outermost = name == case.chain[-1]
        is_secure = case.secure if is_outermost else case.inner_secure
        scheme = "https" if is_secure else "http"
        return Hop(name, program.kind, f"{scheme}://127.0.0.1:{port}", started.config)


_handed_out: set[int] = set()


def _own_port() -> int:
    """A free port that no other laboratory of this process was given."""
    while (port := free_port()) in _handed_out:
        pass
    _handed_out.add(port)
    return port


def _wait(
    port: int,
    process: "subprocess.Popen[bytes]",
    folder: Path,
    ready: tuple[str, str],
    ping: int | None,
) -> None:
    """Until it serves. Raises StartError with what it said where it does not."""
    deadline = time.monotonic() + START_S
    file, text = ready
    while process.poll() is None and time.monotonic() < deadline:
        if not file or ((folder / file).exists() and text in (folder / file).read_text()):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                if ping is None or _answers(ping):
                    return
        time.sleep(0.005)
    said = "".join(log.read_text()[-2000:] for log in sorted(folder.glob("*.log")))
    raise StartError(f"{process.args!r} does not serve: {said}")


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return sock.recv(64).startswith(b"HTTP/1.0 200")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """A program that dawdles has nothing to save: it and its children are killed."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def reload(chain: Chain) -> None:
    """Tell nginx (nginx(8)) or Caddy to take up its configuration anew; restart a tunnel's edge."""
    signals = {"nginx": signal.SIGHUP, "caddy": signal.SIGUSR1, "tunnel": signal.SIGUSR1}
    for name, number in signals.items():
        for pid in chain.folder.glob(f"*/{name}.pid"):
            os.kill(int(pid.read_text()), number)
