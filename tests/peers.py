"""Raw peers for the wire tests: blocking sockets that show every byte, and a sidecar between them.

RawClient ---- sidecar (in a thread, on its own loop) ---- RawUpstream
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol, Self

import structlog
import uvloop

from proxy.admin import Admin
from proxy.handshake import accept_value
from proxy.history import Book, History
from proxy.server import Sidecar
from proxy.settings import HostPort, Settings
from proxy.watch import EpollLoop

PATIENCE_S = 10.0
FLOOD_LIMIT = 64 << 20
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    b"GET /voice/stream HTTP/1.1\r\n"
    b"Host: voice.example.com\r\n"
    b"User-Agent: Twilio.TmeWs/1.0\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_value(KEY).encode() + b"\r\n\r\n"
)


class RawSocket:
    """A blocking socket that waits at most PATIENCE_S for anything."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE_S)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ahead = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def flood(self, data: bytes, seconds: float) -> int:
        """Send the data again and again until the peer takes no more for so long; bytes sent.

        Raises what the socket raises when the peer is gone.
        """
        self.sock.settimeout(seconds)
        sent = 0
        try:
            while sent < FLOOD_LIMIT:
                sent += self.sock.send(data)
        except TimeoutError:
            pass
        finally:
            self.sock.settimeout(PATIENCE_S)
        return sent

    def receive(self, count: int) -> bytes:
        """Exactly `count` bytes, or what came before the end of the stream."""
        while len(self._ahead) < count and (data := self.sock.recv(65536)):
            self._ahead += data
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        return data

    def receive_head(self) -> bytes:
        """Up to and with the next empty line; what follows stays for `receive`."""
        while b"\r\n\r\n" not in self._ahead:
            data = self.sock.recv(65536)
            assert data, f"the stream ended within a head: {self._ahead!r}"
            self._ahead += data
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def receive_all(self) -> bytes:
        """Everything until the end of the stream."""
        while data := self.sock.recv(65536):
            self._ahead += data
        data, self._ahead = self._ahead, b""
        return data

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawUpstream:
    """A listening socket that the test itself accepts from."""

    def __init__(self, unix_path: str | None = None) -> None:
        if unix_path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(unix_path)
            self._listener.listen()
            self.url = f"unix:{unix_path}"
        self._listener.settimeout(PATIENCE_S)
        self._accepted: list[RawSocket] = []

    def accept(self) -> RawSocket:
        sock, _ = self._listener.accept()
        self._accepted.append(RawSocket(sock))
        return self._accepted[-1]

    @property
    def is_untouched(self) -> bool:
        """Whether nobody is waiting to be accepted."""
        self._listener.settimeout(0)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return True
        finally:
            self._listener.settimeout(PATIENCE_S)
        return False

    def close(self) -> None:
        self._listener.close()
        for sock in self._accepted:
            sock.close()


# The loops that `best_loop` may choose: Linux's own, and the two that serve elsewhere.
FLAVOURS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "epoll": EpollLoop,
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.SelectorEventLoop,
}


class StartSidecar(Protocol):
    def __call__(self, **settings: Any) -> "RunningSidecar": ...


class RunningSidecar:
    """A sidecar in a thread. `events` are its log lines as dicts, in order."""

    def __init__(self, flavour: str, **settings: Any) -> None:
        settings = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"} | settings
        self.settings = Settings(**settings)
        self.events: list[dict[str, Any]] = []
        self.sidecar: Sidecar
        self.port = self.admin_port = 0
        self._clients: list[RawSocket] = []
        self._changed = threading.Condition()
        self._loop_factory = FLAVOURS[flavour]
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._error: BaseException | None = None
        structlog.configure(processors=[self._capture])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._wait(lambda: self.port or self._error, "the start of the sidecar")
        if self._error is not None:
            raise self._error

    def connect(self) -> RawSocket:
        """A new client; closed with the sidecar at the latest."""
        self._clients.append(
            RawSocket(socket.create_connection(("127.0.0.1", self.port), PATIENCE_S))
        )
        return self._clients[-1]

    def upgrade(
        self, upstream: RawUpstream, request: bytes = UPGRADE
    ) -> tuple[RawSocket, RawSocket]:
        """An upgraded pair: the client's socket and the server's."""
        client = self.connect()
        client.send(request)
        server = upstream.accept()
        server.receive_head()
        server.send(SWITCH)
        client.receive_head()
        self.call(lambda: None)  # the 101 is out before the relay has begun; now it has
        return client, server

    def event(self, name: str, **wanted: Any) -> dict[str, Any]:
        """The first event of a name with these fields, waited for."""

        def find() -> dict[str, Any] | None:
            return next(
                (
                    event
                    for event in self.events
                    if event["event"] == name and wanted.items() <= event.items()
                ),
                None,
            )

        self._wait(find, f"an event {name} {wanted}")
        found = find()
        assert found is not None
        return found

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the sidecar's loop and give back its result."""

        async def on_loop() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(PATIENCE_S)

    def begin(self, function: Callable[[], Any]) -> None:
        """Start a coroutine on the sidecar's loop and do not wait for it."""
        asyncio.run_coroutine_threadsafe(function(), self._loop)

    def wait_until(self, is_so: Callable[[], Any], what: str) -> None:
        """Wait, bounded, for a condition that no event announces."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.005)

    def close(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        structlog.reset_defaults()
        for client in self._clients:
            client.close()
        if self._error is not None:
            raise self._error

    def _wait(self, is_so: Callable[[], Any], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, PATIENCE_S), (
                f"waited in vain for {what}; saw {self.events}"
            )

    def _capture(
        self, _logger: object, _name: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        with self._changed:
            self.events.append(dict(event))
            self._changed.notify_all()
        raise structlog.DropEvent

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - shown in the test's thread
            self._error = error
        with self._changed:
            self._changed.notify_all()

    async def _main(self) -> None:
        history = History(Book(None, rows=1000, days=1))
        self.sidecar = Sidecar(self.settings, history)
        self._loop = asyncio.get_running_loop()
        failures: list[dict[str, Any]] = []
        self._loop.set_exception_handler(lambda _loop, context: failures.append(context))
        self._stop = asyncio.Event()
        admin = self.admin = Admin(self.sidecar, None)
        admin_address = await admin.start(HostPort("127.0.0.1", 0))
        address = await self.sidecar.start()
        with self._changed:
            self.admin_port, self.port = admin_address.port, address.port
            self._changed.notify_all()
        await self._stop.wait()
        await self.sidecar.close()
        await admin.close()
        history.close()
        assert not failures, failures
