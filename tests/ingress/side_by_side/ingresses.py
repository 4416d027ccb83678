"""Real ingresses in front of one sidecar, each as it should be configured.

nginx HAProxy Caddy Traefik Envoy Apache       the laboratory's proper configurations, plain http
cloudflared (http2), cloudflared (quic)        behind an edge of the tests' own
Funnel (HTTPS), Funnel (TLS-terminated TCP)    real tailscaled behind a relay of the tests' own
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from doctor.comparing.entries import Entry, read_entries
from doctor.probing.options import ProbeOptions
from ingress.faults.fault_cases import Case, Expected
from ingress.faults.fault_chains import Chain, Laboratory
from ingress.faults.fault_edge_programs import EDGE_PROGRAMS, ENVOY_PROPER
from ingress.faults.fault_programs import APACHE_PROPER, HAPROXY_PROPER, PROGRAMS
from ingress.tunnels.cloudflare.required import tunnel_to
from ingress.tunnels.cloudflare.tunnel import CloudflareTunnel
from ingress.tunnels.tailscale.funnel_relay import FunnelRelay
from ingress.tunnels.tailscale.tailnet import Tailnet
from ingress.tunnels.tools import tool
from programs import require

NAME = "voice.example.com"
MOUNTED = "funnel-mounted"
SERVERS = ("nginx", "haproxy", "caddy", "traefik", "envoy", "apache")
CLOUDFLARE = ("cloudflared-http2", "cloudflared-quic")
FUNNEL = ("funnel-https", "funnel-tcp", MOUNTED)
ALL = (*SERVERS, *CLOUDFLARE, *FUNNEL[:2])
TCP_PORT, MOUNT_PORT = 8443, 10000  # the two that Funnel carries beside 443
# How each program is asked for its version, and where it stands in the answer.
_VERSIONS = {
    "nginx": (("-v",), r"nginx/(\S+)"),
    "haproxy": (("-v",), r"version (\S+)"),
    "caddy": (("version",), r"(v[\d.]+)"),
    "traefik": (("version",), r"Version:\s+(\S+)"),
    "envoy": (("--version",), r"/([\d.]+)/"),
    "apache": (("-v",), r"Apache/(\S+)"),
    "cloudflared": (("--version",), r"version (\S+)"),
    "tailscaled": (("--version",), r"^([\d.]+)"),
}


@dataclass(frozen=True, slots=True)
class Short:
    """A configuration as it is first written, in words and as the program reads it."""

    program: str
    says: str
    text: str


_HEADERS = """proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";"""
_UPGRADES = "                upgrade_configs:\n                  - upgrade_type: websocket\n"
_IDLE = "                stream_idle_timeout: 3600s\n"
_ROUTE = "{ cluster: sidecar }"
_NO_TIMEOUT = "{ cluster: sidecar, timeout: 0s }"
SHORT: dict[str, Short] = {
    "nginx-bare": Short(
        "nginx",
        "`proxy_pass` alone",
        "server { listen @listen@; location / { proxy_pass http://@upstream@; } }\n",
    ),
    "nginx-headers": Short(
        "nginx",
        "`proxy_pass`, HTTP/1.1 and the two headers",
        "server { listen @listen@; location / { proxy_pass http://@upstream@; "
        + _HEADERS
        + " } }\n",
    ),
    "haproxy-bare": Short(
        "haproxy",
        "no `timeout tunnel`; `timeout client` and `timeout server` 50 s, as Debian has them",
        HAPROXY_PROPER.replace("    timeout tunnel 1h\n", "").replace("30s", "50s"),
    ),
    "envoy-bare": Short(
        "envoy",
        "a route, no `upgrade_configs`",
        ENVOY_PROPER.replace(_UPGRADES, "").replace(_IDLE, "").replace(_NO_TIMEOUT, _ROUTE),
    ),
    "envoy-upgrades": Short(
        "envoy",
        "`upgrade_configs`, no timeouts set",
        ENVOY_PROPER.replace(_IDLE, "").replace(_NO_TIMEOUT, _ROUTE),
    ),
    "apache-bare": Short(
        "apache",
        "`ProxyPass` without `upgrade=`",
        APACHE_PROPER.replace(" upgrade=websocket timeout=3600", ""),
    ),
}


