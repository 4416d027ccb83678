"""Caddy: a Caddyfile. It gets its certificate by itself."""

from collections.abc import Mapping

from deployment.files import Ingress, fill, places
from deployment.site import Site

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.

@authority@ {
@tls@@routes@}
"""
_PROXY = """\
reverse_proxy @upstream@ {
	# A reload ends every stream at once. Twilio ends a call after four hours by itself.
	stream_close_delay 4h
	transport http {
		dial_timeout 5s
	}
}
"""
_HANDLES = """\
	handle @prefix@* {
@proxy@	}
	# 421, so that a 404 from outside is always the gateway's, or the sidecar's with its stamp.
	handle {
		respond 421
	}
"""


def _files(site: Site) -> Mapping[str, str]:
    proxy = fill(_PROXY, upstream=site.upstream)
    routes = _indented(proxy, 1)
    if site.prefix != "/":
        routes = fill(_HANDLES, prefix=site.prefix, proxy=_indented(proxy, 2))
    tls = f"\ttls {site.certificate} {site.key}\n" if site.certificate and site.key else ""
    return {"Caddyfile": fill(_CONFIG, **places(site), tls=tls, routes=routes)}


def _indented(text: str, tabs: int) -> str:
    return "".join("\t" * tabs + line for line in text.splitlines(keepends=True))


CADDY = Ingress(
    name="caddy",
    title="Caddy",
    files=_files,
    start="""\
sudo cp Caddyfile /etc/caddy/Caddyfile
caddy validate --config /etc/caddy/Caddyfile
sudo systemctl reload caddy
""",
    change="""\
- Ports 80 and 443 of @host@ must reach Caddy, or it gets no certificate. With one of your own:
  `--certificate` and `--key`.
- `stream_close_delay` is how long calls may go on after a reload. It needs 2.7 or newer.
""",
)
