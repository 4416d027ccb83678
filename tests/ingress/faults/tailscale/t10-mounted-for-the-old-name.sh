# row = "T10"
# says = "The mounts are for the name that the node had before: alert 80."
# host = "old.tail-scale.ts.net"
# server_name = "old.tail-scale.ts.net"
# secure = true
# client = "tls alert"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "tls"
# rule = "NE09"
# ==> tailscale
# ==> serve.json
{
  "TCP": {"443": {"HTTPS": true}},
  "Web": {"old.tail-scale.ts.net:443": {"Handlers": {"/": {"Proxy": "http://@upstream@"}}}},
  "AllowFunnel": {"old.tail-scale.ts.net:443": true}
}
