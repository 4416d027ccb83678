# row = "V10"
# says = "The target is http, and its port wants TLS."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# hop = "tailscale"
# phase = "request"
# rule = "UP01"
tailscale funnel --bg http://@speaks_tls@