@dataclass(slots=True)
class Ingresses:
    """What runs, by name: URLs, the addresses to dial for them, the authorities to trust."""

    sidecar: str
    admin: str
    ca: Path
    urls: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    tunnels: dict[str, CloudflareTunnel] = field(default_factory=dict)
    tailnet: Tailnet | None = None

    def add(self, name: str, url: str, address: str, ca: Path | None = None) -> None:
        self.urls[name], self.addresses[name] = url, address
        if ca is not None:
            with self.ca.open("ab") as trusted:
                trusted.write(ca.read_bytes())

    def entries(self, names: Sequence[str]) -> tuple[Entry, ...]:
        urls = [f"{name}={self.urls[name]}" for name in names]
        return read_entries(urls, [f"{name}={self.addresses[name]}" for name in names])

    def options(self, idle_s: float = 0.0) -> ProbeOptions:
        return ProbeOptions(admin=self.admin, ca=self.ca, idle_s=idle_s)


@contextmanager
def running(folder: Path, names: Sequence[str]) -> Iterator[Ingresses]:
    """Start these ingresses. Skips (pytest) where a program is missing."""
    with ExitStack() as stack:
        laboratory = stack.enter_context(Laboratory(folder))
        lead = stack.enter_context(laboratory.running(_case("")))
        sidecar = lead.hops[1].url.partition("://")[2]
        ingresses = Ingresses(sidecar, lead.admin, folder / "trusted.pem")
        ingresses.ca.write_bytes(lead.ca.read_bytes())
        for name in names:
            if name in SERVERS or name in SHORT:
                chain = stack.enter_context(laboratory.running(_case(name)))
                address = chain.hops[-1].url.partition("://")[2]
                ingresses.add(name, f"http://{NAME}", address)
                ingresses.chains[name] = chain
        for name in names:
            if name in CLOUDFLARE:
                port = int(sidecar.rpartition(":")[2])
                protocol = name.rpartition("-")[2]
                tunnel = stack.enter_context(tunnel_to(port, protocol=protocol))
                tunnel.wait_until_connected()
                ingresses.add(name, tunnel.url, tunnel.address, tunnel.ca)
                ingresses.tunnels[name] = tunnel
        if any(name in FUNNEL for name in names):
            _funnel(folder, ingresses, stack)
        yield ingresses


def _funnel(folder: Path, ingresses: Ingresses, stack: ExitStack) -> None:
    """Both modes at one node, each at a port that Funnel carries."""
    home = folder / "tailnet"
    home.mkdir()
    tailnet = stack.enter_context(Tailnet(home))
    ingresses.tailnet = tailnet
    tailnet.cli("funnel", "--bg", "--yes", f"http://{ingresses.sidecar}")
    tcp = f"tcp://{ingresses.sidecar}"
    tailnet.cli("funnel", "--bg", "--yes", f"--tls-terminated-tcp={TCP_PORT}", tcp)
    relay = stack.enter_context(FunnelRelay(tailnet.relay.peer, public_port=TCP_PORT))
    mounted = (f"--https={MOUNT_PORT}", "--set-path=/voice", f"http://{ingresses.sidecar}")
    tailnet.cli("funnel", "--bg", "--yes", *mounted)
    other = stack.enter_context(FunnelRelay(tailnet.relay.peer, public_port=MOUNT_PORT))
    ingresses.add("funnel-https", tailnet.url, tailnet.address, tailnet.ca)
    ingresses.add(MOUNTED, f"{tailnet.url}:{MOUNT_PORT}", f"127.0.0.1:{other.port}")
    ingresses.add("funnel-tcp", f"{tailnet.url}:{TCP_PORT}", f"127.0.0.1:{relay.port}")


def _case(name: str) -> Case:
    """A healthy case of the laboratory; "" for the sidecar alone."""
    program, text = (SHORT[name].program, SHORT[name].text) if name in SHORT else (name, "")
    chain = (program,) if program else ()
    files = {program: text} if text else {}
    return Case(name or "sidecar", "healthy", "", "", chain, files, Expected("healthy"))


def version(program: str) -> str:
    """As the program itself prints it."""
    arguments, pattern = _VERSIONS[program]
    known = PROGRAMS | EDGE_PROGRAMS
    path = require(known[program].executable) if program in known else str(tool(program))
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"
