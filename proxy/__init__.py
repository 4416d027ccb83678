"""The sidecar: it passes every byte on, and writes down every Upgrade handshake and every frame.

Words used throughout, with one meaning each:

client      who dialled the sidecar: the ingress, or Twilio itself
server      who the sidecar dialled; "upstream" is the address it dials
sender      "client" or "server": the end that a frame, a Close or an EOF came from
head        a request or response up to and with its empty line, as received
exchange    one request and its response on a client connection
handshake   an exchange that asks for a WebSocket, or meant to and lost its Upgrade on the way
session     what follows a 101: two byte streams, until both have ended
outcome     what became of an exchange; error is RFC 9209's name for why, reason says it in words
stamp       the Proxy-Status field (RFC 9209) that marks every response which left the sidecar
promise     a stream that TwiML advertised, until an upgrade keeps it or its time is over

Bytes come in, facts come out: `http1`, `body`, `preface`, `handshake`, `ingress`, `redact`,
`frames`, `session`, `media`, `twiml`, `stream_url`, `promises`, `routes` and `clients` import no
asyncio, clock, socket or logging. `wire`, `exchange`, `relay` and `server` are the thin shell
around them; `telemetry` turns what they saw into log lines, metrics and history, `admin` shows it,
and `otel` sends it to a collector (`otlp`, of what the pure `spans` and `trace_context` made).
"""
