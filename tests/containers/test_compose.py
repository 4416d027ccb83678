"""compose.yaml: what each profile starts and with which rights, and a call through one and then
through another, swapped as a user swaps them."""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls.gateways_at_work import TOKEN
from containers.callers import call_through
from containers.images import HOPSCOPE, NGINX, ROOT, TAILSCALE, Images
from containers.running import HARDENED, START_S
from containers.sites import write_ingress, write_nginx
from containers.tailnets import HOST, NAME, control_at, funnel_to, leading_to, write_state
from ingress.tunnels.authority import make_authority
from ingress.tunnels.tools import tool

pytestmark = pytest.mark.timeout(900)  # the first test of a session makes the images

COMMAND_S = 180
SECRETS = {
    "gateway": f"TWILIO_AUTH_TOKEN={TOKEN}\nHOPSCOPE_PUBLIC_URL=https://{HOST}\n",
    "tailscale": f"TS_AUTHKEY=made-up-key\nTS_HOSTNAME={NAME}\n",
}
# No way out of the network of the containers, and no port of this machine.
INSIDE = """
networks:
  default: {internal: true}
services:
  nginx:
    ports: !reset []
"""


class Project:
    """A folder with compose.yaml's secrets and ingresses, and what runs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"hopscope-test-{os.getpid()}"
        self.environment: dict[str, str] = {}
        self._program = _program()
        self._override = folder / "override.yaml"
        (folder / "secrets").mkdir()
        for service, text in SECRETS.items():
            (folder / "secrets" / f"{service}.env").write_text(text)

    def override(self, services: dict[str, Any]) -> None:
        """What is different in a test, for services by name. JSON is YAML."""
        lines = [f"  {name}: {json.dumps(values)}\n" for name, values in services.items()]
        self._override.write_text(INSIDE + "".join(lines))

    def do(self, *words: str) -> str:
        """Run `docker compose` with these words; what it prints."""
        files = [f"--file={ROOT / 'compose.yaml'}"]
        files += [f"--file={self._override}"] if self._override.exists() else []
        where = (f"--project-directory={self.folder}", f"--project-name={self.name}")
        done = subprocess.run(
            [*self._program, *files, *where, *words],
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            env=os.environ | {"HOPSCOPE_IMAGE": HOPSCOPE},
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def config(self, *profiles: str) -> dict[str, Any]:
        chosen = [f"--profile={profile}" for profile in profiles]
        services: dict[str, Any] = json.loads(self.do(*chosen, "config", "--format=json"))
        return services["services"]  # type: ignore[no-any-return]

    def inspect(self, service: str) -> dict[str, Any]:
        """Its container, and the address and gateway that it has in the network."""
        container = self.do("ps", "--quiet", service).strip()
        told = subprocess.run(
            ["docker", "inspect", container], capture_output=True, text=True, check=True
        )
        network = json.loads(told.stdout)[0]["NetworkSettings"]["Networks"]
        return {"id": container} | dict(network[f"{self.name}_default"])

    def ingress_of(self, call_sid: str) -> str:
        """The ingress by which the sidecar says that a call came."""
        session = self.line("sidecar", event="session", call_sid=call_sid)
        return str(self.line("sidecar", event="handshake", id=session["id"])["ingress"])

    def line(self, service: str, **wanted: Any) -> dict[str, Any]:
        """A line of a service's log with these fields, now or soon."""
        deadline = time.monotonic() + START_S
        while True:
            log = self.do("logs", "--no-log-prefix", service)
            lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
            for line in lines:
                if wanted.items() <= line.items():
                    return dict(line)
            assert time.monotonic() < deadline, f"{service} has no {wanted}: {log}"
            time.sleep(0.2)


