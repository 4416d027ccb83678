"""A whole call in containers: nginx -> the sidecar -> the gateway."""

import asyncio
from pathlib import Path

import pytest

from calls.certificates import OURS, trusting
from containers.callers import call_through
from containers.conftest import Start
from containers.images import NGINX
from containers.running import Running
from deployment.catalogue import INGRESSES, ingress_files
from deployment.site import Site, parse_address

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images


def test_a_call_goes_through_nginx_sidecar_and_gateway_in_containers(
    start: Start, sidecar: Running, gateway: Running, tmp_path: Path
) -> None:
    nginx = start(
        NGINX,
        "nginx",
        files={"/etc/nginx/conf.d": nginx_folder(tmp_path)},
        tmpfs=("/var/cache/nginx", "/var/lib/nginx", "/run"),
        cap_add=["CHOWN", "SETGID", "SETUID", "NET_BIND_SERVICE"],
    )
    nginx.wait_for_dial(443)
    heard = asyncio.run(call_through(nginx.address, 443, trusting(OURS)))
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


def nginx_folder(folder: Path) -> Path:
    """What `hopscope ingress nginx` writes for containers, with a certificate of the tests."""
    (folder / "certificate.pem").write_text(OURS[OURS.index("-----BEGIN CERT") :])
    (folder / "key.pem").write_text(OURS)
    site = Site(
        "voice.example.com",
        parse_address("upstream", "sidecar:8080"),
        certificate="/etc/nginx/conf.d/certificate.pem",
        key="/etc/nginx/conf.d/key.pem",
    )
    for file in ingress_files(INGRESSES["nginx"], site):
        if file.part == "config":
            (folder / Path(file.path).name).write_text(file.text)
    return folder
