# row = "T09"
# says = "The target is https with a certificate that nobody knows: x509, and a bare 502."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "502"
# hop = "tailscale"
# phase = "request"
# rule = "UP01"
tailscale funnel --bg https://@speaks_tls@
