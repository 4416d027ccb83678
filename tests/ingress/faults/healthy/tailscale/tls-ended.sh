# says = "TLS is ended, and bytes are copied."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# warns = ["TW07"]
tailscale funnel --bg --tls-terminated-tcp=443 tcp://@upstream@
