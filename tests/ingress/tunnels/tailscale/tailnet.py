"""A tailnet of one machine: a control server, two real tailscaled, and Funnel's public side.

    client --> FunnelRelay --> tailscaled "edge" --WireGuard--> tailscaled "gw" --> 127.0.0.1:PORT

Everything is on loopback: userspace networking without a device or a privilege, a control server, a
DERP relay and STUN of our own (control/main.go), certificates of the tests' own authority.
Tailscale's own servers are asked nothing: the control URL is ours, logs and support are off, and
the daemon panics rather than dial the real control server.
"""

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ingress.tunnels.authority import issue, make_authority
from ingress.tunnels.tailscale.funnel_relay import FunnelRelay, Peer, TailnetDoor
from ingress.tunnels.tools import tool
from programs import end

DOMAIN = "tail-scale.ts.net"
PATIENCE_S = 30.0
CLI_S = 30.0
_ENVIRONMENT = {
    "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
    "TS_ASSUME_NETWORK_UP_FOR_TEST": "1",
    "TS_DISABLE_PORTMAPPER": "1",
    "TS_NO_LOGS_NO_SUPPORT": "1",
    # The nodes find each other at 127.0.0.1 alone, whatever bridges other programs put up and down.
    "TS_DEBUG_OMIT_LOCAL_ADDRS": "1",
    # A certificate that is there is taken whoever signed it, and nobody is asked for another one.
    "TS_DEBUG_ACME_DIRECTORY_URL": "http://127.0.0.1:9/directory",
}


class CliError(Exception):
    """What the `tailscale` command said when it failed."""


