# row = "U05"
# says = "Funnel leads to a program that accepts and never answers."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "timeout"
# hop = "tailscale"
# phase = "request"
# rule = "UP08"
tailscale funnel --bg @silent@
