"""A caller with a stream through the edge."""

import socket
import ssl

from websockets.sync.client import ClientConnection, connect

from ingress.tunnels.cloudflare.tunnel import CloudflareTunnel
from programs import PATIENCE_S


def trusting(tunnel: CloudflareTunnel) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tunnel.ca)


def stream(tunnel: CloudflareTunnel) -> ClientConnection:
    """Raises InvalidStatus where the upgrade is refused."""
    return connect(
        f"wss://{tunnel.host}/voice/stream",
        sock=socket.create_connection(("127.0.0.1", tunnel.port), PATIENCE_S),
        ssl=trusting(tunnel),
        server_hostname=tunnel.host,
        compression=None,
        proxy=None,
    )


def echoes(connection: ClientConnection, text: str) -> bool:
    connection.send(text)
    return connection.recv(PATIENCE_S) == text
