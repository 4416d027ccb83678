"""A whole call in containers: Funnel's relay -> tailscaled -> the sidecar -> the gateway.

The control server, the relay and the node behind it are on this machine; the container finds the
control server at this machine's address in a network that has no way out.
"""

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from calls.gateways_at_work import TOKEN
from containers.callers import call_through
from containers.conftest import Start, start_sidecar
from containers.images import HOPSCOPE, TAILSCALE
from containers.running import START_S, Running
from deployment.catalogue import INGRESSES, ingress_files
from deployment.site import Site, parse_address
from ingress.tunnels.authority import issue, make_authority
from ingress.tunnels.tailscale.funnel_relay import FunnelRelay, Peer
from ingress.tunnels.tailscale.tailnet import CliError, Node
from ingress.tunnels.tools import tool
from programs import PATIENCE_S

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images

HOST = "voice.tail-scale.ts.net"


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


def test_a_call_goes_through_tailscaled_sidecar_and_gateway_in_containers(
    start: Start, tmp_path: Path
) -> None:
    gateway = start(
        HOPSCOPE,
        "gateway",
        *("gateway", "--listen", "0.0.0.0:8081"),
        environment={"TWILIO_AUTH_TOKEN": TOKEN, "HOPSCOPE_PUBLIC_URL": f"https://{HOST}"},
    )
    sidecar = start_sidecar(start, gateway)
    make_authority(tmp_path)
    with control_at(sidecar.host_address) as url:
        edge = Node("edge", tmp_path / "edge", url)
        try:
            node = start_tailscale(start, url, tmp_path)
            edge.start()
            edge.join()
            edge.wait()
            with FunnelRelay(peer_of(node, edge)) as relay:
                tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
                way = call_through("127.0.0.1", relay.port, tls, f"https://{HOST}")
                heard = asyncio.run(way)
        finally:
            edge.stop()
    handshake = sidecar.line("handshake")
    assert (handshake["ingress"], handshake["outcome"]) == ("tailscale-funnel", "upgraded")
    assert handshake["violations"] == []
    session = sidecar.line("session")
    assert session["call_sid"] == heard.report.call_sid
    assert (session["underruns"], session["marks_unanswered"]) == (0, 0)


def start_tailscale(start: Start, control_url: str, folder: Path) -> Running:
    """As compose.yaml starts it; a control server of ours, and a certificate that is there."""
    state = folder / "state"
    certificates = state / "certs"
    certificates.mkdir(parents=True)
    issue(certificates, HOST, folder)
    return start(
        TAILSCALE,
        "tailscale",
        environment={
            "TS_AUTH_ONCE": "true",
            "TS_AUTHKEY": "made-up-key",
            "TS_EXTRA_ARGS": f"--login-server={control_url}",
            "TS_HOSTNAME": "voice",
            "TS_SERVE_CONFIG": "/etc/tailscale/serve.json",
            "TS_STATE_DIR": "/var/lib/tailscale",
            "TS_USERSPACE": "true",
            "TS_TAILSCALED_EXTRA_ARGS": "--no-logs-no-support",
            "TS_DEBUG_ACME_DIRECTORY_URL": "http://127.0.0.1:9/directory",
            "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
            "TS_DISABLE_PORTMAPPER": "1",
        },
        files={"/etc/tailscale": tailscale_folder(folder / "tailscale")},
        folders={"/var/lib/tailscale": state},
        tmpfs=("/tmp", "/var/run/tailscale"),
    )


def tailscale_folder(folder: Path) -> Path:
    """What `hopscope ingress tailscale` writes for containers."""
    folder.mkdir()
    site = Site(HOST, parse_address("upstream", "sidecar:8080"))
    for file in ingress_files(INGRESSES["tailscale"], site):
        if file.part == "config":
            (folder / Path(file.path).name).write_text(file.text)
    return folder


def peer_of(node: Running, edge: Node) -> Peer:
    """The container's PeerAPI, as soon as it serves and the edge reaches it."""
    node.wait_for_text("serve proxy: applying serve config")
    code, status = node.run("tailscale", "--socket=/tmp/tailscaled.sock", "status", "--json")
    assert code == 0, status
    url = str(json.loads(status)["Self"]["PeerAPIURL"][0])
    deadline = time.monotonic() + START_S
    while not _reaches(edge):
        assert time.monotonic() < deadline, f"edge does not reach voice: {node.log()[-3000:]}"
    host, _, port = url.removeprefix("http://").rpartition(":")
    return Peer(edge.socks_port, host, int(port))


def _reaches(edge: Node) -> bool:
    try:
        edge.cli("ping", "--c=1", "--timeout=1s", "--until-direct=false", "voice")
    except CliError:
        return False
    return True
