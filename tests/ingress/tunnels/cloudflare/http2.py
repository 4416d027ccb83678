"""One connection of cloudflared's over HTTP/2, with the roles reversed.

cloudflared dials, by TLS, and is the HTTP/2 server: the edge is the client and opens a stream for
each request (connection/http2.go of its source). The first carries the RPC.
"""

import asyncio
import json
from base64 import b64decode
from contextlib import suppress
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from ingress.tunnels.cloudflare.links import Fields, LinkLost, Reply, Request
from ingress.tunnels.cloudflare.registration import Registrar, Registration, serve

UPGRADE = "cf-cloudflared-proxy-connection-upgrade"
FIELDS = "cf-cloudflared-response-headers"
META = "cf-cloudflared-response-meta"
WINDOW = 1 << 24


class Http2Link:
    """The edge's end of the connection. `run` serves it until it ends."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, registrar: Registrar
    ) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection(
            H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        )
        self._streams: dict[int, Http2Exchange] = {}
        self._has_room = asyncio.Condition()
        self._is_over = False
        self._registration = Registration(registrar)
        self.registered = self._registration.registered
        self.unregistered = self._registration.unregistered
        self.registration = self._registration.told

    async def run(self) -> None:
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        self._flush()
        control = asyncio.create_task(self._control())
        try:
            with suppress(OSError, H2Error):
                while data := await self._reader.read(65536):
                    for event in self._h2.receive_data(data):
                        await self._take(event)
                    self._flush()
        finally:
            self._is_over = True
            for exchange in list(self._streams.values()):
                exchange.lose("the link was lost")
            await self._tell_room()
            control.cancel()
            await asyncio.gather(control, return_exceptions=True)
            self._writer.close()

    async def open(self, request: Request) -> "Http2Exchange":
        marked = ((UPGRADE, "websocket"),) if request.kind == "websocket" else ()
        fields = ((name.lower(), value) for name, value in request.fields)
        return self._open(request.method, request.host, request.target, (*fields, *marked))

    async def push(self, version: int, config: dict[str, Any]) -> dict[str, Any]:
        """Other rules for it (orchestration/ of its source). What it says to them."""
        marked = ((UPGRADE, "update-configuration"),)
        exchange = self._open("PUT", "cloudflared", "/", marked)
        await exchange.send(json.dumps({"version": version, "config": config}).encode())
        await exchange.end()
        await exchange.reply()
        said = b""
        while data := await exchange.receive():
            said += data
        told: dict[str, Any] = json.loads(said)
        return told

    def drop(self) -> None:
        self._writer.transport.abort()

    async def _control(self) -> None:
        exchange = self._open("GET", "control", "/", ((UPGRADE, "control-stream"),))
        with suppress(LinkLost):
            await serve(self._registration, exchange.receive, exchange.send)

    def _open(self, method: str, host: str, target: str, fields: Fields) -> "Http2Exchange":
        if self._is_over:
            raise LinkLost("the link was lost")
        number = self._h2.get_next_available_stream_id()
        head = ((":method", method), (":scheme", "https"), (":authority", host), (":path", target))
        self._h2.send_headers(number, [*head, *fields])
        self._flush()
        self._streams[number] = exchange = Http2Exchange(self, number)
        return exchange

    async def _take(self, event: events.Event) -> None:
        if isinstance(event, events.WindowUpdated | events.RemoteSettingsChanged):
            await self._tell_room()
        exchange = self._streams.get(getattr(event, "stream_id", None) or 0)
        if exchange is None:
            return
        if isinstance(event, events.ResponseReceived):
            exchange.answered(_reply(dict(event.headers)))
        elif isinstance(event, events.DataReceived):
            exchange.got(event.data, event.flow_controlled_length or 0)
        elif isinstance(event, events.StreamEnded):
            exchange.got(b"", 0)
        elif isinstance(event, events.StreamReset):
            exchange.lose(f"cloudflared reset the stream: {event.error_code}")

    async def _tell_room(self) -> None:
        async with self._has_room:
            self._has_room.notify_all()

    # What an exchange asks of its link.

    async def send(self, number: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            async with self._has_room:
                while not self._is_over and (room := self._room(number)) <= 0:
                    await self._has_room.wait()
            try:
                count = min(room, len(view))
                self._h2.send_data(number, bytes(view[:count]))
                self._flush()
                await self._writer.drain()
            except (H2Error, OSError) as error:
                raise LinkLost(str(error)) from None
            view = view[count:]

    def _room(self, number: int) -> int:
        try:
            return min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
        except H2Error as error:
            raise LinkLost(str(error)) from None

    def end(self, number: int) -> None:
        with suppress(H2Error):
            self._h2.end_stream(number)
            self._flush()

    def cancel(self, number: int) -> None:
        self._streams.pop(number, None)
        with suppress(H2Error):
            self._h2.reset_stream(number, ErrorCodes.CANCEL)
            self._flush()

    def took(self, number: int, count: int) -> None:
        """So much was read of a stream: there is room for more."""
        with suppress(H2Error):
            self._h2.acknowledge_received_data(count, number)
            self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._is_over:
            self._writer.write(data)


class Http2Exchange:
    """One stream. What comes is acknowledged when it is read, so that a slow client slows it."""

    def __init__(self, link: Http2Link, number: int) -> None:
        self._link, self._number = link, number
        self._reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._came: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        self._lost = ""
        self._is_ended = False

    async def reply(self) -> Reply:
        await asyncio.wait([self._reply])
        return self._reply.result()

    async def receive(self) -> bytes:
        while not self._is_ended:
            data, count = await self._came.get()
            if count:
                self._link.took(self._number, count)
            if data:
                return data
            self._is_ended = not count
        if self._lost:
            raise LinkLost(self._lost)
        return b""

    async def send(self, data: bytes) -> None:
        await self._link.send(self._number, data)

    async def end(self) -> None:
        self._link.end(self._number)

    def cancel(self) -> None:
        self._link.cancel(self._number)

    def answered(self, reply: Reply) -> None:
        self._reply.set_result(reply)

    def got(self, data: bytes, count: int) -> None:
        self._came.put_nowait((data, count))

    def lose(self, why: str) -> None:
        self._lost = why
        if not self._reply.done():
            self._reply.set_exception(LinkLost(why))
            self._reply.exception()  # taken: nobody may be waiting
        self._came.put_nowait((b"", 0))


def _reply(head: dict[Any, Any]) -> Reply:
    """The origin's fields are in one field, each name and value in base64 without padding."""
    pairs = (pair.split(":") for pair in (head.get(FIELDS) or "").split(";") if pair)
    fields = tuple((_decoded(name), _decoded(value)) for name, value in pairs)
    is_own = json.loads(head.get(META) or "{}").get("src") == "cloudflared"
    return Reply(int(head[":status"]), fields, "cloudflared" if is_own else "origin")


def _decoded(text: str) -> str:
    return b64decode(text + "=" * (-len(text) % 4)).decode("latin-1")
