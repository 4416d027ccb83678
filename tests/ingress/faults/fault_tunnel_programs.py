"""How tunnels are started: the real agent, and the part of the provider that it connects to."""

import sys
from pathlib import Path

from ingress.faults.fault_programs import Program, Started
from programs import ROOT

_TUNNEL = "ingress.tunnels.cloudflare.program"
_TAILNET = "ingress.tunnels.tailscale.program"


def write_cloudflared(path: str, folder: Path, rules: str, listen: str) -> Started:
    """The case is config.yml without its tunnel; `# ==> edge.toml` are switches of the edge."""
    (folder / "rules.yml").write_text(rules)
    command = [sys.executable, "-m", _TUNNEL, path, str(folder), listen]
    imports = f"PYTHONPATH={ROOT}:{ROOT / 'tests'}"
    return Started(["env", imports, *command], folder / "config.yml")


def find_cloudflared(name: str) -> str:
    # Imported here: what the edge is made of is not needed to list the cases.
    from ingress.tunnels.cloudflare.required import cloudflared

    return str(cloudflared())


def write_tailscale(path: str, folder: Path, commands: str, listen: str) -> Started:
    """The case is lines of the `tailscale` command; see tailscale/program.py for further files."""
    (folder / "commands.sh").write_text(commands)
    certs = folder.parent.parent / "certs"  # of the laboratory that the case runs in
    command = [sys.executable, "-m", _TAILNET, str(folder), str(certs), listen]
    imports = f"PYTHONPATH={ROOT}:{ROOT / 'tests'}"
    return Started(["env", imports, *command], folder / "served.json")


def find_tailscaled(name: str) -> str:
    from ingress.tunnels.tools import tool

    return str(tool(name))


CLOUDFLARED_PROPER = """\
ingress:
  - hostname: voice.example.com
    service: http://@upstream@
  - service: http_status:421
"""

TAILSCALE_PROPER = "tailscale funnel --bg @upstream@\n"

TUNNEL_PROGRAMS: dict[str, Program] = {
    "cloudflared": Program(
        "cloudflared",
        "cloudflared",
        write_cloudflared,
        CLOUDFLARED_PROPER,
        ("output.log", "The tunnel is as it shall be."),
        find_cloudflared,
    ),
    "tailscale": Program(
        "tailscale",
        "tailscaled",
        write_tailscale,
        TAILSCALE_PROPER,
        ("output.log", "The tailnet is as it shall be."),
        find_tailscaled,
    ),
}
