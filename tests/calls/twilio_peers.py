"""Gateways for the simulated caller to call: webhook and stream on one port, or raw sockets.

All run in the test's own event loop, on loopback.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web

from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.dialogue import Manners
from doctor.caller.outcome import CallReport
from doctor.dial import Patience
from gateway.g711 import SILENCE, encode
from proxy.handshake import accept_value

TOKEN = "made-up-token"
# Twilio's times would make every test of a failure take ten seconds.
QUICK = Patience(connect_s=0.3, tries=2, total_s=0.6, close_s=0.3)
BRISK = Manners(greeting_s=0.3, answer_s=0.6, patience_s=0.16, linger_s=0.04)


def tone(seconds: float, level: int = 8000) -> bytes:
    """Mu-law of a tone that is loud in every millisecond."""
    times = np.arange(round(8000 * seconds)) / 8000
    return encode((level * np.sign(np.sin(2 * np.pi * 1000 * times + 0.1))).astype(np.int16))


SENTENCE = tone(0.2)


def connect_twiml(url: str, inner: str = "", behind: str = "") -> str:
    return f'<Response><Connect><Stream url="{url}">{inner}</Stream></Connect>{behind}</Response>'


@dataclass
class Arrived:
    """One HTTP request as the gateway saw it."""

    method: str
    path: str
    fields: list[tuple[str, str]]
    form: dict[str, str]

    def value(self, name: str) -> str | None:
        return dict(self.fields).get(name)


Hook = Callable[["Gateway", Arrived], web.StreamResponse]
Serve = Callable[["Stream"], Awaitable[None]]


class Stream:
    """The gateway's end of one stream. `received` are Twilio's messages; media are counted."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.received: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.media = 0
        self.sid = ""

    async def next(self) -> dict[str, Any] | None:
        """The next message; None when the stream is closed."""
        message = await self.socket.receive()
        if message.type is not WSMsgType.TEXT:
            return None
        told: dict[str, Any] = json.loads(message.data)
        self.received.append(told)
        self.times.append(asyncio.get_running_loop().time())
        self.media += told["event"] == "media"
        if told["event"] == "start":
            self.sid = told["streamSid"]
        return told

    async def until(self, event: str) -> dict[str, Any] | None:
        while (told := await self.next()) is not None:
            if told["event"] == event:
                return told
        return None

    async def drain(self) -> None:
        while await self.next() is not None:
            pass

    async def send(self, event: str, **content: Any) -> None:
        message = {"event": event, "streamSid": self.sid} | content
        await self.socket.send_str(json.dumps(message))

    async def play(self, audio: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(audio).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", mark={"name": name})


@dataclass
class Gateway:
    """What arrived, in order; streams as they ended."""

    port: int = 0
    requests: list[Arrived] = field(default_factory=list)
    upgrades: list[Arrived] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/voice/webhook"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/voice/stream"

    def forms(self, path: str) -> list[dict[str, str]]:
        return [request.form for request in self.requests if request.path == path]


def xml(body: str) -> web.Response:
    return web.Response(text=body, content_type="text/xml")


def conversation(gateway: Gateway, _request: Arrived) -> web.Response:
    return xml(connect_twiml(gateway.stream_url, behind="<Hangup/>"))


async def silent(stream: Stream) -> None:
    await stream.drain()


@asynccontextmanager
async def running(hook: Hook = conversation, serve: Serve = silent) -> AsyncIterator[Gateway]:
    """A gateway that answers POST and GET of any path by `hook`, and serves /voice/stream."""
    gateway = Gateway()

    async def arrived(request: web.Request) -> Arrived:
        fields = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        form = {name: str(value) for name, value in (await request.post()).items()}
        return Arrived(request.method, request.path_qs, fields, form)

    async def handle(request: web.Request) -> web.StreamResponse:
        told = await arrived(request)
        gateway.requests.append(told)
        return hook(gateway, told)

    async def stream(request: web.Request) -> web.StreamResponse:
        gateway.upgrades.append(await arrived(request))
        socket = web.WebSocketResponse(compress=False, max_msg_size=0, timeout=1.0)
        await socket.prepare(request)
        gateway.streams.append(Stream(socket))
        with suppress(ConnectionError):
            await serve(gateway.streams[-1])
        return socket

    app = web.Application()
    app.router.add_get("/voice/stream", stream)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.port = runner.addresses[0][1]
    try:
        yield gateway
    finally:
        await runner.cleanup()


class Talker:
    """An agent that greets, and answers after each pause of the caller; it can be interrupted.

    Speech is sent 20 ms at a time as it is due, a mark behind it.
    """

    def __init__(
        self, greeting_s: float = 0.2, answer_s: float = 0.2, pause_s: float = 0.1
    ) -> None:
        self.greeting_s, self.answer_s, self.pause_s = greeting_s, answer_s, pause_s
        self.hears_barge_in = False
        self.hole_s = 0.0  # a pause in the middle of each answer
        self.hang_up_after = 0  # answers; 0: the caller does
        self.answers = 0

    async def __call__(self, stream: Stream) -> None:
        await stream.until("start")
        speaking = asyncio.create_task(self._say(stream, self.greeting_s, "greeting"))
        quiet, has_heard = 0, False
        try:
            while (told := await stream.next()) is not None:
                if told["event"] != "media":
                    continue
                if set(base64.b64decode(told["media"]["payload"])) != set(SILENCE):
                    has_heard, quiet = True, 0
                    if self.hears_barge_in and not speaking.done():
                        speaking.cancel()
                        await stream.send("clear")
                    continue
                quiet += 1
                if has_heard and quiet * 0.02 >= self.pause_s:
                    has_heard = False
                    self.answers += 1
                    name = f"answer {self.answers}"
                    speaking = asyncio.create_task(self._say(stream, self.answer_s, name))
                    if self.answers == self.hang_up_after:
                        await speaking
                        while told is not None and told.get("mark") != {"name": name}:
                            told = await stream.next()
                        return
        finally:
            speaking.cancel()

    async def _say(self, stream: Stream, seconds: float, name: str) -> None:
        loop = asyncio.get_running_loop()
        audio, began = tone(seconds), loop.time()
        with suppress(ConnectionError):
            for number, start in enumerate(range(0, len(audio), 160)):
                hole_s = self.hole_s if number * 320 >= len(audio) else 0.0
                await asyncio.sleep(began + hole_s + number * 0.02 - loop.time())
                await stream.play(audio[start : start + 160])
            await stream.mark(name)


RawServe = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(serve: RawServe, **options: Any) -> AsyncIterator[int]:
    """A TCP (or TLS) server that does what the test says; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Answer a WebSocket handshake; the head that asked for it."""
    head = await read_head(reader)
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    accept = accept_value(fields["Sec-WebSocket-Key"])
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n\r\n"
    )
    return head


