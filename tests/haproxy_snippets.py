"""For each rule of HAProxy's linter a file in which it fires, one in which it is quiet."""

from pathlib import Path
from typing import NamedTuple

from doctor.linting.findings import LintReport, Paths
from doctor.linting.haproxy import lint

FILE = Path("/etc/haproxy/haproxy.cfg")
DEFAULTS = """\
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
"""
SERVER = "server one 127.0.0.1:8080"
TLS = "bind 127.0.0.1:8443 ssl crt voice.pem"


class Pair(NamedTuple):
    """Two files, and what the linter is told of the paths."""

    fires: str
    quiet: str
    paths: Paths = Paths()


def proxy(
    front: str = "", back: str = "", *, server: str = SERVER, bind: str = "bind 127.0.0.1:8480"
) -> str:
    """A frontend that gives everything to one backend. Lines are separated by semicolons."""
    return file(f"{bind}; {front}; default_backend voice", f"{back}; {server}")


def file(front: str, back: str = SERVER, *, defaults: str = DEFAULTS, more: str = "") -> str:
    return f"{defaults}frontend public\n{lines(front)}backend voice\n{lines(back)}{more}"


def lines(text: str) -> str:
    return "".join(f"    {line.strip()}\n" for line in text.split(";") if line.strip())


def without(name: str) -> str:
    return "".join(line for line in DEFAULTS.splitlines(keepends=True) if name not in line)


PUBLIC = "bind 127.0.0.1:8480; default_backend voice"
USERS = "userlist staff\n    user admin insecure-password secret\n"
PAIRS: dict[str, Pair] = {
    "HA01": Pair(
        proxy("http-request del-header Upgrade"),
        proxy("http-request del-header Upgrade unless { path_beg /voice/stream }"),
    ),
    "HA02": Pair(
        proxy("http-request replace-path /voice/stream /media"),
        proxy("http-request replace-path /api/(.*) /\\1"),
    ),
    "HA03": Pair(
        file("bind 127.0.0.1:8480; use_backend voice if { path /voice/webhook }"),
        file("bind 127.0.0.1:8480; use_backend voice if { path_beg /voice/ }"),
    ),
    "HA04": Pair(
        proxy("http-request redirect scheme https unless { ssl_fc }"),
        proxy("redirect scheme https unless { ssl_fc } or { path_beg /voice/ }"),
    ),
    "HA05": Pair(
        proxy("http-request deny unless METH_POST"),
        proxy("http-request deny unless METH_POST or METH_GET"),
    ),
    "HA06": Pair(
        USERS + proxy("http-request auth unless { http_auth(staff) }"),
        USERS + proxy("http-request auth unless { http_auth(staff) } or { path_beg /voice/ }"),
    ),
    "HA07": Pair(
        file(PUBLIC, defaults=without("tunnel")),
        file(PUBLIC, f"timeout tunnel 4h; {SERVER}", defaults=without("tunnel")),
    ),
    "HA08": Pair(
        proxy(back="timeout tunnel 60s"),
        file(PUBLIC, defaults=DEFAULTS.replace("30s", "5m")),
    ),
    "HA09": Pair(
        file(
            "bind 127.0.0.1:8480; use_backend voice if { path_beg /voice }; default_backend voice",
            defaults=DEFAULTS.replace("mode http", "mode tcp"),
        ),
        file(PUBLIC, defaults=without("mode http")),
    ),
    "HA10": Pair(
        proxy(server=f"{SERVER} proto h2"),
        proxy(server=f"{SERVER} proto h1"),
    ),
    "HA11": Pair(
        proxy(
            "http-request set-header X-Forwarded-Proto https",
            bind=f"{TLS} alpn h2",
        ),
        proxy(
            "http-request set-header X-Forwarded-Proto https",
            bind=f"{TLS} alpn h2,http/1.1",
        ),
    ),
    "HA12": Pair(
        proxy(back="http-request set-header Host gateway.internal"),
        proxy(back="http-request set-header X-Forwarded-Host %[req.hdr(host)]"),
    ),
    "HA13": Pair(
        proxy(bind=TLS),
        proxy("http-request set-header X-Forwarded-Proto https if { ssl_fc }", bind=TLS),
    ),
    "HA14": Pair(
        proxy(server="server one 127.0.0.1:443"),
        proxy(server="server one 127.0.0.1:443 ssl verify none"),
    ),
    "HA15": Pair(
        proxy("http-request del-header X-Twilio -m beg"),
        proxy("http-request del-header X-Internal -m beg"),
    ),
    "HA16": Pair(
        proxy(back="http-response deny unless { status 200 }"),
        proxy(back="http-response del-header Sec-WebSocket-Accept"),
    ),
    "HA17": Pair(
        proxy(
            "stick-table type ip size 100 expire 10s store http_req_rate(10s); "
            "http-request track-sc0 src; http-request deny if { sc_http_req_rate(0) gt 5 }"
        ),
        proxy(server=f"{SERVER} maxconn 1000"),
    ),
    "HA18": Pair(
        proxy("http-request deny unless { src 192.0.2.0/24 }"),
        proxy("http-request deny unless { src 127.0.0.0/8 10.0.0.0/8 }"),
    ),
    "HA19": Pair(
        proxy(back="retry-on all-retryable-errors"),
        proxy(
            back="retry-on all-retryable-errors; http-request disable-l7-retry if METH_POST",
        ),
    ),
    "HA20": Pair(
        proxy(server=f"{SERVER} send-proxy-v2"),
        proxy("option forwardfor"),
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


def target_of(text: str, path: str = "/voice/stream") -> str:
    [found] = {each for each in report_of(text).paths if each.path == path}
    return found.target