def _program() -> list[str]:
    """`docker compose`, or docker-compose of the pinned tools. Skips where there is none."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") is not None:
        asked = [*plugin, "version"]
        done = subprocess.run(asked, capture_output=True, timeout=COMMAND_S, check=False)
        if done.returncode == 0:
            return plugin
    return [str(tool("docker-compose"))]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def running(project: Project, images: Images) -> Iterator[Project]:
    for image in (HOPSCOPE, NGINX, TAILSCALE):
        images.get(image)
    try:
        yield project
    finally:
        project.do("--profile=*", "down", "--volumes", "--timeout=5")


@pytest.mark.parametrize("ingress", ["nginx", "cloudflared", "tailscale"])
def test_a_profile_is_gateway_sidecar_and_one_ingress(project: Project, ingress: str) -> None:
    services = project.config(ingress)
    assert set(services) == {"gateway", "sidecar", ingress}
    published = {name for name, service in services.items() if service.get("ports")}
    assert published == ({"nginx"} if ingress == "nginx" else set())


def test_every_service_is_read_only_and_without_capabilities(project: Project) -> None:
    services = project.config("nginx", "cloudflared", "tailscale", "grafana")
    assert len(services) == 7
    for name, service in services.items():
        assert {key: service.get(key) for key in HARDENED} == HARDENED, name
        # What people see of themselves alone.
        if name in ("prometheus", "grafana"):
            assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]


def test_the_secrets_of_one_service_are_not_given_to_another(project: Project) -> None:
    for service in ("cloudflared", "sidecar"):
        (project.folder / "secrets" / f"{service}.env").write_text(f"OF_{service}=1\n")
    services = project.config("nginx", "cloudflared", "tailscale", "grafana")
    holders = {
        secret: {name for name, told in services.items() if secret in told.get("environment", {})}
        for secret in ("TWILIO_AUTH_TOKEN", "TS_AUTHKEY", "OF_cloudflared", "OF_sidecar")
    }
    assert holders == {
        "TWILIO_AUTH_TOKEN": {"gateway"},
        "TS_AUTHKEY": {"tailscale"},
        "OF_cloudflared": {"cloudflared"},
        "OF_sidecar": {"sidecar"},
    }


def test_a_missing_secret_is_named(project: Project) -> None:
    (project.folder / "secrets" / "gateway.env").unlink()
    with pytest.raises(AssertionError, match=r"secrets/gateway\.env not found"):
        project.config("nginx")


def test_a_call_through_nginx_and_after_a_swap_through_tailscale(running: Project) -> None:
    folder = running.folder
    make_authority(folder)
    tls = ssl.create_default_context(cafile=folder / "ca.pem")
    write_nginx(folder / "ingress", HOST, folder)
    write_ingress("tailscale", folder / "ingress" / "tailscale", HOST)
    running.override({})
    running.do("--profile=nginx", "up", "--detach", "--no-build", "--wait", "--wait-timeout=120")
    address = str(running.inspect("nginx")["IPAddress"])
    heard = asyncio.run(call_through(address, 443, tls, f"https://{HOST}"))
    assert running.ingress_of(heard.report.call_sid) == "nginx"

    with control_at(str(running.inspect("sidecar")["Gateway"])) as url:
        state = write_state(folder / "state", folder)
        told = {"environment": leading_to(url), "volumes": [f"{state}:/var/lib/tailscale"]}
        running.override({"tailscale": told})
        running.do("--profile=nginx", "rm", "--stop", "--force", "nginx")
        running.do("--profile=tailscale", "up", "--detach", "--no-build", "--no-recreate")
        container = str(running.inspect("tailscale")["id"])
        with funnel_to(container, url, folder / "edge") as relay:
            way = call_through("127.0.0.1", relay.port, tls, f"https://{HOST}")
            heard = asyncio.run(way)
    assert running.ingress_of(heard.report.call_sid) == "tailscale-funnel"
    # Both calls are in one history.
    kept = json.loads(running.do("exec", "-T", "sidecar", "hopscope", "history", "--json"))
    assert [each["ingress"] for each in kept["handshakes"]] == ["tailscale-funnel", "nginx"]
