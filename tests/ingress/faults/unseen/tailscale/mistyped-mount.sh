# row = "R14"
# says = "The stream's mount has a letter too many, and the root is somebody's page."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "200"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "RO04"
tailscale funnel --bg text:welcome
tailscale funnel --bg --set-path /voice/webhook http://@upstream@/voice/webhook
tailscale funnel --bg --set-path /voice/streams http://@upstream@/voice/stream
