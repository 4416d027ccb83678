"""What every gateway of the laboratory is made of: a listener, and a connection that it accepted.

The head that was read is kept, so that a case can say what arrived.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from proxy.handshake import accept_value
from proxy.http1 import Malformed, RequestHead, parse_request_head

PATIENCE_S = 20.0


class Peer:
    """One accepted connection. `heads` are shared by all connections of a laboratory."""

    def __init__(self, sock: socket.socket, heads: list[bytes], certs: Path) -> None:
        self.sock = sock
        self.heads = heads
        self.certs = certs
        self.rest = b""

    def read_head(self) -> RequestHead:
        """Raises EOFError where the caller left before, Malformed for what is no HTTP."""
        while b"\r\n\r\n" not in self.rest:
            if self.rest and not b" " <= self.rest[:1] <= b"~":
                self.heads.append(self.rest)
                raise Malformed("not HTTP")
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.rest += data
        end = self.rest.index(b"\r\n\r\n") + 4
        raw, self.rest = self.rest[:end], self.rest[end:]
        self.heads.append(raw)
        return parse_request_head(raw)

    def answer(self, status: str, body: bytes = b"", *lines: str) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *lines]
        self.sock.sendall("\r\n".join([*head, "\r\n"]).encode() + body)

    def switch(self, *lines: str) -> None:
        head = ["HTTP/1.1 101 Switching Protocols", *lines, "\r\n"]
        self.sock.sendall("\r\n".join(head).encode())

    def echo_frames(self) -> None:
        """Answer every message with itself until the stream ends."""
        protocol = Protocol(SERVER, state=State.OPEN, max_size=None)
        data = self.rest
        message, kind = b"", Opcode.TEXT
        while protocol.state is not State.CLOSED:
            protocol.receive_data(data) if data else None
            for frame in protocol.events_received():
                if isinstance(frame, Frame) and frame.opcode in (
                    Opcode.TEXT,
                    Opcode.BINARY,
                    Opcode.CONT,
                ):
                    kind = kind if frame.opcode is Opcode.CONT else frame.opcode
                    message += frame.data
                    if frame.fin and protocol.state is State.OPEN:
                        send = protocol.send_text if kind is Opcode.TEXT else protocol.send_binary
                        send(message)
                        message = b""
            for out in protocol.data_to_send():
                if out:
                    self.sock.sendall(out)
                else:
                    self.sock.shutdown(socket.SHUT_WR)
            data = self.sock.recv(65536)
            if not data:
                return

    def wait_for_end(self) -> None:
        while self.sock.recv(65536):
            pass


Behaviour = Callable[[Peer], None]


def is_upgrade(head: RequestHead) -> bool:
    """What the libraries check (RFC 6455 section 4.2.1)."""
    return (
        (head.value("Upgrade") or "").lower() == "websocket"
        and "upgrade" in (head.value("Connection") or "").lower()
        and head.value("Sec-WebSocket-Key") is not None
        and head.version == "1.1"
    )


def good_lines(head: RequestHead) -> tuple[str, str, str]:
    accept = accept_value(head.value("Sec-WebSocket-Key") or "")
    return "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"


class Listener:
    """Accepts on a loopback port of its own and serves each connection in a thread.

    `behaviour` may be changed at any time; it holds for the connections that come then.
    """

    def __init__(self, behaviour: Behaviour, heads: list[bytes], certs: Path) -> None:
        self.behaviour = behaviour
        self._heads = heads
        self._certs = certs
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """End every connection that is still open."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.hang_up()
        self._thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock, self.behaviour), daemon=True).start()

    def _run(self, sock: socket.socket, behaviour: Behaviour) -> None:
        sock.settimeout(PATIENCE_S)
        self._open.add(sock)
        with sock, suppress(OSError, EOFError, Malformed):
            behaviour(Peer(sock, self._heads, self._certs))
        self._open.discard(sock)
