# says = "An nginx stands between."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# chain = ["nginx", "tailscale"]
# ==> tailscale
tailscale funnel --bg @upstream@
