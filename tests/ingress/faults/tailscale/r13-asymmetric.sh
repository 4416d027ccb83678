# row = "R13"
# says = "Everything is mounted, and leads to the webhook's path."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "404"
# backend = ["GET /voice/webhook/voice/stream HTTP/1.1"]
# hop = "tailscale"
# phase = "request"
# rule = "HS08"
tailscale funnel --bg http://@upstream@/voice/webhook
