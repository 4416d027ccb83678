"""One connection of cloudflared's over QUIC, its default transport.

cloudflared dials and opens stream 0, on which the RPC is spoken as it is. For each request the edge
opens a stream: a preamble, a ConnectRequest, the body; and gets a preamble, a ConnectResponse, the
body (quic/ and tunnelrpc/ of its source).
"""

import asyncio
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from ingress.tunnels.cloudflare import hybrid
from ingress.tunnels.cloudflare.links import LinkLost, Reply, Request
from ingress.tunnels.cloudflare.registration import SCHEMA, Registrar, Registration, serve

PREAMBLE = bytes.fromhex("0a36cd12a13e") + b"01"  # of a data stream, version 01
_FIELD = "HttpHeader:"
_OWN = "cf-cloudflared-"


def configuration(certificate: Path, key: Path) -> QuicConfiguration:
    hybrid.install()
    made = QuicConfiguration(
        is_client=False, alpn_protocols=["argotunnel"], max_datagram_frame_size=65536
    )
    made.load_cert_chain(certificate, key)
    return made


async def listen(sock: Any, chosen: QuicConfiguration, registrar: Registrar, keep: Any) -> Any:
    """Serve on a UDP socket. `keep` is called with each link that is made; closes are its own."""

    def protocol(*arguments: Any, **named: Any) -> QuicLink:
        link = QuicLink(registrar, *arguments, **named)
        keep(link)
        return link

    loop = asyncio.get_running_loop()
    _, server = await loop.create_datagram_endpoint(
        lambda: QuicServer(configuration=chosen, create_protocol=protocol), sock=sock
    )
    return server


class QuicLink(QuicConnectionProtocol):
    """The edge's end of the connection."""

    def __init__(self, registrar: Registrar, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._exchanges: dict[int, QuicExchange] = {}
        self._registration = Registration(registrar)
        self._control: asyncio.Task[None] | None = None
        self._is_over = False
        self.registered = self._registration.registered
        self.unregistered = self._registration.unregistered
        self.registration = self._registration.told

    async def run(self) -> None:
        try:
            await self.wait_closed()
        finally:
            self._lose_all()
            if self._control is not None:
                self._control.cancel()
                await asyncio.gather(self._control, return_exceptions=True)

    async def open(self, request: Request) -> "QuicExchange":
        if self._is_over:
            raise LinkLost("the link was lost")
        number = self._quic.get_next_available_stream_id(is_unidirectional=False)
        self._exchanges[number] = exchange = QuicExchange(self, number)
        self.put(number, PREAMBLE + _message(request))
        return exchange

    def drop(self) -> None:
        self.close()

    def put(self, number: int, data: bytes, is_end: bool = False) -> None:
        self._quic.send_stream_data(number, data, is_end)
        self.transmit()

    def cancel(self, number: int) -> None:
        self._exchanges.pop(number, None)
        with suppress(AssertionError, ValueError):  # it ended both ways already
            self._quic.stop_stream(number, 0)
            self._quic.reset_stream(number, 0)
        self.transmit()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.ConnectionTerminated):
            self._lose_all()
            return
        number = getattr(event, "stream_id", None)
        if number == 0 and self._control is None:
            self._exchanges[0] = control = QuicExchange(self, 0)
            self._control = asyncio.ensure_future(self._speak(control))
        exchange = self._exchanges.get(number) if number is not None else None
        if exchange is None:
            return
        if isinstance(event, events.StreamDataReceived):
            exchange.got(event.data, is_end=event.end_stream)
        elif isinstance(event, events.StreamReset):
            exchange.lose(f"cloudflared reset the stream: {event.error_code}")

    async def _speak(self, control: "QuicExchange") -> None:
        with suppress(LinkLost):
            await serve(self._registration, control.receive, control.send)

    def _lose_all(self) -> None:
        self._is_over = True
        for exchange in list(self._exchanges.values()):
            exchange.lose("the link was lost")


class QuicExchange:
    """One stream."""

    def __init__(self, link: QuicLink, number: int) -> None:
        self._link, self._number = link, number
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ahead = b""
        self._lost = ""
        self._is_ended = False

    async def reply(self) -> Reply:
        await self._read_to(len(PREAMBLE) + 4)
        if not self._ahead.startswith(PREAMBLE):
            raise LinkLost(f"not the preamble of a stream: {self._ahead[:8]!r}")
        (count,) = struct.unpack_from("<I", self._ahead, len(PREAMBLE))
        # Cap'n Proto, "Serialization over a stream": how many segments less one, then their sizes.
        table = 4 * (count + 2)
        table += -table % 8
        await self._read_to(len(PREAMBLE) + table)
        sizes = struct.unpack_from(f"<{count + 1}I", self._ahead, len(PREAMBLE) + 4)
        end = len(PREAMBLE) + table + 8 * sum(sizes)
        await self._read_to(end)
        message, self._ahead = self._ahead[len(PREAMBLE) : end], self._ahead[end:]
        return _reply(message)

    async def receive(self) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if not self._is_ended:
            got = await self._came.get()
            if got is not None:
                return got
            self._is_ended = True
        if self._lost:
            raise LinkLost(self._lost)
        return b""

    async def send(self, data: bytes) -> None:
        if self._lost:
            raise LinkLost(self._lost)
        self._link.put(self._number, data)

    async def end(self) -> None:
        self._link.put(self._number, b"", is_end=True)

    def cancel(self) -> None:
        self._link.cancel(self._number)

    def got(self, data: bytes, *, is_end: bool) -> None:
        if data:
            self._came.put_nowait(data)
        if is_end:
            self._came.put_nowait(None)

    def lose(self, why: str) -> None:
        self._lost = why
        self._came.put_nowait(None)

    async def _read_to(self, count: int) -> None:
        while len(self._ahead) < count:
            ahead, self._ahead = self._ahead, b""
            data = await self.receive()
            if not data:
                raise LinkLost("the stream ended within its answer")
            self._ahead = ahead + data


def _message(request: Request) -> bytes:
    pairs = [("HttpMethod", request.method), ("HttpHost", request.host)]
    pairs += [(_FIELD + name, value) for name, value in request.fields]
    dest = f"https://{request.host}{request.target}"
    made = SCHEMA.ConnectRequest.new_message(dest=dest, type=request.kind)
    listed = made.init("metadata", len(pairs))
    for index, (key, value) in enumerate(pairs):
        listed[index].key, listed[index].val = key, value
    message: bytes = made.to_bytes()
    return message


def _reply(message: bytes) -> Reply:
    """cloudflared's own failure is an error without a status."""
    with SCHEMA.ConnectResponse.from_bytes(message) as told:
        error = str(told.error)
        pairs = [(str(each.key), str(each.val)) for each in told.metadata]
    if error:
        return Reply(502, (), "cloudflared", error)
    fields = tuple((k.removeprefix(_FIELD), v) for k, v in pairs if k.startswith(_FIELD))
    kept = tuple((name, v) for name, v in fields if not name.lower().startswith(_OWN))
    return Reply(int(dict(pairs)["HttpStatus"]), kept, "origin")