class Node:
    """One tailscaled with a folder of its own; what it was told outlives a restart."""

    def __init__(self, name: str, folder: Path, control_url: str) -> None:
        self.name = name
        self.folder = folder
        self.control_url = control_url
        self.socks_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def certificates(self) -> Path:
        return self.folder / "certs"

    def start(self) -> None:
        began = len(self.log())
        command = [
            str(tool("tailscaled")),
            "--tun=userspace-networking",
            f"--statedir={self.folder}",
            f"--socket={self.socket}",
            "--port=0",
            "--no-logs-no-support",
            "--socks5-server=127.0.0.1:0",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        _wait(lambda: self.socket.exists() and _socks_port(self.log()[began:]), self, "to listen")
        self.socks_port = _socks_port(self.log()[began:])

    def join(self) -> None:
        """Log in, where it is not."""
        options = (f"--login-server={self.control_url}", f"--hostname={self.name}")
        self.cli("up", *options, "--accept-dns=false", "--timeout=20s")

    def wait(self) -> None:
        _wait(lambda: self.status()["BackendState"] == "Running", self, "to run")

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None
        self.socket.unlink(missing_ok=True)

    def cli(self, *arguments: str, text: str | None = None) -> str:
        """What the real command prints. Raises CliError with what it says where it fails."""
        done = subprocess.run(
            [str(tool("tailscale")), f"--socket={self.socket}", *arguments],
            input="" if text is None else text,
            capture_output=True,
            text=True,
            timeout=CLI_S,
            env=_environment(self.folder),
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise CliError(f"tailscale {' '.join(arguments)}: {said}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.cli("status", "--json"))
        return told

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""


class Tailnet:
    """A context manager. `authority` is a folder with ca.pem and ca.key; one is made without it.
    `port` is where the relay shall listen, any by default.

    `host` is the gateway node's public name, `address` where the relay listens for port 443, `cli`
    the real `tailscale` command at the gateway node. `door` leads to its port 443 as one of the
    tailnet sees it.
    """

    def __init__(self, folder: Path, authority: Path | None = None, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.host = f"gw.{DOMAIN}"
        self.url = f"https://{self.host}"
        self.authority = authority or folder
        self.ca = self.authority / "ca.pem"
        self._stack = ExitStack()

    def __enter__(self) -> "Tailnet":
        with ExitStack() as stack:
            if self.authority == self.folder:
                make_authority(self.folder)
            self._control = stack.enter_context(_Control())
            self.gateway = Node("gw", self.folder / "gw", self._control.url)
            self.edge = Node("edge", self.folder / "edge", self._control.url)
            self.gateway.certificates.mkdir()
            issue(self.gateway.certificates, self.host, self.authority)
            for node in (self.gateway, self.edge):
                stack.callback(node.stop)
            _side_by_side(self._come_up, self.gateway, self.edge)
            self._meet()
            self.relay = stack.enter_context(FunnelRelay(self._peer(), self.port))
            web = Peer(self.edge.socks_port, self.relay.peer.host, 443)
            self.door = stack.enter_context(TailnetDoor(web))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _come_up(node: Node) -> None:
        node.start()
        node.join()
        node.wait()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.relay.port}"

    def cli(self, *arguments: str) -> str:
        return self.gateway.cli(*arguments)

    def cli_reading(self, text: str, *arguments: str) -> str:
        """The same with something to read on its standard input."""
        return self.gateway.cli(*arguments, text=text)

    def log(self) -> str:
        return self.gateway.log()

    def wait_for_log(self, text: str, began: int = 0) -> None:
        """Until the gateway's daemon has logged it, behind the first `began` characters."""
        _wait(lambda: text in self.log()[began:], self.gateway, f"to log {text!r}")

    def configure(self, config: Mapping[str, Any]) -> None:
        """Serve by this JSON, whatever was served before."""
        self.cli_reading(json.dumps(config), "serve", "set-raw")

    def reset(self) -> None:
        """Serve nothing; the relay knows of nothing."""
        self.configure({})
        self.relay.source = ""
        self.relay.refusals.clear()

    def serve_status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.cli("serve", "status", "--json"))
        return told

    def restart(self) -> None:
        """The gateway's daemon ends and starts again, as by an update of the package."""
        self.gateway.stop()
        self.gateway.start()
        self.gateway.wait()
        self.relay.peer = self._peer()
        self._meet()

    @contextmanager
    def off(self, what: str) -> Iterator[None]:
        """Without "ingress" (the capability that Funnel needs), or without "packets"."""
        self._control.say(f"{what} off")
        try:
            yield
        finally:
            self._control.say(f"{what} on")

    @contextmanager
    def without_certificate(self) -> Iterator[None]:
        """The gateway node has none, and cannot get one."""
        away = self.gateway.certificates.rename(self.gateway.folder / "away")
        try:
            yield
        finally:
            if self.gateway.certificates.exists():
                for file in self.gateway.certificates.iterdir():
                    file.unlink()
                self.gateway.certificates.rmdir()
            away.rename(self.gateway.certificates)

    def _meet(self) -> None:
        """Until the two nodes reach each other."""
        _wait(self._is_met, self.edge, "to reach gw")

    def _is_met(self) -> bool:
        try:
            self.edge.cli("ping", "--c=1", "--timeout=1s", "--until-direct=false", "gw")
        except CliError:
            return False
        return True

    def _peer(self) -> Peer:
        """The gateway's PeerAPI, as its own status tells it."""
        url = str(self.gateway.status()["Self"]["PeerAPIURL"][0])
        host, _, port = url.removeprefix("http://").rpartition(":")
        return Peer(self.edge.socks_port, host, int(port))


class _Control:
    """control/main.go as a process: it ends with its standard input."""

    def __enter__(self) -> "_Control":
        self._process = subprocess.Popen(
            [str(tool("tailscale-control"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        stdout = self._process.stdout
        self._reader = threading.Thread(target=lambda: [*map(self._lines.put, stdout)])
        self._reader.start()
        self.url = str(self._told()["url"])
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join(PATIENCE_S)
        self._process.stdout.close()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        told = self._told()
        assert "error" not in told, told

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._lines.get(timeout=PATIENCE_S))
        return told


def _environment(home: Path) -> dict[str, str]:
    """No proxy, no setting of this machine's own Tailscale."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), **_ENVIRONMENT}


def _socks_port(log: str) -> int:
    marker = "SOCKS5 listening on 127.0.0.1:"
    _, found, rest = log.partition(marker)
    return int(rest.split()[0]) if found and rest.partition("\n")[1] else 0


def _wait(is_so: Any, node: Node, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if not node.is_running() or time.monotonic() > deadline:
            raise RuntimeError(f"{node.name} fails {what}: {node.log()[-3000:]}")
        time.sleep(0.02)


def _side_by_side(do: Any, *nodes: Node) -> None:
    failed: list[BaseException] = []

    def one(node: Node) -> None:
        try:
            do(node)
        except BaseException as error:  # noqa: BLE001 - told to who waits below
            failed.append(error)

    threads = [threading.Thread(target=one, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
