"""For each rule of Apache's linter a file in which it fires, one in which it is quiet."""

from pathlib import Path
from typing import NamedTuple

from doctor.linting.apache import lint
from doctor.linting.findings import LintReport, Paths

FILE = Path("/etc/apache2/apache2.conf")
MODULES = """
    access_compat alias auth_basic authn_core authn_file authz_core authz_host authz_user env
    filter headers mpm_event proxy proxy_balancer proxy_http proxy_wstunnel lbmethod_byrequests
    reqtimeout rewrite setenvif slotmem_shm socache_shmcb ssl http2
""".split()
FOLDER = "/usr/lib/apache2/modules"
LOADED = "".join(f"LoadModule {name}_module {FOLDER}/mod_{name}.so\n" for name in MODULES)
ADDRESS = "http://127.0.0.1:8080"
PASS = f"ProxyPass / {ADDRESS}/ upgrade=websocket"
PROPER = f"ProxyPreserveHost On; {PASS}"
TLS = "SSLEngine On; SSLCertificateFile voice.pem; SSLCertificateKeyFile voice.pem"


class Pair(NamedTuple):
    """Two files, and what the linter is told of the paths."""

    fires: str
    quiet: str
    paths: Paths = Paths()


def lines(text: str) -> str:
    return "".join(f"    {line.strip()}\n" for line in text.split(";") if line.strip())


def file(body: str, *, main: str = "Timeout 300", loaded: str = LOADED, port: int = 8480) -> str:
    return f"{loaded}Listen 127.0.0.1:{port}\nServerName main.example.com\n{lines(main)}{body}"


def vhost(body: str, name: str = "voice.example.com", *, port: int = 8480) -> str:
    return f"<VirtualHost *:{port}>\n    ServerName {name}\n{lines(body)}</VirtualHost>\n"


def site(body: str, *, main: str = "Timeout 300", loaded: str = LOADED) -> str:
    """One virtual host, which is proper but for what its body holds."""
    return file(vhost(body), main=main, loaded=loaded)


def at(path: str, body: str, section: str = "Location") -> str:
    return f"<{section} {path}>; {body}; </{section}>"


