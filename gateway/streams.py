"""Media streams from their upgrade to their close: whose it is, what it is for, how it ended."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, cast

from websockets.http11 import Request

from gateway.calls import Call, Calls, Ending, StreamRefusal
from gateway.conversation import TurnTaken
from gateway.events import CALL_SID, Events
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
# From TwiML to the upgrade. Who has not come by then has hung up.
PROMISE_S = 10.0
# So long after a stream Twilio asks what comes next, if it asks at all.
NEXT_S = 2.0
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
    "one_way": "a one-way stream (<Start>) cannot be answered; use <Connect>",
    "draining": "the gateway goes down",
}
_NO_UPGRADE = (
    "This is where Twilio opens its WebSocket, and the request was no upgrade: either its client "
    "does not speak WebSocket, or a proxy on the way removed the Upgrade header.\n"
)
# Their codes; of all others 1008.
_REFUSAL_CODES = {"too_many_pending": 1013, "draining": 1001}
# A close by Twilio with one of these is the end of the call, even where `stop` was lost.
_ORDERLY = (1000, 1001, 1005)
# After these there is no call any more that could ask what comes next.
_HUNG_UP: frozenset[Ending] = frozenset({"caller_hung_up", "machine"})


class Held(Protocol):
    """What a call is held by: gateway/conversation.py and its like."""

    async def run(self) -> str: ...
    def end(self, ending: str) -> None: ...


Hold = Callable[[Call, Stream], Awaitable[Held]]


class Told:
    """Tells what happens in one call, under its CallSid."""

    def __init__(self, events: Events, call: Call) -> None:
        self._events, self._call, self._call_sid = events, call, call.call_sid

    def turn_taken(self, turn: TurnTaken) -> None:
        self._call.turns.append({"caller": turn.caller, "agent": turn.agent})
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
        self.next_s = NEXT_S
        self.running: dict[str, Held] = {}
        self._serving: set[asyncio.Task[object]] = set()
        self._pending: set[MediaSocket] = set()  # that did not say yet whose they are
        self._ending: Ending | None = None  # of all that still runs
        self._left: dict[str, float] = {}  # calls whose stream we closed, and when

    def check_upgrade(self, request: Request) -> tuple[int, str] | None:
        """Refuse what Twilio did not sign, and what there is no place for."""
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            self._events.stream_refused("no_upgrade", status=426)
            return 426, _NO_UPGRADE
        verdict = self._checker.check_upgrade(
            request.path, request.headers.raw_items(), now=time.monotonic()
        )
        if not verdict.is_valid:
            self._events.signature_refused("stream", verdict)
            self._events.stream_refused("signature", status=403)
            return 403, refusal_text(verdict)
        if self._is_draining() and not self.are_expected:
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
            code = _REFUSAL_CODES.get(found, 1008)
            self._events.stream_refused(found, code=code)
            await socket.close(code, REFUSALS.get(found, "try again later"))
            return
        call, stream = found
        CALL_SID.set(call.call_sid)
        ending = await self._run(call, stream, socket)
        now = time.monotonic()
        # Twilio asks what comes next as soon as the socket is closed: the answer must be known.
        if (ended := self._calls.end(call.call_sid, ending, now)) is not None:
            self._events.call_ended(ended, len(call.turns))
        if ending not in _HUNG_UP:
            self._left = {sid: at for sid, at in self._left.items() if now - at < self.next_s}
            self._left[call.call_sid] = now
        await socket.close(*CLOSES[ending])

    async def _begin(self, socket: MediaSocket) -> tuple[Call, Stream] | str:
        """Wait for `start`; the call it names, or why it is refused."""
        refusal = self._calls.take_pending()
        if refusal is not None:
            return refusal.reason
        self._pending.add(socket)
        try:
            async with asyncio.timeout(self._start_s):
                started = await _started(socket)
        except TimeoutError:
            started = None
        finally:
            self._pending.discard(socket)
            self._calls.release_pending()
        if started is None:
            return "draining" if self._ending else "no_start"
        if "outbound" in started.tracks:
            return "one_way"
        token = started.custom_parameters.get("token", "")
        found = self._calls.open_stream(started.call_sid, token, time.monotonic())
        if isinstance(found, StreamRefusal):
            return found.reason
        return found, Stream(socket, started)

    @property
    def are_running(self) -> bool:
        return bool(self._serving)

    @property
    def are_expected(self) -> bool:
        """Whether one that was promised is still likely to come."""
        return self._calls.has_promised(time.monotonic() - PROMISE_S)

    def follow(self, now: float) -> list[str]:
        """Calls whose stream is over and that may still ask what comes next."""
        recent = [sid for sid, at in self._left.items() if now - at < self.next_s]
        calls = [call for sid in recent if (call := self._calls.get(sid)) is not None]
        return [call.call_sid for call in calls if not call.is_past_stream]

    async def end_all(self, ending: Ending) -> None:
        """End what runs and what begins, and wait until it is closed."""
        self._ending = ending
        for held in self.running.values():
            held.end(ending)
        code = CLOSES[ending]
        closing = [asyncio.create_task(socket.close(*code)) for socket in self._pending]
        if waited_for := {*closing, *self._serving}:
            await asyncio.wait(waited_for, timeout=CLOSING_S)

    async def _run(self, call: Call, stream: Stream, socket: MediaSocket) -> Ending:
        """Whatever goes wrong in here: the caller hears an apology."""
        try:
            held = await self._hold(call, stream)
        except ProviderError as error:
            self._events.speech_failed("agent", error, call_sid=call.call_sid)
            return "provider_failed"
        except Exception as error:  # noqa: BLE001 - see above
            return self._failed(call, error)
        self.running[call.call_sid] = held
        if self._ending is not None:
            held.end(self._ending)
        try:
            ending = await held.run()
        except Exception as error:  # noqa: BLE001 - see above
            return self._failed(call, error)
        finally:
            if self.running.get(call.call_sid) is held:
                del self.running[call.call_sid]
        if ending == "stream_over":
            has_left = stream.has_stopped or socket.close_code in _ORDERLY
            return "caller_hung_up" if has_left else "stream_failed"
        return cast(Ending, ending)

    def _failed(self, call: Call, error: Exception) -> Ending:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        self._events.say(
            "stream_failed", "error", call_sid=call.call_sid, error=repr(error)[:300], where=where
        )
        return "failed"


async def _started(socket: MediaSocket) -> Started | None:
    for _ in range(PRELUDE_LIMIT):
        text = await socket.receive()
        message = parse_message(text) if isinstance(text, str) else None
        if isinstance(message, Started):
            return message
        if not isinstance(message, Connected):
            return None
    return None
