"""The gateway put together: one port, its calls, and the speech that serves them."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from gateway import casting
from gateway.addresses import HostPort
from gateway.calls import Call, Calls, DialError
from gateway.conversation import Conversation, Manners, Phrases
from gateway.dialling import Dialling
from gateway.ears import Ears
from gateway.events import Events
from gateway.notify import Notice
from gateway.outbound import Outbound
from gateway.port import Port
from gateway.prepared import Prepared
from gateway.providers.realtime import RealtimeSession
from gateway.providers.silero import SileroPool
from gateway.settings import GatewaySettings
from gateway.signatures import SignatureChecker
from gateway.speech import Listener, ProviderError
from gateway.speech_to_speech import SpeechToSpeech
from gateway.stream import Stream
from gateway.streams import Held, Streams, Told
from gateway.voices import Voices
from gateway.webhooks import Webhooks
from gateway.websocket import MediaSocket

SWEEP_S = 2.0
POLL_S = 0.05
# How long ears, or a realtime session, are kept for a stream that does not come.
PREPARED_S = 30.0


class Gateway:
    """Runs from start() to close(). Raises ProviderError if an engine it needs is missing."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.events = Events(log_transcripts=settings.log_transcripts)
        self.calls = Calls(
            settings.limits.call_limits(), settings.inbound.policy, settings.inbound.allow
        )
        self.is_draining = False
        checker = SignatureChecker(
            settings.public,
            settings.credentials.signature_tokens(),
            allow_unsigned=settings.allow_unsigned,
        )
        self._voices = Voices(
            casting.voices(settings),
            lambda error, then: self.events.speech_failed("voice", error, fallback=then),
        )
        self._ears = Ears(
            casting.ears(settings),
            lambda error, then: self.events.speech_failed("ears", error, fallback=then),
        )
        self._activities = SileroPool()
        is_realtime = settings.agent.provider == "realtime"
        self._realtime = casting.realtime(settings) if is_realtime else None
        self._agent = None if is_realtime else casting.agent(settings)
        self._listeners = Prepared[Listener](lambda _: self._ears.listen(), PREPARED_S)
        self._sessions = Prepared[RealtimeSession](self._converse, PREPARED_S)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._dialling = _dialling(settings, self.calls)
        self.streams = Streams(
            self.calls,
            checker,
            self.events,
            self._hold,
            start_s=settings.limits.start_seconds,
            is_draining=lambda: self.is_draining,
        )
        self.webhooks = Webhooks(
            settings,
            self.calls,
            checker,
            self.events,
            unservable=self._unservable,
            warm=self._warm_for,
            dial=self._dialling.dial if self._dialling else None,
            on_machine=self._hang_up,
        )

    async def start(self) -> HostPort:
        """Listen; the address with the port that was given out. Raises OSError."""
        settings = self.settings
        http = self.webhooks.server()
        port = Port(
            http,
            lambda: MediaSocket(self.streams.check_upgrade, self.streams.serve),
            settings.paths.stream,
            settings.limits.connections,
            settings.public.prefix,
        )
        self._server, self._http = await port.start(*settings.listen), http
        self._begin(self._sweep())
        self._begin(self.warm())
        return HostPort(*self._server.sockets[0].getsockname()[:2])

    async def warm(self) -> None:
        """Load and connect what would make a first word late. Failures are told as events."""
        warming = [self._voices.warm(), self._activities.warm()]
        if self._realtime is not None:
            warming.append(self._realtime.warm())
        else:
            warming.append(self._ears.warm())
        if self._agent is not None:
            warming.append(self._agent.warm())
        for failure in await asyncio.gather(*warming, return_exceptions=True):
            if isinstance(failure, BaseException) and not isinstance(failure, ProviderError):
                raise failure

    def take_no_calls(self) -> None:
        """Tell who calls now that we are closing; what was promised is still served."""
        self.is_draining = True

    async def drain(self) -> None:
        """Take no new calls, and let the running ones end, for gateway.drain_seconds at most."""
        self.take_no_calls()
        until = time.monotonic() + self.settings.drain_seconds
        while time.monotonic() < until and (  # noqa: ASYNC110 - time alone ends a promise
            self.streams.are_running or self.streams.are_expected
        ):
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Stop now. Streams that still run are closed as going away (1001).

        Their calls ask what comes next, and without an answer hear "application error".
        """
        self.is_draining = True
        if self._server is not None:
            await self.streams.end_all("drained")
            while self.streams.follow(time.monotonic()):  # noqa: ASYNC110 - or time passes
                await asyncio.sleep(POLL_S)
            self._server.close()
            await self._http.shutdown(1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._listeners.close(), self._sessions.close())
        closing = [self._voices.close(), self._ears.close(), self._activities.close()]
        closing += [each.close() for each in (self._realtime, self._agent) if each is not None]
        await asyncio.gather(*closing)

    async def _hold(self, call: Call, stream: Stream) -> Held:
        """What holds a call whose stream has begun."""
        settings, told = self.settings, Told(self.events, call)
        if call.plan.mode == "notify":
            return Notice(stream, self._voices, call.plan.text)
        if self._realtime is not None:
            try:
                session = await self._sessions.take(call)
            except ProviderError as error:
                told.agent_failed(error)
                giving_up = Phrases().giving_up
                return Notice(stream, self._voices, giving_up, ending="provider_failed")
            return SpeechToSpeech(
                stream,
                session,
                voices=self._voices,
                giving_up=Phrases().giving_up,
                silence_s=settings.turns.silence_ms / 1000,
                call_s=settings.limits.call_seconds,
                told=told,
            )
        assert self._agent is not None  # noqa: S101 - one of the two is there
        turns = settings.turns
        return Conversation(
            stream,
            voices=self._voices,
            ears=self._listeners.take(call),
            activity=await self._activities.open(),
            agent=self._agent,
            phrases=Phrases(greeting=call.plan.text),
            manners=Manners(
                pause_s=turns.pause_ms / 1000,
                silence_s=turns.silence_ms / 1000,
                barge_in=turns.barge_in,
                barge_in_greeting=turns.barge_in_greeting,
                no_input_s=turns.no_input_seconds,
                call_s=settings.limits.call_seconds,
            ),
            told=told,
        )

    def _unservable(self) -> str | None:
        return "We are closing for the moment. Please call again." if self.is_draining else None

    def _warm_for(self, call: Call) -> None:
        """The stream of a call is promised: what its first word needs is made ready now."""
        self._begin(self.warm())
        if call.plan.mode == "conversation":
            (self._listeners if self._realtime is None else self._sessions).prepare(call)

    async def _converse(self, call: Call) -> RealtimeSession:
        assert self._realtime is not None  # noqa: S101 - where sessions are asked for
        session: RealtimeSession = await self._realtime.open(call.plan.text)
        return session

    def _hang_up(self, call: Call) -> None:
        """A machine answered, and nobody wants to talk to it."""

        held = self.streams.running.get(call.call_sid)
        if held is not None:
            held.end("machine")
        elif (ended := self.calls.end(call.call_sid, "machine", time.monotonic())) is not None:
            self.events.call_ended(ended)

        async def hang_up(dialling: Dialling) -> None:
            try:
                await dialling.hang_up(call)
            except DialError as error:
                self.events.say(
                    "hang_up_failed", "warning", call_sid=call.call_sid, error=str(error)
                )

        if self._dialling is not None:
            self._begin(hang_up(self._dialling))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.webhooks.sweep()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.events.say("task_failed", "error", error=repr(fault)[:300])


def _dialling(settings: GatewaySettings, calls: Calls) -> Dialling | None:
    """None without an account or a number to call from."""
    keys, twilio = settings.credentials, settings.twilio
    if not (keys.account_sid and keys.auth_token and twilio.from_number):
        return None
    rest = Outbound(
        keys.account_sid,
        keys.auth_token,
        # One gives the other; with neither it is api.twilio.com.
        region=twilio.chosen_region if twilio.region or twilio.edge else None,
        edge=twilio.chosen_edge if twilio.region or twilio.edge else None,
        api_url=twilio.api_url,
    )
    return Dialling(settings, calls, rest)
