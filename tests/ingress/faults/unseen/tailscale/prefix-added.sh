# row = "R13"
# says = "A mount for /voice leads to /api/voice."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "404"
# backend = ["GET /api/voice/stream HTTP/1.1"]
# hop = "tailscale"
# phase = "request"
# rule = "HS08"
tailscale funnel --bg --set-path /voice http://@upstream@/api/voice
