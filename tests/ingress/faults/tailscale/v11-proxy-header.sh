# row = "V11"
# says = "A PROXY header that the sidecar was not told of."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "400"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "UP05"
tailscale funnel --bg --tls-terminated-tcp=443 --proxy-protocol=2 tcp://@upstream@
