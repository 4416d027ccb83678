"""For each rule of nginx's linter a configuration in which it fires, one in which it is quiet."""

import re
from pathlib import Path
from typing import NamedTuple

from doctor.linting.findings import LintReport, Paths
from doctor.linting.nginx import lint

MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
HEADERS = """\
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
"""
PROPER = f"{HEADERS}        proxy_read_timeout 1h;\n"
PASS = "proxy_pass http://127.0.0.1:8080;"
TLS = "listen 8443 ssl; ssl_certificate voice.pem; ssl_certificate_key voice.key;"


class Pair(NamedTuple):
    """Two files, and what the linter is told of the paths."""

    fires: str
    quiet: str
    paths: Paths = Paths()


def file(http: str) -> str:
    return f"events {{}}\nhttp {{\n{MAP}\n{http}\n}}\n"


def site(server: str, *, listen: str = "listen 8480;", http: str = "") -> str:
    """One server{} whose server_name is the public one."""
    return file(
        f"{http}\nserver {{\n    {listen}\n    server_name voice.example.com;\n{server}\n}}"
    )


def at(location: str, body: str) -> str:
    return f"    location {location} {{\n{body}\n    }}\n"


def voice(body: str, *, listen: str = "listen 8480;", http: str = "", server: str = "") -> str:
    """The voice paths in one location, which is proper but for what `body` holds."""
    return site(server + at("/voice/", PROPER + body), listen=listen, http=http)


def without(*names: str) -> str:
    """A proper location that lacks some lines."""
    lines = [line for line in PROPER.splitlines() if not any(name in line for name in names)]
    return site(at("/voice/", "\n".join([*lines, PASS])))


# In the stream's own location, so that plain requests do not matter.
def stream(body: str) -> str:
    return site(at("= /voice/stream", body) + at("/", PROPER + PASS))


