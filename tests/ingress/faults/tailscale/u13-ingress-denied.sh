# row = "U13"
# says = "The tailnet does not let relays bring connections to this node."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "tls eof"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "tls"
# rule = "NE11"
# ==> tailscale
tailscale funnel --bg @upstream@
# ==> tailnet.toml
off = ["ingress"]
