"""Tunnels that are started once, and set up anew for each test."""

from collections.abc import Iterator

import pytest

from ingress.tunnels.tailscale.tailnet import Tailnet


@pytest.fixture(scope="session")
def running_tailnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tailnet]:
    with Tailnet(tmp_path_factory.mktemp("tailnet")) as tailnet:
        yield tailnet


@pytest.fixture
def tailnet(running_tailnet: Tailnet) -> Tailnet:
    """Two real tailscaled and Funnel's public side; the gateway's node serves nothing yet."""
    running_tailnet.reset()
    return running_tailnet
