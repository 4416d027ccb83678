"""Tailscale Funnel: the commands, and the same as `tailscale serve set-raw` reads it."""

import json
from collections.abc import Mapping

from deployment.files import Ingress, fill, places
from deployment.site import Site, SiteError

_COMMANDS = """\
#!/bin/sh
# Calls for @url@ go to the sidecar of hopscope at @upstream@.
# The same as: tailscale serve set-raw < serve.json
set -e

# One mount for everything: tailscaled takes a mount's prefix away from the path, and the sidecar
# and the gateway tell paths apart themselves. --bg outlives this shell and restarts of tailscaled.
tailscale funnel --bg --yes --https=@port@ http://@upstream@
tailscale funnel status
"""


def _files(site: Site) -> Mapping[str, str]:
    name = f"{site.host}:{site.port}"
    served = {
        "TCP": {str(site.port): {"HTTPS": True}},
        "Web": {name: {"Handlers": {"/": {"Proxy": f"http://{site.upstream}"}}}},
        "AllowFunnel": {name: True},
    }
    return {
        "serve.json": json.dumps(served, indent=2) + "\n",
        "funnel.sh": fill(_COMMANDS, **places(site)),
    }


def _check(site: Site) -> None:
    if not site.host.endswith(".ts.net"):
        raise SiteError(
            f"public_url: Funnel serves {site.host!r} to nobody; its names end in .ts.net, and "
            "`tailscale status --json` has this machine's as Self.DNSName: "
            "--public-url https://MACHINE.TAILNET.ts.net"
        )


TAILSCALE = Ingress(
    name="tailscale",
    title="Tailscale Funnel",
    files=_files,
    check=_check,
    start="""\
sudo tailscale up
sh funnel.sh
curl -si --http1.1 @url@@webhook@ | head -1
""",
    change="""\
- `serve.json` is the same as `funnel.sh`, and asks nothing: `tailscale serve set-raw < serve.json`.
  It replaces everything that this machine serves.
- Funnel needs HTTPS certificates and the `funnel` attribute in the tailnet's policy; the first
  request waits up to a minute for its certificate.
- Twilio wants port 443. `tailscale serve` on the same port turns Funnel off.
- From a machine of the tailnet the name leads past Funnel's relays: check from outside, too.
- tailscaled is a service of its own package on Linux, and of Homebrew or the App on macOS.
""",
)
