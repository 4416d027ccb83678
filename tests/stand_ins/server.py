"""What the stand-ins share: a server, ways to fail, a record of what happened, complaints."""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from gateway import g711

PATIENCE_S = 10.0
LOUD = 1000  # what the stand-ins take for speech: a peak in linear samples

Fault = Literal[
    "unauthorized",  # the key is not one
    "no_credit",  # 402
    "out_of_quota",  # as the vendor says it, where that is not 402
    "rate_limited",
    "refused",  # another 4xx
    "broken",  # 500
    "redirect",  # 307, to itself
    "hang_up",  # the connection ends before an answer
    "silence",  # no answer at all
    "malformed",  # an answer that is none
    "empty",  # 200, and nothing in it
    "cut",  # the connection ends in the middle of the answer
    "stall",  # nothing more comes in the middle of the answer
    "error_event",  # on a WebSocket or in a stream of events: it says that it failed
    "close",  # on a WebSocket: it closes with 1011
]
Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


class StandIn:
    """One vendor's server. `api_key` is the only key that it takes."""

    api_key = "sk-stand-in-0123456789abcdef"

    def __init__(self) -> None:
        self.url = ""
        self.complaints: list[str] = []
        self.events: list[str] = []  # what happened, in order; see seen()
        self.requests: list[tuple[str, str]] = []  # (method, path) of each
        self.fault: Fault | None = None
        self._times = 0
        self.transcripts: deque[str] = deque()  # said of speech, in turn; then `transcript`
        self.transcript = "what time is it"
        self.heard: list[bytes] = []  # the audio of each commit
        self._hold_after: int | None = None
        self._transports: set[asyncio.Transport] = set()
        self._gate = asyncio.Event()
        self._changed = threading.Condition()
        self._waiters: list[tuple[str, int, asyncio.Future[None]]] = []
        self._runner: web.AppRunner
        self._loop: asyncio.AbstractEventLoop

    # How it behaves.

    def fail_with(self, fault: Fault, times: int = 1 << 30) -> None:
        """Fail so many requests; a fault in the middle of an answer fails all until work()."""
        self.fault, self._times = fault, times

    def work(self) -> None:
        self.fault = None

    def hold(self, after: int) -> None:
        """Send so many pieces of the next answers, then wait for let_go()."""
        self._hold_after = after
        self._gate.clear()

    def let_go(self) -> None:
        self._hold_after = None
        self._loop.call_soon_threadsafe(self._gate.set)

    async def drop_connections(self) -> None:
        """End all connections without a word. On the stand-in's own loop."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    # What happened.

    def complain(self, about: str) -> None:
        self.complaints.append(about)

    def record(self, event: str) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        for name, count, waiter in self._waiters:
            if self.events.count(name) >= count and not waiter.done():
                waiter.set_result(None)

    async def seen(self, event: str, count: int = 1) -> None:
        """Wait until it happened, so many times in all. On the stand-in's own loop."""
        if self.events.count(event) < count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((event, count, waiter))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await waiter
            except TimeoutError:
                raise AssertionError(f"waited for {event!r}; saw {self.events}") from None

    def wait_seen(self, event: str, count: int = 1) -> None:
        """The same from another thread."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.events.count(event) >= count, PATIENCE_S), (
                f"waited for {event!r}; saw {self.events}"
            )

    # Starting and stopping.

    def routes(self) -> Iterable[web.RouteDef]:
        raise NotImplementedError

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        app = web.Application()
        app.add_routes(list(self.routes()))
        app.router.add_route("*", "/{path:.*}", self._nowhere)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        self._gate.set()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, error: object, *_: object) -> None:
        await self.stop()
        if error is None:
            assert not self.complaints, self.complaints

    def __enter__(self) -> Self:
        started = threading.Event()

        async def live() -> None:
            self._stopping = asyncio.Event()
            await self.start()
            started.set()
            await self._stopping.wait()
            await self.stop()

        self._thread = threading.Thread(target=lambda: asyncio.run(live()))
        self._thread.start()
        assert started.wait(PATIENCE_S)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if error is None:
            assert not self.complaints, self.complaints

    async def _nowhere(self, request: web.Request) -> web.StreamResponse:
        self.complain(f"{request.method} {request.path} is no endpoint")
        return web.json_response({"detail": "Not Found"}, status=404)

    # For the vendors' endpoints.

    def refusal(self, fault: Fault) -> tuple[int, dict[str, Any]]:
        """Status and body with which the vendor tells a failure."""
        raise NotImplementedError

    async def fail_early(self, request: web.Request) -> web.StreamResponse | None:
        """The answer of a vendor that fails before it begins to answer."""
        assert request.transport is not None
        self._transports.add(request.transport)
        self.requests.append((request.method, request.path))
        self.record("request")
        if "Sec-WebSocket-Extensions" in request.headers:
            self.complain("compression is offered, though audio does not shrink")
        if self._times == 0:
            self.work()
        self._times -= 1
        match self.fault:
            case "hang_up":
                request.transport.close()
                return web.Response()
            case "silence":
                await self.never()
            case "redirect":
                return web.Response(status=307, headers={"Location": f"{self.url}/elsewhere"})
            case "unauthorized" | "no_credit" | "out_of_quota" | "rate_limited":
                return self.refuse(self.fault)
            case "refused" | "broken":
                return self.refuse(self.fault)
        return None

    def refuse(self, fault: Fault) -> web.Response:
        status, body = self.refusal(fault)
        return web.json_response(body, status=status)

    async def never(self) -> None:
        """Wait until the client gives up."""
        try:
            await asyncio.Event().wait()
        finally:
            self.record("client left")

    async def pause(self, sent: int) -> None:
        """Where a held answer waits."""
        if self._hold_after is not None and sent >= self._hold_after:
            self.record("held")
            try:
                await self._gate.wait()
            except asyncio.CancelledError:
                self.record("client left")
                raise

    async def send_pieces(
        self, request: web.Request, media: str, pieces: list[bytes], end: bytes = b""
    ) -> web.StreamResponse:
        """Answer 200 piece by piece, or as far as the fault lets it come."""
        response = web.StreamResponse(headers={"Content-Type": media})
        response.enable_chunked_encoding()
        await response.prepare(request)
        assert request.transport is not None
        if self.fault == "empty":
            return response
        if self.fault == "malformed":
            await response.write(b"<html>not what you asked for</html>")
            return response
        try:
            for sent, piece in enumerate(pieces):
                await self.pause(sent)
                if self.fault in ("cut", "stall") and sent == len(pieces) // 2:
                    if self.fault == "stall":
                        await self.never()
                    request.transport.close()
                    return response
                await response.write(piece)
                self.record("piece")
        except ConnectionResetError:
            self.record("client left")
            return response
        await response.write(end)
        self.record("answered")
        return response

    def understand(self, audio: bytes) -> str:
        """What the recogniser makes of audio: the next transcript, if anybody spoke."""
        self.heard.append(audio)
        if not is_speech(audio):
            return ""
        return self.transcripts.popleft() if self.transcripts else self.transcript

    def check_json(
        self, content: Any, where: str, required: Mapping[str, type], optional: Mapping[str, type]
    ) -> bool:
        """Whether an object has these fields and no others; a complaint for each that is wrong."""
        if not isinstance(content, dict):
            self.complain(f"{where}: no object: {content!r}")
            return False
        unknown = content.keys() - {*required, *optional}
        wrong = [f"{where}: unknown field {name}" for name in unknown]
        wrong += [f"{where}: {name} is missing" for name in required.keys() - content.keys()]
        wrong += [
            f"{where}: {name} is {content[name]!r}"
            for name, kind in {**optional, **required}.items()
            if name in content and not isinstance(content[name], kind)
        ]
        self.complaints += wrong
        return not wrong


async def read_json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        return None


def is_speech(audio: bytes) -> bool:
    """Whether at least 100 ms of mu-law audio are loud."""
    frames = range(0, len(audio), g711.FRAME_BYTES)
    return sum(g711.peak(audio[at : at + g711.FRAME_BYTES]) > LOUD for at in frames) >= 5


def tone(text: str, rate: int) -> NDArray[np.int16]:
    """The stand-ins' voice: a tone, 50 ms a character, that differs with the text."""
    pitch = 300 + 10 * (sum(text.encode()) % 40)
    times = np.arange(len(text) * rate // 20) / rate
    return (8000 * np.sin(2 * np.pi * pitch * times)).astype(np.int16)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
