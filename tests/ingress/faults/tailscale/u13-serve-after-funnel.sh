# row = "U13"
# says = "A later `tailscale serve` on the same port turned Funnel off."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "tls eof"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "tls"
# rule = "NE11"
tailscale funnel --bg @upstream@
tailscale serve --bg --set-path /more @upstream@
