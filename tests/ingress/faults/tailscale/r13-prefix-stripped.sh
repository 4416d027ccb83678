# row = "R13"
# says = "One mount for /voice, and its target has no path: the mount is taken off."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "404"
# backend = ["GET /stream HTTP/1.1"]
# hop = "tailscale"
# phase = "request"
# rule = "HS08"
tailscale funnel --bg --set-path /voice http://@upstream@