def options(gateway: Gateway, **changes: Any) -> CallOptions:
    """A brisk call to a gateway; nothing of it takes Twilio's times."""
    chosen: dict[str, Any] = {
        "webhook_url": gateway.url,
        "auth_token": TOKEN,
        "manners": BRISK,
        "patience": QUICK,
        "limit_s": 10.0,
        "say_letters_s": 1000.0,
    }
    return CallOptions(**chosen | changes)


async def place(chosen: CallOptions) -> CallReport:
    return await SimulatedCall(chosen).run()


def call(hook: Hook = conversation, serve: Serve = silent, **changes: Any) -> CallReport:
    """Place one call to a gateway of its own."""

    async def run() -> CallReport:
        async with running(hook, serve) as gateway:
            return await place(options(gateway, **changes))

    return asyncio.run(run())


def answering(body: str, **fields: Any) -> Hook:
    """A webhook that answers the first request so, and ends the call at any other."""

    def hook(gateway: Gateway, _request: Arrived) -> web.StreamResponse:
        if len(gateway.requests) > 1:
            return xml("<Response/>")
        text = body.replace("STREAM", gateway.stream_url)
        return web.Response(text=text, **({"content_type": "text/xml"} | fields))

    return hook


def raw_stream_call(serve: RawServe, scheme: str = "ws", **changes: Any) -> CallReport:
    """A call whose stream leads to a raw server."""

    async def run() -> CallReport:
        async with raw_server(serve) as port:
            url = f"{scheme}://127.0.0.1:{port}/voice/stream"
            async with running(answering(connect_twiml(url))) as gateway:
                return await place(options(gateway, **changes))

    return asyncio.run(run())
