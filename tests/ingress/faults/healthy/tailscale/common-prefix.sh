# says = "One mount for what both paths begin with, repeated in its target."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
tailscale funnel --bg --set-path /voice http://@upstream@/voice
