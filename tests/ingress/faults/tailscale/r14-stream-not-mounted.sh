# row = "R14"
# says = "Funnel has the webhook's path mounted and not the stream's."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "404"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "RO01"
tailscale funnel --bg --set-path /voice/webhook http://@upstream@/voice/webhook
