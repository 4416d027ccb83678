"""Apache httpd 2.4.47 or newer: one virtual host."""

from collections.abc import Mapping

from deployment.files import Ingress, fill, places
from deployment.site import Site

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.
# It needs the modules ssl, headers, proxy and proxy_http, of 2.4.47 or newer.

<VirtualHost *:@port@>
    ServerName @host@
    SSLEngine on
    SSLCertificateFile @certificate@
    SSLCertificateKeyFile @key@
    SSLProtocol -all +TLSv1.2 +TLSv1.3

    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto https
    # Paths arrive as they were asked for, and signed: neither decoded nor with slashes merged.
    AllowEncodedSlashes NoDecode
    # Without upgrade=websocket the upgrade is dropped. The default timeout cuts a stream in which
    # nobody speaks. retry=0: a sidecar that was restarted is asked again at once.
    ProxyPass @prefix@ http://@upstream@@prefix@ \\
        upgrade=websocket timeout=3600 connectiontimeout=5 retry=0
@rest@</VirtualHost>
"""
_REST = """\

    # Nothing else is served under this name.
    <Location />
        Require all denied
    </Location>
    <Location @prefix@>
        Require all granted
    </Location>
"""


def _files(site: Site) -> Mapping[str, str]:
    rest = fill(_REST, prefix=site.prefix) if site.prefix != "/" else ""
    return {"voice.conf": fill(_CONFIG, **places(site), rest=rest)}


APACHE = Ingress(
    name="apache",
    title="Apache httpd",
    files=_files,
    start="""\
sudo a2enmod ssl headers proxy proxy_http
sudo cp voice.conf /etc/apache2/sites-available/ && sudo a2ensite voice
sudo apachectl configtest && sudo systemctl reload apache2
""",
    change="""\
- The certificate: it is where certbot puts one (`--certificate`, `--key`).
- `Listen @port@` stands in ports.conf on Debian; elsewhere add it.
- A call takes a thread of mpm_event as long as it lasts: `MaxRequestWorkers` is how many calls
  there can be.
""",
)
