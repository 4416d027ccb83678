"""HAProxy: the whole file."""

from collections.abc import Mapping

from deployment.files import Ingress, fill, places
from deployment.site import Site

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.

global
    user haproxy
    group haproxy
    log stdout format raw local0 info
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option httplog
    # One slow head holds a connection no longer than this.
    timeout http-request 10s
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    # After the 101, in place of the two above: they would cut a stream in which nobody speaks.
    timeout tunnel 1h
    timeout client-fin 30s
    # Of a failed connection only: a webhook that was sent is never sent again.
    retries 1

frontend voice
    bind :@port@ ssl crt @certificate@ alpn http/1.1
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    # 421, so that a 404 from outside is always the gateway's, or the sidecar's with its stamp.
    acl is_ours hdr(host),host_only -i @host@
@path@    http-request return status 421 unless is_ours@and_path@
    default_backend hopscope

backend hopscope
    server sidecar @upstream@
"""


def _files(site: Site) -> Mapping[str, str]:
    values = places(site) | {
        "certificate": site.certificate or f"/etc/haproxy/certs/{site.host}.pem",
        "path": "" if site.prefix == "/" else f"    acl is_voice path_beg {site.prefix}\n",
        "and_path": "" if site.prefix == "/" else " is_voice",
    }
    return {"haproxy.cfg": fill(_CONFIG, **values)}


HAPROXY = Ingress(
    name="haproxy",
    title="HAProxy",
    files=_files,
    start="""\
sudo cp haproxy.cfg /etc/haproxy/haproxy.cfg
sudo haproxy -c -f /etc/haproxy/haproxy.cfg
sudo systemctl reload haproxy
""",
    change="""\
- The certificate is one file with chain and key: `cat fullchain.pem privkey.pem >
  /etc/haproxy/certs/@host@.pem` (`--certificate`), readable by root alone.
- It needs 2.5 or newer, for `host_only`.
- `log stdout` is for systemd and containers. The four letters of a line say how a session ended,
  but not who closed a WebSocket: `hopscope history` does.
- A reload leaves running calls to the old process. `hard-stop-after` would cut them: leave it out.
""",
)
