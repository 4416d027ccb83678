"""WebSocket sessions through a relay, both ends of each held by this process."""

import base64
import hashlib
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import cast

from bench.payload import CLIENT_CLOSE, SERVER_CLOSE, Payload, opening

PATIENCE_S = 5.0
HEAD_LIMIT = 65536
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class RefusedError(Exception):
    """A measurement that would not be worth its name, and why."""


@dataclass(frozen=True, slots=True)
class Session:
    """One upgraded connection: the client's socket, and the server's behind the relay."""

    client: socket.socket
    server: socket.socket

    def close(self) -> None:
        """Close both ends without a closing handshake."""
        self.client.close()
        self.server.close()


class Upstream:
    """The WebSocket server that the relays dial, on an ephemeral loopback port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]

    def accept(self) -> socket.socket:
        """The next connection that asks for an upgrade, answered with 101."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                break
            _prepare(connection)
            with suppress(OSError):
                if key := _field(_read_head(connection), b"sec-websocket-key"):
                    connection.sendall(_switching(key))
                    return connection
            connection.close()  # a health check, or a connection that was given up
        raise RefusedError("the relay did not dial the upstream")

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


def open_session(port: int, upstream: Upstream, number: int, payload: Payload) -> Session:
    """Upgrade one connection through the relay and pass the client's opening messages."""
    client, key = _request(port)
    try:
        server = upstream.accept()
    except RefusedError:
        _check_switched(client, key)  # an answer of the relay's own says more
        raise
    _check_switched(client, key)
    first = opening(number, payload)
    client.sendall(first)
    _read(server, len(first))
    return Session(client, server)


@contextmanager
def sessions(
    port: int, upstream: Upstream, amount: int, payload: Payload = "media"
) -> Iterator[list[Session]]:
    """As many open sessions as asked, closed at the end."""
    opened: list[Session] = []
    try:
        with refusing_errors("while sessions were opened"):
            # What was opened before a failure stays in the list, to be closed.
            opened.extend(open_session(port, upstream, n, payload) for n in range(amount))
        yield opened
    finally:
        for session in opened:
            session.close()


def upgrade_and_close(port: int, upstream: Upstream, amount: int) -> None:
    """Upgrade some connections at the same time, then end each with a closing handshake."""
    with ExitStack() as stack, refusing_errors("while sessions were upgraded and closed"):
        clients = [_request(port) for _ in range(amount)]
        for client, _ in clients:
            stack.enter_context(client)
        servers = [stack.enter_context(upstream.accept()) for _ in clients]
        for client, key in clients:
            _check_switched(client, key)
            client.sendall(CLIENT_CLOSE)
        _finish_closing([client for client, _ in clients], servers)


def _finish_closing(clients: list[socket.socket], servers: list[socket.socket]) -> None:
    """Answer each Close at the server, and close each end that has its Close. In the order of
    arrival: a relay that ends each side on its own waits for the client before it tells the server.
    """
    missing = dict.fromkeys(clients, len(SERVER_CLOSE)) | dict.fromkeys(servers, len(CLIENT_CLOSE))
    deadline = time.monotonic() + PATIENCE_S
    with selectors.DefaultSelector() as selector:
        for server in servers:
            selector.register(server, selectors.EVENT_READ, SERVER_CLOSE)
        for client in clients:
            selector.register(client, selectors.EVENT_READ, b"")
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError("no Close arrived")
            for key, _ in selector.select(PATIENCE_S):
                end = cast("socket.socket", key.fileobj)
                missing[end] -= len(end.recv(missing[end])) or missing[end]
                if not missing[end]:
                    with suppress(OSError):
                        end.sendall(key.data)
                    selector.unregister(end)
                    end.close()


@contextmanager
def refusing_errors(when: str) -> Iterator[None]:
    """Turn a socket's error into a refusal that says when it happened."""
    try:
        yield
    except OSError as error:
        raise RefusedError(f"{error!r} {when}") from error


def _prepare(connection: socket.socket) -> None:
    connection.settimeout(PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _request(port: int) -> tuple[socket.socket, bytes]:
    """Connect and ask for an upgrade; the connection and the key it sent."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    _prepare(client)
    key = base64.b64encode(os.urandom(16))
    client.sendall(
        b"GET /voice/stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % (port, key)
    )
    return client, key


def _switching(key: bytes) -> bytes:
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % _accept_of(key)
    )


def _check_switched(client: socket.socket, key: bytes) -> None:
    head = _read_head(client)
    if not head.startswith(b"HTTP/1.1 101 "):
        status_line = head.partition(b"\r\n")[0]
        said = _field(head, b"proxy-status") or b""
        raise RefusedError(f"the relay answered {(status_line + b' ' + said)!r} to an upgrade")
    if _field(head, b"sec-websocket-accept") != _accept_of(key):
        raise RefusedError("the relay answered 101 with a wrong Sec-WebSocket-Accept")


def _accept_of(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _field(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return None


def _read_head(connection: socket.socket) -> bytes:
    return _read_until(connection, lambda data: b"\r\n\r\n" in data)


def _read(connection: socket.socket, size: int) -> bytes:
    return _read_until(connection, lambda data: len(data) >= size)


def _read_until(connection: socket.socket, is_enough: Callable[[bytes], bool]) -> bytes:
    data = b""
    while not is_enough(data):
        if len(data) > HEAD_LIMIT or not (more := connection.recv(HEAD_LIMIT)):
            raise ConnectionError(f"the connection ended after {data[:80]!r}")
        data += more
    return data
