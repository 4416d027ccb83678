# row = "R13"
# says = "The webhook's mount repeats its path in the target, the stream's does not."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "404"
# backend = ["GET / HTTP/1.1"]
# hop = "tailscale"
# phase = "request"
# rule = "HS08"
tailscale funnel --bg --set-path /voice/webhook http://@upstream@/voice/webhook
tailscale funnel --bg --set-path /voice/stream http://@upstream@
