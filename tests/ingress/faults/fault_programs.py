"""How the programs of the laboratory are started: what is written around a case's configuration.

PROGRAMS is the list; a program is a function that writes its files into a folder and gives the
command, and the file that the doctor's linter is told of.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from doctor.evidence import HopKind


@dataclass(frozen=True, slots=True)
class Started:
    """A program's command line and its main configuration file, if it has one.

    `ping` is a port on which it answers 200 once it serves, for one that listens earlier.
    """

    command: list[str]
    config: Path | None
    ping: int | None = None


Write = Callable[[str, Path, str, str], Started]  # program's path, folder, configuration, listen


@dataclass(frozen=True, slots=True)
class Program:
    """`executable` is how it is called, `proper` its configuration where a case has none.

    `ready` is a log of its own and what stands there once it serves, for one that listens earlier.
    `find` finds it where it is not installed like the others; it skips the test like `require`.
    """

    kind: HopKind
    executable: str
    write: Write
    proper: str
    ready: tuple[str, str] = ("", "")
    find: Callable[[str], str] | None = None


def write_nginx(path: str, folder: Path, site: str, listen: str) -> Started:
    """The case is what stands in http {}; a file main.conf of it stands outside."""
    (folder / "site.conf").write_text(site)
    config = folder / "nginx.conf"
    config.write_text(
        f"""\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{_as_root("user root;")}
include {folder}/main*.conf;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
    )
    command = [path, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(config)]
    return Started(command, config)


def write_haproxy(path: str, folder: Path, text: str, listen: str) -> Started:
    """The case is the whole file."""
    config = folder / "haproxy.cfg"
    config.write_text(text)
    return Started([path, "-db", "-f", str(config)], config)


APACHE_MODULES = """
    alias auth_basic authn_core authn_file authz_core authz_host authz_user env filter headers
    lbmethod_byrequests mpm_event proxy proxy_balancer proxy_http proxy_wstunnel reqtimeout
    rewrite setenvif slotmem_shm socache_shmcb ssl
""".split()


def write_apache(path: str, folder: Path, site: str, listen: str) -> Started:
    """The case is what Debian has in sites-enabled. Its modules are loaded, all of them."""
    modules = Path("/usr/lib/apache2/modules")
    loaded = "\n".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so" for name in APACHE_MODULES
    )
    (folder / "site.conf").write_text(site)
    config = folder / "apache2.conf"
    config.write_text(
        f"""\
ServerRoot {folder}
ServerName localhost
Listen {listen}
PidFile {folder}/apache2.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
StartServers 1
ThreadsPerChild 16
MinSpareThreads 1
MaxSpareThreads 32
MaxRequestWorkers 32
{loaded}
{_as_root("User nobody", "Group #65534")}
Include {folder}/site.conf
"""
    )
    return Started([path, "-DFOREGROUND", "-f", str(config)], config)


def _as_root(*directives: str) -> str:
    """Root's servers must be told whose their workers are; others may not be told."""
    return "\n".join(directives) if os.geteuid() == 0 else ""


NGINX_PROPER = """\
map $http_upgrade $connection_upgrade {
    default upgrade;
    ''      close;
}
server {
    listen @listen@;
    server_name voice.example.com;
    location / {
        proxy_pass http://@upstream@;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
    }
}
"""
HAPROXY_PROPER = """\
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    option forwardfor
frontend voice
    bind @listen@
    http-request set-header X-Forwarded-Proto https
    default_backend sidecar
backend sidecar
    server one @upstream@
"""
APACHE_PROPER = """\
<VirtualHost *:@port@>
    ServerName voice.example.com
    ProxyPreserveHost On
    RequestHeader set X-Forwarded-Proto https
    ProxyPass        / http://@upstream@/ upgrade=websocket timeout=3600
    ProxyPassReverse / http://@upstream@/
</VirtualHost>
"""

PROGRAMS: dict[str, Program] = {
    "nginx": Program("nginx", "nginx", write_nginx, NGINX_PROPER),
    "haproxy": Program("haproxy", "haproxy", write_haproxy, HAPROXY_PROPER),
    "apache": Program(
        "apache", "apache2", write_apache, APACHE_PROPER, ("error.log", "resuming normal")
    ),
}
