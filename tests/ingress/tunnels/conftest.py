"""Tunnels that are started once, and set up anew for each test."""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calls.gateways_at_work import TOKEN
from ingress.tunnels.tailscale.tailnet import Tailnet
from ingress.tunnels.tools import tool
from programs import ROOT


@pytest.fixture(scope="session")
def running_tailnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tailnet]:
    with Tailnet(tmp_path_factory.mktemp("tailnet")) as tailnet:
        yield tailnet


@pytest.fixture
def tailnet(running_tailnet: Tailnet) -> Tailnet:
    """Two real tailscaled and Funnel's public side; the gateway's node serves nothing yet."""
    running_tailnet.reset()
    return running_tailnet


@pytest.fixture
def shell(tailnet: Tailnet, tmp_path: Path) -> Callable[[str], str]:
    """Run a line as a user of the gateway's machine, whose `tailscale` asks this node's daemon."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = shlex.join((str(tool("tailscale")), f"--socket={tailnet.gateway.socket}"))
    (folder / "tailscale").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (folder / "tailscale").chmod(0o755)

    def execute(line: str) -> str:
        done = subprocess.run(
            ["sh", "-c", line],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={
                "PATH": f"{folder}:{os.environ['PATH']}",
                "SSL_CERT_FILE": str(tailnet.ca),
                "TWILIO_AUTH_TOKEN": TOKEN,
            },
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    return execute
