# says = "One mount for everything."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
tailscale funnel --bg @upstream_port@
