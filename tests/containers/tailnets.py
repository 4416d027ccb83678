"""A tailnet around a container: its control server and another node of it are on this machine."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from containers.running import START_S
from ingress.tunnels.authority import issue
from ingress.tunnels.tailscale.funnel_relay import FunnelRelay, Peer
from ingress.tunnels.tailscale.tailnet import CliError, Node
from ingress.tunnels.tools import tool
from programs import PATIENCE_S

NAME = "voice"
HOST = f"{NAME}.tail-scale.ts.net"
_STATUS = ("tailscale", "--socket=/tmp/tailscaled.sock")


@contextmanager
def control_at(address: str) -> Iterator[str]:
    """The control server listens there; its URL."""
    command = [str(tool("tailscale-control")), address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_S)


def leading_to(control_url: str) -> dict[str, str]:
    """An environment that leads a container to our control server, and nowhere else."""
    return {
        "TS_EXTRA_ARGS": f"--login-server={control_url}",
        "TS_TAILSCALED_EXTRA_ARGS": "--no-logs-no-support",
        "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
        "TS_DISABLE_PORTMAPPER": "1",
        # A certificate that is there is taken whoever signed it, and nobody is asked for another.
        "TS_DEBUG_ACME_DIRECTORY_URL": "http://127.0.0.1:9/directory",
    }


def write_state(folder: Path, authority: Path) -> Path:
    """A state directory with a certificate and nothing else."""
    certificates = folder / "certs"
    certificates.mkdir(parents=True)
    issue(certificates, HOST, authority)
    return folder


@contextmanager
def funnel_to(container: str, control_url: str, folder: Path) -> Iterator[FunnelRelay]:
    """Funnel's relay in front of a container, which must serve soon."""
    edge = Node("edge", folder, control_url)
    try:
        edge.start()
        edge.join()
        edge.wait()
        with FunnelRelay(_peer(container, edge)) as relay:
            yield relay
    finally:
        edge.stop()


def _peer(container: str, edge: Node) -> Peer:
    """The container's PeerAPI, as soon as it serves and the edge reaches it."""
    deadline = time.monotonic() + START_S
    while not (_ask(container, "serve", "status", "--json").get("Web") and _reaches(edge)):
        assert time.monotonic() < deadline, _log(container)
        time.sleep(0.1)
    url = str(_ask(container, "status", "--json")["Self"]["PeerAPIURL"][0])
    host, _, port = url.removeprefix("http://").rpartition(":")
    return Peer(edge.socks_port, host, int(port))


def _ask(container: str, *words: str) -> dict[str, dict[str, list[str]]]:
    """What its `tailscale` prints; nothing while it can't."""
    asked = ["docker", "exec", container, *_STATUS, *words]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return {} if done.returncode else json.loads(done.stdout)


def _reaches(edge: Node) -> bool:
    try:
        edge.cli("ping", "--c=1", "--timeout=1s", "--until-direct=false", NAME)
    except CliError:
        return False
    return True


def _log(container: str) -> str:
    asked = ["docker", "logs", "--tail=40", container]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.stdout + done.stderr
