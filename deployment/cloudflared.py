"""cloudflared: config.yml of a tunnel that is managed on this machine."""

from collections.abc import Mapping

from deployment.files import File, Ingress, fill, places
from deployment.launchd import plist
from deployment.site import NO_TUNNEL, Site
from deployment.systemd import unit

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.

# Its credentials, UUID.json, are looked for in ~/.cloudflared, /etc/cloudflared, and
# /usr/local/etc/cloudflared.
@unknown@tunnel: @tunnel@
metrics: 127.0.0.1:20241
no-autoupdate: true

ingress:
  - hostname: @host@
@path@    # http, not ws: cloudflared dials an upgrade over HTTP/1.1 by itself. An address, not
    # localhost: that may be ::1, where nobody listens.
    service: http://@upstream@
    originRequest:
      connectTimeout: 5s
  # 421, so that a 404 from outside is always the gateway's, or the sidecar's with its stamp.
  - service: http_status:421
"""
_UNKNOWN = "# The UUID is what `cloudflared tunnel create` prints: --tunnel UUID\n"
_PATH = """\
    # A regular expression, found anywhere in a path unless it is anchored.
    path: @pattern@
"""


def _files(site: Site) -> Mapping[str, str]:
    # Of what a path may hold, the dot alone means something there.
    pattern = "^" + site.prefix.replace(".", r"\.")
    path = fill(_PATH, pattern=pattern) if site.prefix != "/" else ""
    unknown = _UNKNOWN if site.tunnel == NO_TUNNEL else ""
    return {"config.yml": fill(_CONFIG, **places(site), path=path, unknown=unknown)}


def _units(site: Site) -> tuple[File, ...]:
    tunnel = ("tunnel", "--config", "/etc/cloudflared/config.yml", "--grace-period", "30s", "run")
    credentials = ("--credentials-file", "${CREDENTIALS_DIRECTORY}/tunnel.json")
    return (
        unit(
            "cloudflared/cloudflared.service",
            "Cloudflare Tunnel in front of hopscope",
            " ".join(("/usr/local/bin/cloudflared", *tunnel, *credentials)),
            # The file is root's alone: systemd hands a copy to the unit's user.
            more=(f"LoadCredential=tunnel.json:/etc/cloudflared/{site.tunnel}.json",),
        ),
        plist(
            "cloudflared/com.cloudflare.hopscope.plist", ("/opt/homebrew/bin/cloudflared", *tunnel)
        ),
    )


CLOUDFLARED = Ingress(
    name="cloudflared",
    title="Cloudflare Tunnel",
    files=_files,
    units=_units,
    start="""\
cloudflared tunnel login
cloudflared tunnel create hopscope    # prints a UUID: write this folder with --tunnel UUID
cloudflared tunnel route dns hopscope @host@
cloudflared tunnel --config config.yml ingress validate
cloudflared tunnel --config config.yml run
""",
    change="""\
- To keep it running on Linux: `sudo cp config.yml ~/.cloudflared/UUID.json /etc/cloudflared/`,
  `sudo cp cloudflared.service /etc/systemd/system/`, `sudo systemctl enable --now cloudflared`. On
  macOS the plist does.
- A tunnel that is managed in Cloudflare's dashboard does not read `ingress:` of this file.
- In the zone: WebSockets on (Network), and no challenge, bot rule or Access application before
  `@prefix@`.
- UDP to port 7844 blocked: `protocol: http2`.
""",
)
