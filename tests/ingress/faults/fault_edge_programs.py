"""How Caddy, Traefik, Envoy and the laboratory's own broken hops are started.

Their cases are whole files as these programs read them; what is written around them keeps a
program on loopback, in its folder, and without a word to its makers.
"""

import sys
from pathlib import Path

from ingress.faults.fault_programs import Program, Started
from programs import free_port

HERE = Path(__file__).parent


def write_caddy(path: str, folder: Path, sites: str, listen: str) -> Started:
    """The case is a Caddyfile; the block of global options is added where it has none."""
    config = folder / "Caddyfile"
    text = sites if sites.lstrip().startswith("{") else _CADDY_OPTIONS + sites
    if "skip_install_trust" not in text:
        raise ValueError("a Caddyfile of the laboratory must not touch what this machine trusts")
    config.write_text(text)
    homes = [f"XDG_{name}_HOME={folder}" for name in ("DATA", "CONFIG")]
    command = [path, "run", "--config", str(config), "--adapter", "caddyfile"]
    return Started(["env", *homes, *command, "--pidfile", str(folder / "caddy.pid")], config)


def write_traefik(path: str, folder: Path, dynamic: str, listen: str) -> Started:
    """The case is what the file provider reads; `# ==> static.yaml` adds to the static part.

    Traefik listens before it knows its routers: an entry point of the laboratory's own tells.
    """
    provided = folder / "provided"
    provided.mkdir()
    config = provided / "voice.yaml"
    config.write_text(dynamic)
    (provided / "laboratory.yaml").write_text(_TRAEFIK_PING)
    ping = free_port()
    extra = folder / "static.yaml"
    static = folder / "traefik.yaml"
    more = extra.read_text() if extra.exists() else _TRAEFIK_ENTRY.format(listen=listen)
    static.write_text(_TRAEFIK_STATIC.format(ping=ping, provided=provided) + more)
    return Started([path, f"--configFile={static}"], config, ping)


def write_envoy(path: str, folder: Path, text: str, listen: str) -> Started:
    config = folder / "envoy.yaml"
    config.write_text(text)
    options = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
    return Started([path, "-c", str(config), *options, "--drain-time-s", "0"], config)


def write_hop(path: str, folder: Path, text: str, listen: str) -> Started:
    """The case says what the hop does (fault_hops.py). It has no configuration to lint."""
    file = folder / "hop.toml"
    file.write_text(text)
    return Started([path, str(HERE / "fault_hops.py"), listen, str(file)], None)


_CADDY_OPTIONS = """\
{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	default_bind 127.0.0.1
}
"""
_TRAEFIK_STATIC = """\
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
ping: {{ manualRouting: true }}
providers:
  file: {{ directory: {provided}, watch: false }}
entryPoints:
  laboratory:
    address: "127.0.0.1:{ping}"
    transport: {{ lifeCycle: {{ graceTimeOut: 0s }} }}
"""
_TRAEFIK_ENTRY = """\
  voice:
    address: "{listen}"
    transport: {{ lifeCycle: {{ graceTimeOut: 0s }} }}
"""
_TRAEFIK_PING = """\
http:
  routers:
    laboratory:
      entryPoints: [laboratory]
      rule: PathPrefix(`/`)
      service: ping@internal
"""
CADDY_PROPER = """\
http://voice.example.com:@port@ {
	reverse_proxy @upstream@
}
"""
TRAEFIK_PROPER = """\
http:
  routers:
    voice:
      entryPoints: [voice]
      rule: Host(`voice.example.com`) && PathPrefix(`/voice/`)
      service: sidecar
  services:
    sidecar:
      loadBalancer:
        servers:
          - url: http://@upstream@
"""
_CONNECTION_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager"
)
ENVOY_PROPER = """\
static_resources:
  listeners:
    - address: { socket_address: { address: 127.0.0.1, port_value: @port@ } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": CONNECTION_MANAGER
                stat_prefix: voice
                stream_idle_timeout: 3600s
                upgrade_configs:
                  - upgrade_type: websocket
                route_config:
                  virtual_hosts:
                    - name: voice
                      domains: ["voice.example.com"]
                      routes:
                        - match: { prefix: /voice/ }
                          route: { cluster: sidecar, timeout: 0s }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: sidecar
      connect_timeout: 1s
      load_assignment:
        cluster_name: sidecar
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address: { socket_address: { address: 127.0.0.1, port_value: @upstream_port@ } }
""".replace("CONNECTION_MANAGER", _CONNECTION_MANAGER)

EDGE_PROGRAMS: dict[str, Program] = {
    "caddy": Program("caddy", "caddy", write_caddy, CADDY_PROPER),
    "traefik": Program("traefik", "traefik", write_traefik, TRAEFIK_PROPER),
    "envoy": Program("envoy", "envoy", write_envoy, ENVOY_PROPER),
    "hop": Program("other", sys.executable, write_hop, ""),
    "ngrok": Program("other", sys.executable, write_hop, ""),
    "cloudflare": Program("cloudflared", sys.executable, write_hop, ""),
    "funnel": Program("tailscale", sys.executable, write_hop, ""),
}
