"""Traefik 3: the static configuration, and what its file provider reads."""

from collections.abc import Mapping

from deployment.files import File, Ingress, fill, places
from deployment.site import Site
from deployment.systemd import unit

_STATIC = """\
# Traefik's own: where it listens, where it reads the rest, who gives it certificates.

global:
  checkNewVersion: false
  sendAnonymousUsage: false

entryPoints:
  voice:
    address: ":@port@"
    transport:
      lifeCycle:
        # How long calls may go on after SIGTERM.
        graceTimeOut: 30s

providers:
  file:
    filename: /etc/traefik/voice.yaml

accessLog: {}
@resolvers@"""
_RESOLVERS = """
certificatesResolvers:
  letsencrypt:
    acme:
      # email: you@example.com
      storage: /var/lib/traefik/acme.json
      tlsChallenge: {}
"""
_DYNAMIC = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.

http:
  routers:
    voice:
      entryPoints: [voice]
      rule: Host(`@host@`)@path@
      middlewares: [https]
      service: hopscope
@tls@
  middlewares:
    # Of an upgrade Traefik says wss, which no gateway expects that rebuilds the URL from it.
    https:
      headers:
        customRequestHeaders:
          X-Forwarded-Proto: https

  services:
    hopscope:
      loadBalancer:
        servers:
          - url: http://@upstream@
"""
_RESOLVED = """\
      tls:
        certResolver: letsencrypt
"""
_GIVEN = """

tls:
  certificates:
    - certFile: @certificate@
      keyFile: @key@
"""


def _files(site: Site) -> Mapping[str, str]:
    values = places(site) | {"path": f" && PathPrefix(`{site.prefix}`)"}
    if site.prefix == "/":
        values["path"] = ""
    if site.certificate and site.key:
        dynamic = fill(_DYNAMIC, **values, tls="      tls: {}\n")
        dynamic = f"{dynamic.rstrip()}\n{fill(_GIVEN, **values)[1:]}"
        static = fill(_STATIC, **values, resolvers="")
    else:
        dynamic = fill(_DYNAMIC, **values, tls=_RESOLVED)
        static = fill(_STATIC, **values, resolvers=_RESOLVERS)
    return {"voice.yaml": dynamic, "traefik.yaml": static}


def _units(site: Site) -> tuple[File, ...]:
    return (
        unit(
            "traefik/traefik.service",
            "Traefik in front of hopscope",
            "/usr/local/bin/traefik --configFile=/etc/traefik/traefik.yaml",
            more=("StateDirectory=traefik",),
            capability="CAP_NET_BIND_SERVICE",
        ),
    )


TRAEFIK = Ingress(
    name="traefik",
    title="Traefik",
    files=_files,
    units=_units,
    start="""\
sudo mkdir -p /etc/traefik && sudo cp traefik.yaml voice.yaml /etc/traefik/
sudo cp traefik.service /etc/systemd/system/
sudo systemctl daemon-reload && sudo systemctl enable --now traefik
""",
    change="""\
- Port 443 of @host@ must reach Traefik, or it gets no certificate. With one of your own:
  `--certificate` and `--key`.
- With Docker labels in place of `voice.yaml`, keep the rule and the port: nothing else is needed
  for upgrades.
- Other paths than `@prefix@` get Traefik's own 404, which has no stamp of the sidecar.
""",
)
