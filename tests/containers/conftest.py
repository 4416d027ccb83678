"""Fixtures of the container tests: a docker that runs, images, a network without a way out."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

# Its reaper is an image that only a registry has; `start` removes what it started.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.network import Network

from containers.images import HOPSCOPE, ImageError, Images
from containers.running import Running
from ingress.tunnels.tools import tool

DOCKER_S = 30
Start = Callable[..., Running]


@pytest.fixture(scope="session")
def _docker() -> None:
    """Skips where no docker answers; in CI that is a failure."""
    if reason := _why_no_docker():
        message = f"{reason} (`apt-get install docker.io debootstrap`, then start dockerd)"
        if os.environ.get("CI"):
            pytest.fail(f"{message}; .ci/run does both")
        pytest.skip(message)


def _why_no_docker() -> str:
    if sys.platform != "linux":
        return "containers are dialled at their own addresses, which only Linux has on its network"
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=DOCKER_S, check=False)
    except FileNotFoundError:
        return "docker is not installed"
    except subprocess.TimeoutExpired:
        return f"docker does not answer in {DOCKER_S} s"
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture(scope="session")
def images(_docker: None, pytestconfig: pytest.Config) -> Images:
    """Says what it makes on the terminal: the first time it takes minutes."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\n{text}")

    return Images(tool, say)


@pytest.fixture
def network(_docker: None) -> Iterator[Network]:
    with Network(docker_network_kw={"internal": True}) as made:
        yield made


@pytest.fixture
def start(images: Images, network: Network) -> Iterator[Start]:
    """Start a container under a name in the network: start(image, alias, *command, ...)."""
    with ExitStack() as stack:

        def start_one(image: str, alias: str, *command: str, **options: Any) -> Running:
            try:
                images.get(image)
            except ImageError as error:
                pytest.fail(str(error))
            running = Running(image, *command, network=network, alias=alias, **options)
            stack.callback(running.close)
            return running

        yield start_one


@pytest.fixture
def gateway(start: Start) -> Running:
    return start(
        HOPSCOPE,
        "gateway",
        *("gateway", "--listen", "0.0.0.0:8081"),
        environment={
            "TWILIO_AUTH_TOKEN": "made-up-auth-token",
            "HOPSCOPE_PUBLIC_URL": "https://voice.example.com",
        },
    )


@pytest.fixture
def sidecar(start: Start, gateway: Running) -> Running:
    """In front of the gateway; both listen when a test begins."""
    return start_sidecar(start, gateway)


def start_sidecar(start: Start, gateway: Running, **environment: str) -> Running:
    started = start(
        HOPSCOPE,
        "sidecar",
        *("proxy", "--upstream", "http://gateway:8081"),
        environment={
            "HOPSCOPE_TRUSTED_PROXIES": '["127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]',
            **environment,
        },
    )
    started.line("listening")
    gateway.line("gateway")
    return started
