"""A whole call in containers: Cloudflare's edge -> cloudflared -> the sidecar -> the gateway.

The edge is a stand-in on this machine; cloudflared finds it at this machine's address in the
network of the containers, which has no way out.
"""

import asyncio
import json
import socket
import ssl
from base64 import b64encode
from pathlib import Path

import capnp
import pytest

from containers.callers import CALL_S, call_through
from containers.conftest import Start
from containers.images import CLOUDFLARED
from containers.running import START_S, Running
from containers.sites import write_ingress
from ingress.tunnels.cloudflare.certificates import make_certificates
from ingress.tunnels.cloudflare.edge import Edge
from ingress.tunnels.cloudflare.front import Switches

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images

EDGE_PORT = 7844
HOST = "voice.example.com"
TUNNEL = "11111111-2222-3333-4444-555555555555"


def test_a_call_goes_through_cloudflared_sidecar_and_gateway_in_containers(
    start: Start, sidecar: Running, gateway: Running, tmp_path: Path
) -> None:
    make_certificates(tmp_path, HOST)
    here = sidecar.host_address

    async def work() -> None:
        edge = Edge(Switches())
        listener = socket.create_server((here, EDGE_PORT))
        await edge.listen_for_tunnels(listener, tmp_path / "edge.pem", tmp_path / "edge.key")
        port = await edge.listen_for_callers(
            ("127.0.0.1", 0), (tmp_path / "public.pem", tmp_path / "public.key")
        )
        try:
            cloudflared = await asyncio.to_thread(start_cloudflared, start, sidecar, tmp_path)
            async with asyncio.timeout(START_S):
                await edge.until_connected()
            tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            heard = await call_through("127.0.0.1", port, tls)
            # Its images differ in who they are; none of them is root.
            assert cloudflared.docker.attrs["Config"]["User"] not in ("", "0", "root")
        finally:
            await edge.close()
        handshake = await asyncio.to_thread(sidecar.line, "handshake")
        assert (handshake["ingress"], handshake["outcome"]) == ("cloudflare", "upgraded")
        assert handshake["violations"] == []
        session = await asyncio.to_thread(sidecar.line, "session")
        assert session["call_sid"] == heard.report.call_sid
        assert (session["underruns"], session["marks_unanswered"]) == (0, 0)

    async def bounded() -> None:
        async with asyncio.timeout(CALL_S + 2 * START_S):
            await work()

    asyncio.run(capnp.run(bounded()))


def start_cloudflared(start: Start, sidecar: Running, folder: Path) -> Running:
    """As compose.yaml starts it; the environment leads it to our edge in place of Cloudflare's.

    It asks for names of Cloudflare's first, and docker's own resolver leaves what it can't resolve
    without an answer. Here nobody resolves names: that is said at once.
    """
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    return start(
        CLOUDFLARED,
        "cloudflared",
        *("tunnel", "run"),
        environment={
            "TUNNEL_EDGE": f"{sidecar.host_address}:{EDGE_PORT}",
            "TUNNEL_CACERT": "/certificates/ca.pem",
            "TUNNEL_TRANSPORT_PROTOCOL": "http2",
            "TUNNEL_NO_PRECHECKS": "true",
        },
        files={
            "/etc/cloudflared": cloudflared_folder(folder / "cloudflared"),
            "/certificates/ca.pem": folder / "ca.pem",
            "/etc/resolv.conf": folder / "resolv.conf",
        },
        extra_hosts={"sidecar": sidecar.address},
    )


def cloudflared_folder(folder: Path) -> Path:
    """What `hopscope ingress cloudflared` writes for containers, and credentials for our edge."""
    write_ingress("cloudflared", folder, HOST, tunnel=TUNNEL)
    secret = b64encode(b"s" * 32).decode()
    credentials = {"AccountTag": "account", "TunnelSecret": secret, "TunnelID": TUNNEL}
    (folder / f"{TUNNEL}.json").write_text(json.dumps(credentials))
    return folder
