# row = "T10"
# says = "tailscaled has no certificate and cannot get one: alert 80."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "tls alert"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "tls"
# rule = "NE09"
# ==> tailscale
tailscale funnel --bg @upstream@
# ==> tailnet.toml
no_certificate = true
