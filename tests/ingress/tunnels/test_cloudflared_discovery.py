"""`hopscope doctor PUBLIC_URL` beside a running cloudflared, with no hops.toml to tell anything."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from ingress.tunnels.cloudflare.callers import echoes, stream
from ingress.tunnels.cloudflare.front import Switches
from ingress.tunnels.cloudflare.required import cloudflared, tunnel_to
from ingress.tunnels.cloudflare.tunnel import CloudflareTunnel
from programs import ROOT, HopscopeProcess

StartHopscope = Callable[..., HopscopeProcess]


class Behind(NamedTuple):
    """What runs behind the tunnel. `shown` is what a doctor on the same machine could dial."""

    sidecar: HopscopeProcess
    shown: tuple[int, ...]

    @property
    def port(self) -> int:
        return self.sidecar.port


@pytest.fixture
def behind(start_gateway: Callable[[str], int], start_hopscope: StartHopscope) -> Behind:
    cloudflared()
    gateway = start_gateway("echo")
    sidecar = start_hopscope(gateway)
    return Behind(sidecar, (gateway, sidecar.admin_port))


def examined(tunnel: CloudflareTunnel, behind: Behind) -> dict[str, Any]:
    command = [sys.executable, "-m", "hopscope", "doctor", tunnel.url, "--json"]
    ended = tunnel.run_beside(
        [*command, "--admin", f"127.0.0.1:{behind.sidecar.admin_port}"], PYTHONPATH=str(ROOT)
    )
    assert ended.stdout, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def notes_of(told: dict[str, Any], hop: str) -> str:
    probe = next(probe for probe in told["probes"] if probe["hop"]["name"] == hop)
    return "; ".join(probe["notes"])


@pytest.mark.parametrize("is_at_home", [False, True], ids=["named", "in its home"])
def test_the_tunnel_is_found_by_its_process_its_file_and_its_metrics(
    behind: Behind, is_at_home: bool
) -> None:
    with tunnel_to(behind.port, shown=behind.shown, is_at_home=is_at_home) as tunnel:
        tunnel.wait_until_connected()
        told = examined(tunnel, behind)
        assert [probe["hop"]["name"] for probe in told["probes"]] == [
            "gateway",
            "sidecar",
            "cloudflared",
        ]
        assert (told["verdict"], told["findings"]) == ("healthy", [])
        hop = told["probes"][2]["hop"]
        assert (hop["kind"], hop["url"]) == ("cloudflared", "https://voice.example.com")
        assert hop["config"] == str(tunnel.config)
        assert "it is connected to the edge, 1 times" in notes_of(told, "cloudflared")


def test_a_tunnel_that_is_not_connected_is_told_by_the_edge_and_by_its_metrics(
    behind: Behind,
) -> None:
    refusing = Switches(refuses="Unauthorized: Invalid tunnel secret")
    with tunnel_to(behind.port, shown=behind.shown, switches=refusing) as tunnel:
        tunnel.await_(tunnel.edge.registrar.refused.wait())
        told = examined(tunnel, behind)
        assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "cloudflared", "PO08")
        assert "not connected to the edge (readyConnections 0)" in notes_of(told, "cloudflared")


def test_rules_that_were_pushed_are_read_from_its_metrics_port(behind: Behind) -> None:
    """The file on this machine says nothing: the tunnel is managed at Cloudflare."""
    with tunnel_to(
        behind.port, "", shown=behind.shown, switches=Switches(is_remote=True)
    ) as tunnel:
        tunnel.wait_until_connected()
        service = {"hostname": tunnel.host, "service": f"http://127.0.0.1:{behind.port}"}
        tunnel.push(1, [service, {"service": "http_status:404"}])
        told = examined(tunnel, behind)
        assert told["verdict"] == "healthy"
        assert told["probes"][-1]["hop"]["kind"] == "cloudflared"


def test_rules_pushed_during_a_call_leave_it_alone_and_the_doctor_finds_the_next_one_unrouted(
    behind: Behind,
) -> None:
    with tunnel_to(
        behind.port, "", shown=behind.shown, switches=Switches(is_remote=True)
    ) as tunnel:
        tunnel.wait_until_connected()
        service = f"http://127.0.0.1:{behind.port}"
        last = {"service": "http_status:404"}
        tunnel.push(1, [{"hostname": tunnel.host, "service": service}, last])
        with stream(tunnel) as caller:
            tunnel.push(2, [{"hostname": "other.example.com", "service": service}, last])
            told = examined(tunnel, behind)
            assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "cloudflared", "RO01")
            assert echoes(caller, "still there")


def test_a_tunnel_that_ends_with_a_call_open_is_told_to_be_down_for_the_next(
    behind: Behind,
) -> None:
    with tunnel_to(behind.port, shown=behind.shown) as tunnel:
        tunnel.wait_until_connected()
        with stream(tunnel) as caller:
            link = tunnel.edge.live
            assert link is not None
            tunnel.terminate()
            tunnel.await_(link.unregistered.wait())
            told = examined(tunnel, behind)
            assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "cloudflared", "PO08")
            assert echoes(caller, "still there")
