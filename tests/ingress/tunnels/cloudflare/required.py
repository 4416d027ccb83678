"""The real cloudflared for a test, which is skipped where it cannot be run."""

from functools import cache
from pathlib import Path

import pytest

from ingress.tunnels.cloudflare.namespace import why_not
from ingress.tunnels.cloudflare.tunnel import PROPER, CloudflareTunnel
from ingress.tunnels.tools import tool

_why_not = cache(why_not)


def cloudflared() -> Path:
    """Its path. Skips where it is missing, or could not be kept from the internet."""
    path = tool("cloudflared")
    if reason := _why_not():
        pytest.skip(f"cloudflared is only run in a network of its own: {reason}")
    return path


def tunnel_to(port: int, config: str = PROPER, **options: object) -> CloudflareTunnel:
    """A tunnel to a port of this machine, not yet entered."""
    executable = cloudflared()
    return CloudflareTunnel(executable, f"127.0.0.1:{port}", config, **options)  # type: ignore[arg-type]
