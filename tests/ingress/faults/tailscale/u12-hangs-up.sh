# row = "U12"
# says = "Funnel leads to a program that hangs up."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# hop = "tailscale"
# phase = "request"
# rule = "UP01"
tailscale funnel --bg @closes@
