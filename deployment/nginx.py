"""nginx: one file for http {}."""

from collections.abc import Mapping

from deployment.files import Ingress, fill, places
from deployment.site import Site

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.
# It belongs into http {}: /etc/nginx/conf.d/ does that.

# Upgrade is hop-by-hop (RFC 9110 section 7.8): nginx passes it on only where it is told to.
# Requests that ask for no upgrade get no Connection, which keeps the connection to the sidecar.
map $http_upgrade $hopscope_connection {
    default upgrade;
    ''      '';
}

upstream hopscope {
    server @upstream@;
    keepalive 16;
}

server {
    listen @port@ ssl;
    # listen [::]:@port@ ssl;    if the name has an AAAA record
    server_name @host@;
    ssl_certificate @certificate@;
    ssl_certificate_key @key@;
    ssl_protocols TLSv1.2 TLSv1.3;

    location @prefix@ {
        # No path behind the name: what Twilio asked for, and signed, arrives as it was.
        proxy_pass http://hopscope;
        proxy_http_version 1.1;
        # One proxy_set_header here drops all those of the blocks around it.
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $hopscope_connection;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        # The default, a minute, cuts a stream in which nobody speaks.
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        proxy_connect_timeout 5s;
        # A webhook that is posted twice is a call that is answered twice.
        proxy_next_upstream off;
    }
@rest@}
"""
_REST = """\

    # 421, so that a 404 from outside is always the gateway's, or the sidecar's with its stamp.
    location / {
        return 421;
    }
"""


def _files(site: Site) -> Mapping[str, str]:
    rest = _REST if site.prefix != "/" else ""
    return {"voice.conf": fill(_CONFIG, **places(site), rest=rest)}


NGINX = Ingress(
    name="nginx",
    title="nginx",
    files=_files,
    start="""\
sudo cp voice.conf /etc/nginx/conf.d/
sudo nginx -t
sudo systemctl reload nginx
""",
    change="""\
- The certificate: it is where certbot puts one (`--certificate`, `--key`).
- With Homebrew the folder is `$(brew --prefix)/etc/nginx/servers`, and `brew services` starts it.
- The whole file is for a name of its own. In a `server {}` that you have, `map`, `upstream` and the
  `location` are what you need.
- A reload leaves running calls to the old workers. `worker_shutdown_timeout` would cut them: leave
  it out.
""",
)
