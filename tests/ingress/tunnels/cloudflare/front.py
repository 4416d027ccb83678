"""The public side of the edge: one caller, one request, one answer or one stream (HTTP/1.1).

A body needs its Content-Length; after its answer a connection is closed.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from ingress.tunnels.cloudflare.answers import is_switch, new_ray, onward, own, relayed, replaced
from ingress.tunnels.cloudflare.links import Exchange, Kind, Link, LinkLost, Reply, Request
from proxy.http1 import Malformed, RequestHead, parse_request_head

HEAD_LIMIT = 1 << 16
LINGER_S = 1.0
# Close 1001 and the words that callers have reported (cloudflared issue 1282).
GOODBYE = b"\x88\x27\x03\xe9CloudFlare WebSocket proxy restarting"


@dataclass(frozen=True, slots=True)
class Switches:
    """What the edge does besides its duty.

    `refuses` is its reason not to register a tunnel. The real one waits 100 s for an answer, and
    ends a stream after about as long a silence.
    """

    refuses: str = ""
    is_remote: bool = False  # the tunnel's rules are kept at Cloudflare, and pushed
    types_upgrades_as_http: bool = False  # cloudflared#1652
    answer_s: float = 100.0
    idle_s: float | None = None
    says_goodbye: bool = False  # a Close to the streams that a restart ends


async def serve_caller(
    link: Link | None,
    switches: Switches,
    replies: list[Reply],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Carry what a caller asks to cloudflared and back, or answer it; replies are kept."""
    try:
        head = parse_request_head(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(head.value("Content-Length") or 0))
    except (Malformed, ValueError, asyncio.LimitOverrunError):
        writer.write(own(400, new_ray()))
        return
    except asyncio.IncompleteReadError:
        return
    caller = _Caller(head, reader, writer)
    if link is None:
        caller.tell(1033)
        return
    asks = (head.value("Upgrade") or "").lower() == "websocket"
    kind: Kind = "websocket" if asks and not switches.types_upgrades_as_http else "http"
    request = Request(
        head.method,
        head.value("Host") or "",
        head.target,
        onward(head.fields, caller.ray, kind),
        kind,
    )
    try:
        exchange = await link.open(request)
    except LinkLost:
        caller.tell(502)
        return
    try:
        if kind == "http":
            await exchange.send(body)
            await exchange.end()
        async with asyncio.timeout(switches.answer_s):
            reply = await exchange.reply()
    except LinkLost:
        caller.tell(502)
    except TimeoutError:
        exchange.cancel()
        caller.tell(524)
    else:
        replies.append(reply)
        await caller.answer(reply, exchange, kind, switches)


class _Caller:
    """Who asked, and the connection to them."""

    def __init__(
        self, head: RequestHead, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head, self.ray = head, new_ray()
        self._reader, self._writer = reader, writer

    def tell(self, code: int) -> None:
        """An error of the edge's own."""
        self._writer.write(own(code, self.ray, self.head.value("Accept") or ""))

    async def answer(
        self, reply: Reply, exchange: Exchange, kind: Kind, switches: Switches
    ) -> None:
        if (code := replaced(reply)) is not None:
            self.tell(code)
            exchange.cancel()
        elif kind == "http" or not is_switch(reply):
            self._writer.write(relayed(reply, reply.status, self.ray))
            with suppress(LinkLost):
                await self._outward(exchange, asyncio.Event())
            exchange.cancel()
        elif self._cannot_take(reply):
            # It never finishes the handshake (cloudflared issue 1465).
            await self._reader.read()
            exchange.cancel()
        else:
            self._writer.write(relayed(reply, 101, self.ray))
            await self._carry(exchange, switches)

    def _cannot_take(self, switched: Reply) -> bool:
        takes = "gzip" in (self.head.value("Accept-Encoding") or "")
        return bool(switched.value("Content-Encoding")) and not takes

    async def _carry(self, exchange: Exchange, switches: Switches) -> None:
        """Until one side ends: there is no half-closed stream through a tunnel."""
        stirred = asyncio.Event()
        inward = asyncio.create_task(self._inward(exchange, stirred))
        outward = asyncio.create_task(self._outward(exchange, stirred))
        silence = asyncio.create_task(_silence(stirred, switches.idle_s))
        tasks = [inward, outward, silence]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if inward.done() and not inward.exception():
            # cloudflared ends the other half itself, with what was still on its way.
            await asyncio.wait([outward], timeout=LINGER_S)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        if switches.says_goodbye and any(isinstance(end, LinkLost) for end in ends):
            self._writer.write(GOODBYE)
        exchange.cancel()

    async def _inward(self, exchange: Exchange, stirred: asyncio.Event) -> None:
        while data := await self._reader.read(65536):
            stirred.set()
            await exchange.send(data)
        await exchange.end()

    async def _outward(self, exchange: Exchange, stirred: asyncio.Event) -> None:
        while data := await exchange.receive():
            stirred.set()
            self._writer.write(data)
            await self._writer.drain()


async def _silence(stirred: asyncio.Event, idle_s: float | None) -> None:
    """Until nothing stirred for so long."""
    with suppress(TimeoutError):
        while True:
            stirred.clear()
            async with asyncio.timeout(idle_s):
                await stirred.wait()