HOSTED = Paths(host="voice.example.com")
PAIRS: dict[str, Pair] = {
    "AP01": Pair(
        site(f"ProxyPreserveHost On; ProxyPass / {ADDRESS}/"),
        site(
            f"ProxyPreserveHost On; ProxyPass /voice/stream ws://127.0.0.1:8080/voice/stream; "
            f"ProxyPass / {ADDRESS}/"
        ),
    ),
    "AP02": Pair(
        site(
            f"ProxyPreserveHost On; ProxyPass / {ADDRESS}/; "
            "ProxyPass /voice/stream ws://127.0.0.1:8080/voice/stream"
        ),
        site(f"{PROPER}; ProxyPass /voice/stream ws://127.0.0.1:8080/voice/stream"),
    ),
    "AP03": Pair(
        site(
            f"ProxyPreserveHost On; ProxyPass /web {ADDRESS}/; "
            f"ProxyPass /voice {ADDRESS}/voice upgrade=websocket"
        ),
        site(
            f"ProxyPreserveHost On; ProxyPass /voice {ADDRESS}/voice upgrade=websocket; "
            f"ProxyPass /web {ADDRESS}/"
        ),
    ),
    "AP04": Pair(
        site(f"{PROPER}; RequestHeader unset Upgrade"),
        site(f"{PROPER}; RequestHeader unset Connection; RequestHeader unset Proxy early"),
    ),
    "AP05": Pair(
        site(f"{PROPER}; SetEnv force-proxy-request-1.0 1"),
        site(f"{PROPER}; SetEnv proxy-nokeepalive 1"),
    ),
    "AP06": Pair(
        site(
            "ProxyPreserveHost On; ProxyPass / ws://127.0.0.1:8080/",
            loaded=LOADED.replace("LoadModule proxy_wstunnel", "# LoadModule proxy_wstunnel"),
        ),
        site("ProxyPreserveHost On; ProxyPass / ws://127.0.0.1:8080/"),
    ),
    "AP07": Pair(
        site(PROPER, main="Timeout 60"),
        site(f"{PROPER} timeout=3600", main="Timeout 30"),
    ),
    "AP08": Pair(
        site("ProxyPreserveHost On; ProxyPass / https://127.0.0.1:8443/ upgrade=websocket"),
        site(
            "SSLProxyEngine On; ProxyPreserveHost On; "
            "ProxyPass / https://127.0.0.1:8443/ upgrade=websocket"
        ),
    ),
    "AP09": Pair(
        site("ProxyPreserveHost On; ProxyPass / http://127.0.0.1:443/ upgrade=websocket"),
        site("ProxyPreserveHost On; ProxyPass / http://127.0.0.1:80/ upgrade=websocket"),
    ),
    "AP10": Pair(
        site(
            f"ProxyPreserveHost On; ProxyPass /voice/stream {ADDRESS}/stream upgrade=websocket; "
            f"ProxyPass /voice/ {ADDRESS}/voice/"
        ),
        site(f"ProxyPreserveHost On; ProxyPass /voice/ {ADDRESS}/voice/ upgrade=websocket"),
    ),
    "AP11": Pair(
        site(f"ProxyPreserveHost On; ProxyPass /voice/ {ADDRESS} upgrade=websocket"),
        site(f"ProxyPreserveHost On; ProxyPass /voice {ADDRESS}/voice upgrade=websocket"),
    ),
    "AP12": Pair(
        site(f"ProxyPass /voice/stream !; {PROPER}"),
        site(f"ProxyPass /static !; {PROPER}"),
    ),
    "AP13": Pair(
        site(
            "RewriteEngine On; RewriteCond %{HTTPS} off; "
            "RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]; " + PROPER
        ),
        site(
            "RewriteEngine On; RewriteCond %{HTTPS} off; RewriteCond %{REQUEST_URI} !^/voice/; "
            "RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]; " + PROPER
        ),
    ),
    "AP14": Pair(
        site(f"{PROPER}; {at('/voice', 'Require method POST')}"),
        site(f"{PROPER}; {at('/voice', 'Require method POST GET')}"),
    ),
    "AP15": Pair(
        site(f"{PROPER}; {at('/', 'AuthType Basic; AuthName a; Require valid-user')}"),
        site(
            f"{PROPER}; {at('/', 'AuthType Basic; AuthName a; Require valid-user')}; "
            f"{at('/voice/', 'Require all granted')}"
        ),
    ),
    "AP16": Pair(
        site(f"{PROPER}; {at('/', 'Require ip 192.0.2.0/24')}"),
        site(f"{PROPER}; {at('/', 'Require local; Require ip 192.0.2.0/24')}"),
    ),
    "AP17": Pair(
        file(
            vhost("DocumentRoot /var/www", "www.example.com") + vhost(PROPER, "voice.exmaple.com")
        ),
        file(vhost("DocumentRoot /var/www", "www.example.com") + vhost(PROPER)),
        HOSTED,
    ),
    "AP18": Pair(site(PASS), site(PROPER)),
    "AP19": Pair(
        site(f"{TLS}; {PROPER}"),
        site(f"{TLS}; {PROPER}; RequestHeader set X-Forwarded-Proto expr=%{{REQUEST_SCHEME}}"),
    ),
    "AP20": Pair(
        site(f"{PROPER}; RequestHeader unset X-Twilio-Signature"),
        site(f"{PROPER}; RequestHeader unset X-Internal"),
    ),
    "AP21": Pair(
        site(f"{PROPER}; ProxyErrorOverride On; ErrorDocument 404 /sorry.html"),
        site(f"{PROPER}; ErrorDocument 404 /sorry.html"),
    ),
    "AP22": Pair(
        site(f"{PROPER}; Protocols h2"),
        site(f"{PROPER}; Protocols h2 http/1.1"),
    ),
}


def report_of(text: str, paths: Paths | None = None, path: Path = FILE) -> LintReport:
    report = lint(text, path, paths or Paths())
    assert report.unreadable == ""
    return report


def rules_of(text: str, paths: Paths | None = None) -> set[str]:
    return {finding.rule for finding in report_of(text, paths).findings}


def levels_of(text: str, paths: Paths | None = None) -> list[tuple[str, str]]:
    return [(finding.rule, finding.level) for finding in report_of(text, paths).findings]
