"""Who asks a node from outside: by Funnel, or as one of the tailnet."""

import json
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from ingress.tunnels.tailscale.tailnet import Tailnet
from peers import PATIENCE_S, RawSocket

NAME = b"gw.tail-scale.ts.net"
HTTP1 = ("http/1.1",)


def trusting(tailnet: Tailnet, alpn: Sequence[str] = HTTP1) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tailnet.ca)
    context.set_alpn_protocols(list(alpn))
    return context


def dial(
    tailnet: Tailnet,
    *,
    server_name: str = "",
    alpn: Sequence[str] = HTTP1,
    by_tailnet: bool = False,
) -> RawSocket:
    """Raises ssl.SSLError, OSError."""
    port = tailnet.door.port if by_tailnet else tailnet.relay.port
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    try:
        context = trusting(tailnet, alpn)
        return RawSocket(context.wrap_socket(sock, server_hostname=server_name or tailnet.host))
    except BaseException:
        sock.close()
        raise


def ask(
    tailnet: Tailnet, target: str, *lines: str, by_tailnet: bool = False, version: str = "1.1"
) -> tuple[bytes, bytes]:
    """Head and body of the answer to a GET."""
    head = [f"GET {target} HTTP/{version}", f"Host: {tailnet.host}", "Connection: close", *lines]
    with dial(tailnet, by_tailnet=by_tailnet) as sock:
        sock.send("\r\n".join([*head, "\r\n"]).encode())
        head_of_answer, _, body = sock.receive_all().partition(b"\r\n\r\n")
        return head_of_answer, body


def arrived(tailnet: Tailnet, target: str, *lines: str, by_tailnet: bool = False) -> dict[str, Any]:
    """What arrived of a GET at one of `echoing_heads`."""
    _, body = ask(tailnet, target, *lines, by_tailnet=by_tailnet)
    seen: dict[str, Any] = json.loads(body)
    return seen
