# row = "U01"
# says = "The webhook goes to the sidecar, the stream to a port where nobody listens."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "UP01"
tailscale funnel --bg --set-path /voice/webhook http://@upstream@/voice/webhook
tailscale funnel --bg --set-path /voice/stream http://@refused@/voice/stream
