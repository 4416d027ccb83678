# row = "H01"
# says = "tailscaled is right; an nginx between drops the Upgrade."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# chain = ["nginx", "tailscale"]
# client = "426"
# backend = ["no Upgrade"]
# hop = "nginx"
# phase = "request"
# rule = "HS01"
# ==> nginx
server {
    listen @listen@;
    location / { proxy_pass http://@upstream@; proxy_set_header Host $host; proxy_http_version 1.1; }
}
# ==> tailscale
tailscale funnel --bg @upstream@
