# row = "U01"
# says = "Funnel leads to a port where nobody listens."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "UP01"
tailscale funnel --bg @refused@
