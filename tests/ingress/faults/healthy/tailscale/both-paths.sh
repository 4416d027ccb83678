# says = "Each path has a mount that repeats it in its target."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
tailscale funnel --bg --set-path /voice/webhook http://@upstream@/voice/webhook
tailscale funnel --bg --set-path /voice/stream http://@upstream@/voice/stream
