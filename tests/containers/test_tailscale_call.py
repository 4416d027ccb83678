"""A whole call in containers: Funnel's relay -> tailscaled -> the sidecar -> the gateway.

The control server, the relay and the node behind it are on this machine; the container finds the
control server at this machine's address in a network that has no way out.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from calls.gateways_at_work import TOKEN
from containers.callers import call_through
from containers.conftest import Start, start_sidecar
from containers.images import HOPSCOPE, TAILSCALE
from containers.sites import write_ingress
from containers.tailnets import HOST, NAME, control_at, funnel_to, leading_to, write_state
from ingress.tunnels.authority import make_authority

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images


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
        # As compose.yaml starts it; a control server of ours, and a certificate that is there.
        tailscale = start(
            TAILSCALE,
            "tailscale",
            environment={
                "TS_AUTH_ONCE": "true",
                "TS_AUTHKEY": "made-up-key",
                "TS_HOSTNAME": NAME,
                "TS_SERVE_CONFIG": "/etc/tailscale/serve.json",
                "TS_STATE_DIR": "/var/lib/tailscale",
                "TS_USERSPACE": "true",
            }
            | leading_to(url),
            files={"/etc/tailscale": write_ingress("tailscale", tmp_path / "tailscale", HOST)},
            folders={"/var/lib/tailscale": write_state(tmp_path / "state", tmp_path)},
            tmpfs=("/tmp", "/var/run/tailscale"),
        )
        with funnel_to(tailscale.docker.id, url, tmp_path / "edge") as relay:
            tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
            way = call_through("127.0.0.1", relay.port, tls, f"https://{HOST}")
            heard = asyncio.run(way)
    handshake = sidecar.line("handshake")
    assert (handshake["ingress"], handshake["outcome"]) == ("tailscale-funnel", "upgraded")
    assert handshake["violations"] == []
    session = sidecar.line("session")
    assert session["call_sid"] == heard.report.call_sid
    assert (session["underruns"], session["marks_unanswered"]) == (0, 0)
