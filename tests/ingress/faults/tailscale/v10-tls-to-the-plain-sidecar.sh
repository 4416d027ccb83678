# row = "V10"
# says = "The target is https, and the sidecar's port is plain."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "UP03"
tailscale funnel --bg https+insecure://@upstream@