HOSTED = Paths(host="voice.example.com")
PAIRS: dict[str, Pair] = {
    "NG01": Pair(without("Upgrade"), voice(PASS)),
    "NG02": Pair(without("Connection"), voice(PASS)),
    "NG03": Pair(
        site(PROPER + at("/voice/", f"proxy_set_header X-Hop nginx; {PASS}")),
        site(PROPER + at("/voice/", PASS)),
    ),
    "NG04": Pair(without("http_version"), voice(PASS)),
    "NG05": Pair(
        voice(PASS).replace("$connection_upgrade;\n", '"upgrade";\n'),
        stream(PROPER.replace("$connection_upgrade", '"Upgrade"') + PASS),
    ),
    "NG06": Pair(
        voice(f'proxy_set_header Sec-WebSocket-Key ""; {PASS}'),
        voice(f"proxy_set_header Sec-WebSocket-Key $http_sec_websocket_key; {PASS}"),
    ),
    "NG07": Pair(
        voice(f'proxy_set_header X-Twilio-Signature ""; {PASS}'),
        voice(f"proxy_set_header X-Twilio-Signature $http_x_twilio_signature; {PASS}"),
    ),
    "NG08": Pair(
        voice(f"proxy_hide_header Sec-WebSocket-Accept; {PASS}"),
        voice(f"proxy_hide_header Connection; proxy_hide_header X-Powered-By; {PASS}"),
    ),
    "NG09": Pair(
        site(at("/voice/", PROPER + PASS) + at("= /voice/stream", "uwsgi_pass 127.0.0.1:8080;")),
        site(at("/voice/", PROPER + PASS) + at("/", "uwsgi_pass 127.0.0.1:8080;")),
    ),
    "NG10": Pair(
        stream(f"{PROPER} proxy_pass http://127.0.0.1:8080/stream;"),
        voice("proxy_pass http://127.0.0.1:8080/voice/;"),
    ),
    "NG11": Pair(
        voice(f"rewrite ^/voice/stream$ /media break; {PASS}"),
        voice(f"rewrite ^/phone/(.*)$ /voice/$1 break; {PASS}"),
    ),
    "NG12": Pair(
        voice("proxy_pass http://127.0.0.1:8080$uri;"),
        voice("proxy_pass http://127.0.0.1:8080$uri$is_args$args;"),
    ),
    "NG13": Pair(
        site(at("/voice/webhook", PROPER + PASS) + at("/", "root /var/www;")),
        site(at("/voice/", PROPER + PASS) + at("/", "try_files $uri =404;")),
    ),
    "NG14": Pair(
        voice(f"return 301 https://$host$request_uri; {PASS}"),
        file(
            "server { listen 8480; server_name voice.example.com; "
            "return 301 https://$host$request_uri; }\n"
            f"server {{ {TLS} server_name voice.example.com;\n"
            f"location / {{ proxy_set_header X-Forwarded-Proto $scheme;\n{PROPER}{PASS} }} }}"
        ),
    ),
    "NG15": Pair(
        voice(f"if ($request_method != POST) {{ return 405; }} {PASS}"),
        voice(f"if ($request_method !~ ^(GET|POST)$) {{ return 405; }} {PASS}"),
    ),
    "NG16": Pair(
        file(
            "server { listen 8480 default_server; return 444; }\n"
            "server { listen 8480; server_name voice.exmaple.com;\n"
            f"location / {{ {PROPER}{PASS} }} }}"
        ),
        file(
            "server { listen 8480 default_server; return 444; }\n"
            "server { listen 8480; server_name *.example.com;\n"
            f"location / {{ {PROPER}{PASS} }} }}"
        ),
        HOSTED,
    ),
    "NG17": Pair(
        voice("set $gateway gateway.internal; proxy_pass http://$gateway:8080;"),
        voice(
            "set $gateway pool; proxy_pass http://$gateway;",
            http="upstream pool { server 127.0.0.1:8080; }",
        ),
    ),
    "NG18": Pair(
        voice("proxy_pass http://127.0.0.1:443;"),
        voice("proxy_pass https://127.0.0.1:443;"),
    ),
    "NG19": Pair(
        voice(PASS, listen="listen 8480 http2;"),
        voice(
            f"proxy_set_header X-Forwarded-Proto $scheme; {PASS}",
            listen=TLS.replace("ssl;", "ssl http2;", 1),
        ),
    ),
    "NG20": Pair(without("Host"), voice(PASS)),
    "NG21": Pair(
        voice(PASS, listen=TLS),
        voice(f"proxy_set_header X-Forwarded-Proto https; {PASS}", listen=TLS),
    ),
    "NG22": Pair(without("read_timeout"), voice(PASS)),
    "NG23": Pair(
        voice(PASS, server="    auth_basic Staff; auth_basic_user_file users;\n"),
        voice(
            f"auth_basic off; {PASS}",
            server="    auth_basic Staff; auth_basic_user_file users;\n",
        ),
    ),
    "NG24": Pair(
        voice(f"deny all; {PASS}"),
        voice(f"allow 127.0.0.1; allow 10.0.0.0/8; deny all; {PASS}"),
    ),
    "NG25": Pair(
        voice(
            f"limit_conn calls 5; {PASS}",
            http="limit_conn_zone $binary_remote_addr zone=calls:1m;",
        ),
        voice(
            f"limit_req zone=calls burst=100; {PASS}",
            http="limit_req_zone $binary_remote_addr zone=calls:1m rate=10r/s;",
        ),
    ),
    "NG26": Pair(
        voice(f"proxy_intercept_errors on; error_page 404 =200 /index.html; {PASS}"),
        voice(f"error_page 502 /sorry.html; {PASS}"),
    ),
    "NG27": Pair(
        voice(f"proxy_next_upstream error timeout non_idempotent; {PASS}"),
        voice(f"proxy_next_upstream error timeout; {PASS}"),
    ),
    "NG28": Pair(
        voice(f"client_max_body_size 1k; {PASS}"),
        voice(f"client_max_body_size 0; {PASS}", server="    large_client_header_buffers 4 8k;\n"),
    ),
}

FILE = Path("/etc/nginx/nginx.conf")


def report_of(text: str, paths: Paths | None = None, path: Path = FILE) -> LintReport:
    report = lint(text, path, paths or Paths())
    assert report.unreadable == ""
    return report


def rules_of(text: str, paths: Paths | None = None) -> set[str]:
    return {finding.rule for finding in report_of(text, paths).findings}


def becomes(text: str, path: str, paths: Paths | None = None) -> tuple[str, str, str]:
    """Where a path goes: its place without the file, upstream and target."""
    [found] = {each for each in report_of(text, paths).paths if each.path == path}
    return re.sub(r" \([^()]*\)$", "", found.place), found.upstream, found.target
