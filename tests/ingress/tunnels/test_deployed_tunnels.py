"""What `hopscope ingress` writes for tunnels, in the real cloudflared and tailscaled.

gateway  <-  hopscope proxy  <-  the daemon with its written file  <-  its edge  <-  the doctor
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.catalogue import INGRESSES, ingress_files
from deployment.folder import write_files
from deployment.site import Address, Site
from doctor.diagnosis.examination import Examination, examine
from doctor.probing import ProbeOptions
from ingress.tunnels.cloudflare.required import tunnel_to
from ingress.tunnels.cloudflare.tunnel import TUNNEL
from ingress.tunnels.tailscale.tailnet import Tailnet
from programs import HopscopeProcess


@pytest.fixture
def chain(
    start_gateway: Callable[[str], int], start_hopscope: Callable[..., HopscopeProcess]
) -> tuple[int, HopscopeProcess]:
    """A gateway's port, and the sidecar before it."""
    gateway = start_gateway("echo")
    return gateway, start_hopscope(gateway)


def write(folder: Path, name: str, site: Site) -> Path:
    write_files(folder, ingress_files(INGRESSES[name], site), force=True)
    return folder / name


def examined(hops: Path, sidecar: HopscopeProcess, host: str, ca: Path) -> Examination:
    options = ProbeOptions(
        admin=f"http://127.0.0.1:{sidecar.admin_port}",
        host=host,
        ca=ca,
        resolve={host: "127.0.0.1"},
    )
    return asyncio.run(examine(hops, None, (), options, lambda _: None))


def assert_nothing_found(seen: Examination, name: str) -> None:
    diagnosis = seen.diagnosis
    assert (diagnosis.verdict, diagnosis.findings) == ("healthy", ()), diagnosis.sentence
    probe = seen.probes[-1]
    assert probe.hop.name == name
    assert len(probe.echoes) > 5
    assert {echo.fault for echo in probe.echoes} == {""}


def test_cloudflared_carries_calls_by_what_was_written(
    chain: tuple[int, HopscopeProcess], tmp_path: Path
) -> None:
    gateway, sidecar = chain
    site = Site(
        "voice.example.com",
        Address("127.0.0.1", sidecar.port),
        gateway=Address("127.0.0.1", gateway),
        tunnel=TUNNEL,
    )
    text = (write(tmp_path, "cloudflared", site) / "config.yml").read_text()
    # The tests' own tunnel says these itself.
    rest = "".join(
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith(("tunnel:", "metrics:", "no-autoupdate:"))
    )
    with tunnel_to(sidecar.port, rest) as tunnel:
        tunnel.wait_until_connected()
        folder = write(tmp_path, "cloudflared", replace(site, port=tunnel.port))
        seen = examined(folder / "hops.toml", sidecar, tunnel.host, tunnel.ca)
    assert_nothing_found(seen, "cloudflared")


def test_funnel_carries_calls_by_what_was_written_and_the_commands_say_the_same(
    chain: tuple[int, HopscopeProcess], tailnet: Tailnet, tmp_path: Path
) -> None:
    gateway, sidecar = chain
    upstream = Address("127.0.0.1", sidecar.port)
    site = Site(tailnet.host, upstream, gateway=Address("127.0.0.1", gateway))
    folder = write(tmp_path, "tailscale", site)
    written = json.loads((folder / "serve.json").read_text())

    commands = (folder / "funnel.sh").read_text().splitlines()
    [funnel] = [line for line in commands if line.startswith("tailscale funnel --")]
    tailnet.cli(*funnel.split()[1:])
    assert tailnet.serve_status() == written
    tailnet.reset()
    assert tailnet.serve_status() == {}

    tailnet.configure(written)
    hops = (folder / "hops.toml").read_text()
    relay = hops.replace(site.url, f"{site.url}:{tailnet.relay.port}")
    (folder / "hops.toml").write_text(relay)
    assert_nothing_found(
        examined(folder / "hops.toml", sidecar, tailnet.host, tailnet.ca), "tailscale"
    )
