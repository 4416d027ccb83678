"""A tunnel as it is in the world: the real cloudflared, in a network of its own, and our edge.

    caller -> edge (this process) -> | cloudflared | -> what the config.yml names on this machine

Nothing leaves the machine, and nothing is left of it afterwards. See namespace.py for the bars.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import capnp

from ingress.tunnels.cloudflare.certificates import make_certificates
from ingress.tunnels.cloudflare.edge import Edge
from ingress.tunnels.cloudflare.front import Switches
from ingress.tunnels.cloudflare.namespace import Namespace

T = TypeVar("T")

PATIENCE_S = 20.0
RUN_S = 60.0
START_S = 30.0  # after a restart of the edge it dials again when it thinks fit
GRACE_S = 1
EDGE_PORT = 7844  # in the namespace it may be the real one
METRICS_PORT = 20241  # the first that it tries by itself
PUBLIC_PORT = 443
TUNNEL = "11111111-2222-3333-4444-555555555555"
PUBLIC_NAME = "voice.example.com"
PROPER = f"""\
ingress:
  - hostname: {PUBLIC_NAME}
    service: http://@upstream@
  - service: http_status:421
"""
_PORTS = re.compile(r"(?:127\.0\.0\.1|localhost):(\d+)")


class CloudflareTunnel:
    """A context manager. `config` is the text of config.yml, with @upstream@ for HOST:PORT.

    `tls` are the public certificate and its key; () for plain HTTP. Without them one is made.
    `shown` are further ports that cloudflared, or who else is run in its network, may dial.
    `folder` keeps its files; without one they are gone with it. `is_at_home` puts config.yml where
    cloudflared looks by itself, in place of naming it.
    """

    def __init__(
        self,
        executable: str | Path,
        upstream: str,
        config: str = PROPER,
        *,
        protocol: str = "http2",
        host: str = PUBLIC_NAME,
        switches: Switches | None = None,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        tls: tuple[Path, Path] | tuple[()] | None = None,
        shown: tuple[int, ...] = (),
        folder: Path | None = None,
        is_at_home: bool = False,
    ) -> None:
        self.host, self.protocol = host, protocol
        self._executable, self._listen, self._tls = executable, listen, tls
        self._folder, self._is_at_home = folder, is_at_home
        self._config = config.replace("@upstream@", upstream)
        named = {int(port) for port in _PORTS.findall(f"{upstream} {self._config}")}
        self._shown = sorted(named | set(shown))
        self._switches = switches or Switches()
        self._is_public = False
        self._stack = ExitStack()

    def __enter__(self) -> "CloudflareTunnel":
        with ExitStack() as stack:
            self.folder = self._folder or Path(
                stack.enter_context(TemporaryDirectory(prefix="cloudflared-"))
            )
            make_certificates(self.folder, self.host)
            self.namespace = stack.enter_context(Namespace())
            self._loop = stack.enter_context(_LoopThread())
            self.edge = Edge(self._switches)
            stack.callback(lambda: self.await_(self.edge.close()))
            self.port = self.await_(self._open())
            self._start()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def url(self) -> str:
        return f"{'http' if self._tls == () else 'https'}://{self.host}"

    @property
    def config(self) -> Path:
        place = ".cloudflared/config.yml" if self._is_at_home else "config.yml"
        return self.folder / place

    def log(self) -> str:
        """What cloudflared said so far."""
        return (self.folder / "cloudflared.log").read_text(errors="replace")

    def await_(self, work: Coroutine[Any, Any, T], patience_s: float = PATIENCE_S) -> T:
        """Have something done where the edge lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop.loop).result(patience_s)

    def run_beside(
        self, command: list[str], **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program in cloudflared's network, where the public name leads to the edge."""
        if not self._is_public:
            self._is_public = True
            self.await_(self.namespace.show(self.port, PUBLIC_PORT))
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {self.host}\n")
        mounted = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return self.namespace.run(
            lambda: subprocess.run(
                ["unshare", "--mount", "sh", "-c", mounted, str(hosts), *command],
                env=os.environ
                | {"HOME": str(self.folder), "SSL_CERT_FILE": str(self.ca)}
                | environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=RUN_S,
                check=False,
            )
        )

    def wait_until_connected(self) -> None:
        """Raises RuntimeError with what cloudflared said where it does not register."""
        try:
            self.await_(self.edge.until_connected(), START_S)
        except TimeoutError:
            raise RuntimeError(f"cloudflared does not register: {self.log()[-2000:]}") from None

    def ask_metrics(self, path: str) -> str:
        """What its metrics port tells: /ready, /config, /metrics."""
        with self.namespace.dial(METRICS_PORT, PATIENCE_S) as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            said = b"".join(iter(lambda: sock.recv(65536), b""))
        return said.partition(b"\r\n\r\n")[2].decode()

    def push(self, version: int, ingress: list[dict[str, Any]]) -> dict[str, Any]:
        """Give it other rules, as Cloudflare's dashboard does."""
        return self.await_(self.edge.push(version, {"ingress": ingress}))

    def restart_edge(self) -> None:
        """Every link is cut; cloudflared connects again by itself."""
        self._loop.call(self.edge.drop_links)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def _open(self) -> int:
        for port in self._shown:
            await self.namespace.show(port)
        listener = self.namespace.run(_listener, self.protocol)
        edge = self.folder / "edge.pem", self.folder / "edge.key"
        await self.edge.listen_for_tunnels(listener, *edge)
        public = self.folder / "public.pem", self.folder / "public.key"
        return await self.edge.listen_for_callers(
            self._listen, public if self._tls is None else self._tls or None
        )

    def _start(self) -> None:
        secret = b64encode(b"s" * 32).decode()
        credentials = {"AccountTag": "account", "TunnelSecret": secret, "TunnelID": TUNNEL}
        (self.folder / "credentials.json").write_text(json.dumps(credentials))
        known = f"tunnel: {TUNNEL}\ncredentials-file: {self.folder}/credentials.json\n"
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(known + self._config)
        named = [] if self._is_at_home else ["--config", str(self.config)]
        is_ours = ("TUNNEL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
        environment = {k: v for k, v in os.environ.items() if not k.upper().startswith(is_ours)}
        with (self.folder / "cloudflared.log").open("wb") as log:
            self.process: subprocess.Popen[bytes] = self.namespace.run(
                lambda: subprocess.Popen(
                    [
                        # It ends with us, however we end (setpriv(1)).
                        *("setpriv", "--pdeathsig", "KILL", "--"),
                        *(str(self._executable), "tunnel", *named),
                        *("--no-autoupdate", "--no-prechecks", "--protocol", self.protocol),
                        *("--edge", f"127.0.0.1:{EDGE_PORT}", "--cacert", str(self.ca)),
                        *("--loglevel", "debug", "--grace-period", f"{GRACE_S}s", "run"),
                    ],
                    env=environment | {"HOME": str(self.folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _end(self) -> None:
        """Streams that are open would keep it alive: it has nothing to save."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.await_(self.namespace.hide_all())


def _listener(protocol: str) -> socket.socket:
    if protocol != "quic":
        return socket.create_server(("127.0.0.1", EDGE_PORT))
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", EDGE_PORT))
    return made


class _LoopThread:
    """An event loop of asyncio and of Cap'n Proto in a thread. A context manager."""

    def __enter__(self) -> "_LoopThread":
        is_running = threading.Event()
        self._over = asyncio.Event()

        async def live() -> None:
            self.loop = asyncio.get_running_loop()
            is_running.set()
            await self._over.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(capnp.run(live())))
        self._thread.start()
        is_running.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._over.set)
        self._thread.join(PATIENCE_S)

    def call(self, work: Any) -> None:
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(work)
