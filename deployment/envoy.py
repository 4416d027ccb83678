"""Envoy: the whole file, static."""

from collections.abc import Mapping

from deployment.files import File, Ingress, fill, places
from deployment.site import Site
from deployment.systemd import unit

_CONFIG = """\
# Calls for @url@ go to the sidecar of hopscope at @upstream@.

static_resources:
  listeners:
    - name: voice
      address:
        socket_address: { address: 0.0.0.0, port_value: @port@ }
      filter_chains:
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/@tls@
              common_tls_context:
                alpn_protocols: [http/1.1]
                tls_certificates:
                  - certificate_chain: { filename: @certificate@ }
                    private_key: { filename: @key@ }
          filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/@manager@
                stat_prefix: voice
                use_remote_address: true
                request_headers_timeout: 10s
                # The default, five minutes, cuts a stream in which nobody speaks.
                stream_idle_timeout: 3600s
                # Without it Envoy refuses every upgrade with 403.
                upgrade_configs:
                  - upgrade_type: websocket
                route_config:
                  virtual_hosts:
                    - name: voice
                      domains: [@domains@]
                      routes:
                        # The default timeout, 15 s, is for whole answers; a stream's never ends.
                        - match: { prefix: @prefix@ }
                          route: { cluster: hopscope, timeout: 0s }
@rest@                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: hopscope
      type: @discovery@
      connect_timeout: 5s
      load_assignment:
        cluster_name: hopscope
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: { address: "@upstream_host@", port_value: @upstream_port@ }
"""
_REST = """\
                        # 421: a 404 from outside is the gateway's, or the sidecar's with its stamp.
                        - match: { prefix: / }
                          direct_response: { status: 421 }
"""
_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def _files(site: Site) -> Mapping[str, str]:
    values = places(site) | {
        "manager": _MANAGER,
        "tls": _TLS,
        "rest": _REST if site.prefix != "/" else "",
        # Envoy compares the whole Host, with its port where there is one.
        "domains": f'"{site.host}", "{site.host}:*"',
        "discovery": "STRICT_DNS" if site.upstream.is_name else "STATIC",
    }
    return {"envoy.yaml": fill(_CONFIG, **values)}


def _units(site: Site) -> tuple[File, ...]:
    return (
        unit(
            "envoy/envoy.service",
            "Envoy in front of hopscope",
            "/usr/local/bin/envoy -c /etc/envoy/envoy.yaml --drain-time-s 30",
            capability="CAP_NET_BIND_SERVICE",
        ),
    )


ENVOY = Ingress(
    name="envoy",
    title="Envoy",
    files=_files,
    units=_units,
    start="""\
sudo mkdir -p /etc/envoy && sudo cp envoy.yaml /etc/envoy/
envoy --mode validate -c /etc/envoy/envoy.yaml
sudo cp envoy.service /etc/systemd/system/
sudo systemctl daemon-reload && sudo systemctl enable --now envoy
""",
    change="""\
- The certificate: it is where certbot puts one (`--certificate`, `--key`), for root alone; the
  unit's user must be able to read it.
- `use_remote_address` says that Envoy is the outermost hop. Behind a load balancer set
  `xff_num_trusted_hops`, too.
""",
)
