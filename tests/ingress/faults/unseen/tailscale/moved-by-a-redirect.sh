# row = "H04"
# says = "The old mount redirects to where the stream is said to be now."
# host = "gw.tail-scale.ts.net"
# server_name = "gw.tail-scale.ts.net"
# secure = true
# client = "301"
# backend = ["nothing"]
# hop = "tailscale"
# phase = "request"
# rule = "HS04"
# ==> tailscale
# ==> serve.json
{
  "TCP": {"443": {"HTTPS": true}},
  "Web": {
    "gw.tail-scale.ts.net:443": {
      "Handlers": {
        "/voice/webhook": {"Proxy": "http://@upstream@/voice/webhook"},
        "/voice/stream": {"Redirect": "301:https://${HOST}/voice/v2/stream"}
      }
    }
  },
  "AllowFunnel": {"gw.tail-scale.ts.net:443": true}
}
