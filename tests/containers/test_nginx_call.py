"""A whole call in containers: nginx -> the sidecar -> the gateway."""

import asyncio
import ssl
from pathlib import Path

import pytest

from containers.callers import call_through
from containers.conftest import Start
from containers.images import NGINX
from containers.running import Running
from containers.sites import write_nginx
from ingress.tunnels.authority import make_authority

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images


def test_a_call_goes_through_nginx_sidecar_and_gateway_in_containers(
    start: Start, sidecar: Running, gateway: Running, tmp_path: Path
) -> None:
    make_authority(tmp_path)
    nginx = start(
        NGINX,
        "nginx",
        files=write_nginx(tmp_path, "voice.example.com", tmp_path),
        tmpfs=("/var/cache/nginx", "/var/lib/nginx", "/run"),
        cap_add=["CHOWN", "SETGID", "SETUID", "NET_BIND_SERVICE"],
    )
    nginx.wait_for_dial(443)
    tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    heard = asyncio.run(call_through(nginx.address, 443, tls))
    handshake = sidecar.line("handshake")
    assert (handshake["ingress"], handshake["outcome"]) == ("nginx", "upgraded")
    assert handshake["violations"] == []
    # Whom nginx names is believed, and is not nginx.
    assert handshake["client"].startswith(nginx.host_address), handshake["client"]
    session = sidecar.line("session")
    assert session["call_sid"] == heard.report.call_sid
    assert session["ending"] == "close_handshake"
    assert (session["underruns"], session["marks_unanswered"]) == (0, 0)
    assert gateway.line("call_ended")["call_sid"] == heard.report.call_sid
