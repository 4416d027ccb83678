# row = "R24"
# says = "A text is mounted where the sidecar should be."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "200"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "RO04"
tailscale funnel --bg text:hello
