"""An OpenTelemetry collector that swallows: `python -m bench.collector PORT`.

It takes what is posted over OTLP on HTTP and keeps a count alone; GET / tells it.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_CHUNK = 1 << 16


class Swallowing(BaseHTTPRequestHandler):
    """Answers each export as taken: an empty body is an empty message of protobuf's."""

    protocol_version = "HTTP/1.1"
    taken = 0  # by all connections together; one more or less is no matter

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, _CHUNK))):
            left -= len(data)
        Swallowing.taken += 1
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        self._answer(str(Swallowing.taken).encode(), "text/plain")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(port: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", port), Swallowing)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
