"""How tunnels are started: the real agent, and the part of the provider that it connects to."""

import sys
from pathlib import Path

from ingress.faults.fault_programs import Program, Started
from programs import ROOT

_TUNNEL = "ingress.tunnels.cloudflare.program"


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


CLOUDFLARED_PROPER = """\
ingress:
  - hostname: voice.example.com
    service: http://@upstream@
  - service: http_status:421
"""

TUNNEL_PROGRAMS: dict[str, Program] = {
    "cloudflared": Program(
        "cloudflared",
        "cloudflared",
        write_cloudflared,
        CLOUDFLARED_PROPER,
        ("output.log", "The tunnel is as it shall be."),
        find_cloudflared,
    ),
}
