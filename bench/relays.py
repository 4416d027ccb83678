"""The relays that are compared: how each is started, and with which configuration."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench.sessions import RefusedError

OURS = "hopscope"
# The same program,
UNREAD = "hopscope-unread"  # told to read no media messages
CAPTURE = "hopscope-capture"  # told to keep every frame of every session
OTLP = "hopscope-otlp"  # exporting spans, log lines and, each second, all its numbers
VARIANTS = (UNREAD, CAPTURE, OTLP)
REFERENCE = "nginx"
DIRECT = "no relay"
EXPORTED_WITHIN_S = 10.0

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{listen} backlog=1024;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
}}
"""

_HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind 127.0.0.1:{listen}
    default_backend gateway
backend gateway
    server gateway 127.0.0.1:{upstream}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a relay runs: its directory, its port, its upstream's port, its room; the ports of its
    admin address and of a collector."""

    directory: Path
    listen: int
    upstream: int
    connections: int
    admin: int
    collector: int


@dataclass(frozen=True, slots=True)
class Relay:
    """A program to measure; `missing` says why it cannot be. The direct path has no command.

    `beside` runs as long as it does, at the site's collector port. `check` raises RefusedError
    where the program did not do what is measured.
    """

    name: str
    version: str = ""
    command: Callable[[Site], list[str]] | None = None
    settings: Callable[[Site], dict[str, str]] = lambda site: {}
    missing: str | None = None
    beside: Callable[[Site], list[str]] | None = None
    check: Callable[[Site], None] = lambda site: None


def all_relays(ours: str | None) -> list[Relay]:
    """Hopscope first, then nginx, then the others, then the direct path. `ours` is a command line
    with {listen} and {upstream} that is measured in the place of `hopscope proxy`."""
    return [
        _ours(ours),
        *([_unread(), _capturing(), _exporting()] if ours is None else []),
        _program(REFERENCE, "-v", _nginx),
        _program("haproxy", "-v", _haproxy),
        _peer("aiohttp", "bench.peers.aiohttp_relay"),
        _peer("websockets", "bench.peers.websockets_relay"),
        Relay(DIRECT),
    ]


def _ours(template: str | None) -> Relay:
    if template is None:
        return Relay(OURS, _release(), _hopscope, _hopscope_settings)

    def command(site: Site) -> list[str]:
        return shlex.split(template.format(listen=site.listen, upstream=site.upstream))

    return Relay(OURS, "--ours", command, _hopscope_settings)


def _unread() -> Relay:
    def settings(site: Site) -> dict[str, str]:
        return _hopscope_settings(site) | {"HOPSCOPE_MEDIA__READ": "off"}

    return Relay(UNREAD, _release(), _hopscope, settings)


def _capturing() -> Relay:
    """By a route of a hopscope.toml: `--upstream` would stand for a route that keeps nothing."""

    def command(site: Site) -> list[str]:
        (site.directory / "hopscope.toml").write_text(
            f'[[route]]\nname = "gateway"\nupstream = "http://127.0.0.1:{site.upstream}"\n'
            "capture = true\n"
        )
        given = _hopscope(site)
        at = given.index("--upstream")
        return given[:at] + given[at + 2 :]

    def check(site: Site) -> None:
        listed = json.loads(_asked(site.admin, "/api/captures"))["captures"]
        if not listed or not all(capture["frames"] for capture in listed):
            raise RefusedError("a session's frames were not captured")

    return Relay(CAPTURE, _release(), command, _hopscope_settings, check=check)


def _exporting() -> Relay:
    try:
        version("opentelemetry-exporter-otlp-proto-http")
    except PackageNotFoundError:
        return Relay(OTLP, missing="hopscope[otel] is not installed")

    def settings(site: Site) -> dict[str, str]:
        """What is due when a session begins is sent at once, not into the measured time; the
        numbers, due once a minute, each second: the time that is measured holds some."""
        return _hopscope_settings(site) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{site.collector}",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "OTEL_BLRP_SCHEDULE_DELAY": "500",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }

    def check(site: Site) -> None:
        deadline = time.monotonic() + EXPORTED_WITHIN_S
        while not int(_asked(site.collector, "/")):
            if time.monotonic() > deadline:
                raise RefusedError("nothing was exported")
            time.sleep(0.1)

    def collector(site: Site) -> list[str]:
        return [sys.executable, "-m", "bench.collector", str(site.collector)]

    return Relay(OTLP, _release(), _hopscope, settings, beside=collector, check=check)


def _asked(port: int, path: str) -> bytes:
    """What is answered on loopback. Raises RefusedError."""
    connection = HTTPConnection("127.0.0.1", port, timeout=EXPORTED_WITHIN_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, HTTPException) as error:
        raise RefusedError(f"{error!r} when {path} was asked for") from error
    finally:
        connection.close()


def _release() -> str:
    try:
        return version("hopscope")
    except PackageNotFoundError:
        return "not packaged"


def _hopscope(site: Site) -> list[str]:
    return [
        *(sys.executable, "-m", "hopscope", "proxy", "--no-history"),
        *("--upstream", f"http://127.0.0.1:{site.upstream}"),
        *("--listen", f"127.0.0.1:{site.listen}"),
        *("--admin", f"127.0.0.1:{site.admin}"),
    ]


def _hopscope_settings(site: Site) -> dict[str, str]:
    """Room for the load, as in the other configurations: all of it comes from one address."""
    room = str(site.connections)
    return {
        "HOPSCOPE_LIMITS__CONNECTIONS": room,
        "HOPSCOPE_LIMITS__CONNECTIONS_PER_CLIENT": room,
    }


def _nginx(site: Site) -> list[str]:
    config = _write(site, "nginx.conf", _NGINX)
    # -e keeps nginx from opening its built-in log file before it has read the configuration.
    return ["nginx", "-e", "stderr", "-p", str(site.directory), "-c", str(config)]


def _haproxy(site: Site) -> list[str]:
    return ["haproxy", "-db", "-q", "-f", str(_write(site, "haproxy.cfg", _HAPROXY))]


def _write(site: Site, name: str, template: str) -> Path:
    config = site.directory / name
    config.write_text(
        template.format(
            directory=site.directory,
            listen=site.listen,
            upstream=site.upstream,
            connections=site.connections,
        )
    )
    return config


def _program(name: str, version_flag: str, command: Callable[[Site], list[str]]) -> Relay:
    if shutil.which(name) is None:
        return Relay(name, missing="not installed")
    said = subprocess.run(
        [name, version_flag], check=False, capture_output=True, text=True, timeout=10
    )
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return Relay(name, found[0] if found else "", command)


def _peer(package: str, module: str) -> Relay:
    if find_spec(package) is None:
        return Relay(package, missing="not installed")

    def command(site: Site) -> list[str]:
        return [sys.executable, "-m", module, str(site.listen), str(site.upstream)]

    return Relay(package, version(package), command)
