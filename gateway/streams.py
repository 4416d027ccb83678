"""Media streams from their upgrade to their close: whose it is, what it is for, how it ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from websockets.http11 import Request

from gateway.calls import Call, Calls, Ending, StreamRefusal
from gateway.conversation import TurnTaken
from gateway.events import Events
from gateway.messages import Connected, Started, parse_message
from gateway.signatures import SignatureChecker
from gateway.speech import ProviderError
from gateway.stream import Stream
from gateway.webhooks import refusal_text
from gateway.websocket import MediaSocket

# Messages before `start`. Twilio sends one, `connected`.
PRELUDE_LIMIT = 5
# More than a closing handshake may take (gateway/websocket.py).
CLOSING_S = 5.0
# What a socket is closed with, by how its call ended (RFC 6455 section 7.4.1).
CLOSES: dict[Ending, tuple[int, str]] = {
    "done": (1000, "done"),
    "no_input": (1000, "nothing was said"),
    "time_limit": (1000, "time limit"),
    "caller_hung_up": (1000, "the caller hung up"),
    "machine": (1000, "a machine answered"),
    "drained": (1001, "the gateway goes down"),
    "provider_failed": (1011, "a speech provider failed"),
    "stream_failed": (1011, "the stream failed"),
    "failed": (1011, "the gateway failed"),
}
REFUSALS = {
    "no_start": "no start message in time",
    "unknown_call": "no such call here",
    "no_token": "no token among the stream's parameters",
    "wrong_token": "the token is another call's",
    "used_token": "the token was used before",
    "expired_token": "the token has expired",
    "call_ended": "the call is over",
}
# A close by Twilio with one of these is the end of the call, even where `stop` was lost.
_ORDERLY = (1000, 1001, 1005)


class Held(Protocol):
    """What a call is held by: gateway/conversation.py and its like."""

    taken: list[TurnTaken]

    async def run(self) -> str: ...
    def end(self, ending: str) -> None: ...


Hold = Callable[[Call, Stream], Awaitable[Held]]


class Told:
    """Tells what happens in one call, under its CallSid."""

    def __init__(self, events: Events, call_sid: str) -> None:
        self._events, self._call_sid = events, call_sid

    def turn_taken(self, turn: TurnTaken) -> None:
        self._events.turn(
            self._call_sid,
            turn.number,
            caller=turn.caller,
            agent=turn.agent,
            was_interrupted=turn.was_interrupted,
            ms=turn.ms,
        )

    def barged_in(self, clear_ms: float) -> None:
        self._events.barge_in(self._call_sid, clear_ms)

    def agent_failed(self, error: ProviderError) -> None:
        self._events.speech_failed("agent", error, call_sid=self._call_sid)


class Streams:
    """All streams of the gateway. `hold` makes what holds a call, once its stream has begun."""

    def __init__(
        self,
        calls: Calls,
        checker: SignatureChecker,
        events: Events,
        hold: Hold,
        *,
        start_s: float,
        is_draining: Callable[[], bool],
    ) -> None:
        self._calls, self._checker, self._events, self._hold = calls, checker, events, hold
        self._start_s, self._is_draining = start_s, is_draining
        self.running: dict[str, Held] = {}
        self._serving: set[asyncio.Task[object]] = set()

    def check_upgrade(self, request: Request) -> tuple[int, str] | None:
        """Refuse what Twilio did not sign, and what there is no place for."""
        verdict = self._checker.check_upgrade(
            request.path, request.headers.raw_items(), now=time.monotonic()
        )
        if not verdict.is_valid:
            self._events.signature_refused("stream", verdict)
            self._events.stream_refused("signature", status=403)
            return 403, refusal_text(verdict)
        if self._is_draining():
            self._events.stream_refused("draining", status=503)
            return 503, "The gateway goes down.\n"
        return None

    async def serve(self, socket: MediaSocket) -> None:
        """Hold one stream to its end and close it with a code that says what happened."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        found = await self._begin(socket)
        if isinstance(found, str):
            code = 1013 if found == "too_many_pending" else 1008
            self._events.stream_refused(found, code=code)
            await socket.close(code, REFUSALS.get(found, "try again later"))
            return
        call, stream = found
        try:
            ending, taken = await self._run(call, stream, socket)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears an apology
            self._events.say("stream_failed", "error", call_sid=call.call_sid, error=repr(error))
            ending, taken = "failed", []
        # Twilio asks what comes next as soon as the socket is closed: the answer must be known.
        if (ended := self._calls.end(call.call_sid, ending, time.monotonic())) is not None:
            self._events.call_ended(ended, len(taken))
        await socket.close(*CLOSES[ending])

    async def _begin(self, socket: MediaSocket) -> tuple[Call, Stream] | str:
        """Wait for `start`; the call it names, or why it is refused."""
        refusal = self._calls.take_pending()
        if refusal is not None:
            return refusal.reason
        try:
            async with asyncio.timeout(self._start_s):
                started = await _started(socket)
        except TimeoutError:
            started = None
        finally:
            self._calls.release_pending()
        if started is None:
            return "no_start"
        token = started.custom_parameters.get("token", "")
        found = self._calls.open_stream(started.call_sid, token, time.monotonic())
        if isinstance(found, StreamRefusal):
            return found.reason
        return found, Stream(socket, started)

    async def end_all(self, ending: Ending) -> None:
        """End what runs, and wait until it is closed."""
        for held in self.running.values():
            held.end(ending)
        await self.ended(CLOSING_S)

    async def ended(self, timeout_s: float) -> None:
        """Wait, at most so long, until no stream is left."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=timeout_s)

    async def _run(
        self, call: Call, stream: Stream, socket: MediaSocket
    ) -> tuple[Ending, list[TurnTaken]]:
        try:
            held = await self._hold(call, stream)
        except ProviderError as error:
            self._events.speech_failed("agent", error, call_sid=call.call_sid)
            return "provider_failed", []
        self.running[call.call_sid] = held
        try:
            ending = await held.run()
        finally:
            del self.running[call.call_sid]
        if ending == "stream_over":
            has_left = stream.has_stopped or socket.close_code in _ORDERLY
            return "caller_hung_up" if has_left else "stream_failed", held.taken
        return cast(Ending, ending), held.taken


async def _started(socket: MediaSocket) -> Started | None:
    for _ in range(PRELUDE_LIMIT):
        text = await socket.receive()
        message = parse_message(text) if isinstance(text, str) else None
        if isinstance(message, Started):
            return message
        if not isinstance(message, Connected):
            return None
    return None
