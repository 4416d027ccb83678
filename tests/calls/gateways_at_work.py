"""The whole gateway on a real port, and callers for it: what was said can be read in the audio.

    caller (doctor/caller/call.py) -> https://voice.example.com, dialled on loopback -> Gateway

The caller signs what Twilio would sign; nothing of the gateway is replaced but, where a test says
so, its voices, ears and agent.
"""

import asyncio
import json
import secrets
import wave
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from unittest.mock import Mock, patch
from urllib.parse import urlencode, urlsplit

import numpy as np
from structlog.testing import capture_logs
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from calls.letters import POOL, LettersVoice, Parrot, ToldEars, spelled
from calls.replies import Reply, Twiml
from doctor.addresses import Address
from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.dialogue import Manners
from doctor.caller.outcome import CallReport
from doctor.caller.speech import sentence
from gateway import casting
from gateway.addresses import HostPort
from gateway.credentials import Credentials
from gateway.g711 import SILENCE, decode, encode
from gateway.gateway import Gateway
from gateway.providers.silero import SileroPool
from gateway.settings import GatewaySettings, offline_settings

T = TypeVar("T")
Part = Iterable[Any] | Callable[[GatewaySettings], list[Any]] | None

PUBLIC = "https://voice.example.com"
TOKEN = "made-up-auth-token"
ACCOUNT_SID = "AC" + "1" * 32
CALLS_TOKEN = "made-up-token-for-calls"
PATIENCE_S = 20.0
BRISK = Manners(greeting_s=2.0, answer_s=6.0, patience_s=0.2, linger_s=0.1)
# A few words, for when it is not the point which: Silero takes them for the speech that they are.
WORDS = sentence("goodbye").audio[:4400]
QUICK_TURNS = {"silence_ms": 200, "pause_ms": 100}
FORM = {"From": "+12025550143", "To": "+12025550199", "Direction": "inbound"}


# The gateway.


@dataclass
class AtWork:
    """A running gateway; `told` is every event that it told, in order."""

    gateway: Gateway
    address: HostPort
    told: list[dict[str, Any]]
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def settings(self) -> GatewaySettings:
        return self.gateway.settings

    @property
    def webhook(self) -> str:
        return self.settings.public.url(self.settings.paths.webhook)

    def options(self, *names: str, **changes: Any) -> CallOptions:
        """A brisk call that says these of the caller's sentences, or just "words"."""
        manners = BRISK if names or changes.get("digits") else replace(BRISK, greeting_s=0.6)
        chosen: dict[str, Any] = {
            "webhook_url": self.webhook,
            "says": tuple(WORDS if name == "words" else sentence(name).audio for name in names),
            "auth_token": TOKEN,
            "manners": manners,
            "connect_to": Address(*self.address),
            "plain": True,
            "limit_s": PATIENCE_S,
            "say_letters_s": 1000.0,
        }
        return CallOptions(**chosen | changes)

    async def call(self, *names: str, **changes: Any) -> "Heard":
        return await place(self.options(*names, **changes))

    def of(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        """What was told of this event with these fields."""
        wanted = {"event": event} | wanted
        return [line for line in self.told if wanted.items() <= line.items()]

    async def until(self, event: str, **wanted: Any) -> dict[str, Any]:
        """Wait until it is told."""
        try:
            async with asyncio.timeout(PATIENCE_S), self.changed:
                await self.changed.wait_for(lambda: self.of(event, **wanted))
        except TimeoutError:
            raise AssertionError(f"no {event} {wanted}; told: {self.told}") from None
        return self.of(event, **wanted)[0]

    def value(self, name: str, **labels: str) -> float:
        return self.gateway.events.registry.get_sample_value(name, labels) or 0.0

    async def post(
        self,
        target: str,
        form: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        token: str = "",
    ) -> "Reply":
        """As Twilio posts it, and signs it."""
        signature = sign(self.settings.public.url(target), form, token or TOKEN)
        return await ask(
            self.address,
            "POST",
            target,
            {
                "Host": "voice.example.com",
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Twilio-Signature": signature,
            }
            | dict(headers or {}),
            urlencode(form).encode(),
        )

    async def fetch_twiml(self, call_sid: str = "", **form: str) -> "Twiml":
        """Ask what an inbound call shall do."""
        call_sid = call_sid or new_call_sid()
        reply = await self.post(
            self.settings.paths.webhook,
            FORM | {"CallSid": call_sid, "CallStatus": "ringing"} | form,
        )
        return Twiml(call_sid, reply)

    @asynccontextmanager
    async def stream(self, **headers: str) -> AsyncIterator["RawStream"]:
        """A stream whose messages the test sends itself."""
        public_url = self.settings.public.stream_url(self.settings.paths.stream)
        host, port = self.address
        async with connect(
            public_url.replace("wss://", "ws://"),
            sock=None,
            host=host,
            port=port,
            compression=None,
            user_agent_header="Twilio.TmeWs/1.0",
            additional_headers={"X-Twilio-Signature": sign(public_url, {})} | headers,
            max_size=None,
            max_queue=None,
            close_timeout=3,
            proxy=None,
        ) as connection:
            yield RawStream(connection)


@asynccontextmanager
async def at_work(
    *,
    voices: Part = None,
    ears: Part = None,
    agent: Any = None,
    public_url: str = PUBLIC,
    credentials: Mapping[str, str] | None = None,
    port: int = 0,
    next_s: float = 0.3,
    pool: SileroPool | None = None,
    tables: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[AtWork]:
    """A gateway; what of its speech is not named here is what the settings choose.

    A part may be a function of the settings, as those of gateway/casting.py are. `tables` are
    settings whose names parts have, too.

    It waits `next_s` for calls whose streams it closed, where most tests never ask what is next.
    """
    chosen = offline_settings(public_url=public_url, auth_token=TOKEN, **settings, **tables or {})
    chosen = chosen.model_copy(update={"listen": HostPort("127.0.0.1", port)})
    chosen._credentials = Credentials(
        **{"auth_token": TOKEN, "account_sid": ACCOUNT_SID} | dict(credentials or {})
    )
    cast = {"voices": voices, "ears": ears, "agent": agent}
    made = {name: part for name, part in cast.items() if part is not None}
    # Nothing is awaited while these are in place: several gateways may be made side by side.
    with ExitStack() as patched:
        for name, part in made.items():
            maker = part if callable(part) else Mock(return_value=part)
            patched.enter_context(patch.object(casting, name, maker))
        patched.enter_context(patch("gateway.gateway.SileroPool", Mock(return_value=pool or POOL)))
        gateway = Gateway(chosen)
    gateway.streams.next_s = next_s
    told: list[dict[str, Any]] = []
    work = AtWork(gateway, HostPort("127.0.0.1", 0), told)
    waking: set[asyncio.Task[None]] = set()

    async def wake() -> None:
        async with work.changed:
            work.changed.notify_all()

    def listen(event: str, fields: Mapping[str, Any]) -> None:
        told.append({"event": event} | dict(fields))
        task = asyncio.get_running_loop().create_task(wake())
        waking.add(task)
        task.add_done_callback(waking.discard)

    gateway.events.listen(listen)
    work.address = await gateway.start()
    try:
        yield work
    finally:
        await gateway.close()


def simple_cast(*texts: str) -> dict[str, Any]:
    """Speech that takes no time; the caller is understood to say the texts."""
    cast = {"voices": [LettersVoice()], "ears": [ToldEars(*texts)], "agent": Parrot()}
    return cast | {"turns": QUICK_TURNS}


def run(work: Callable[[], Coroutine[Any, Any, T]], limit_s: float = 2 * PATIENCE_S) -> T:
    """Run a test's coroutine, bounded; what asyncio complains about fails it."""
    complaints: list[str] = []

    async def bounded() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: complaints.append(f"{context['message']}: {context}")
        )
        async with asyncio.timeout(limit_s):
            return await work()

    with capture_logs():
        result = asyncio.run(bounded())
    assert complaints == []
    return result


# The caller.


@dataclass(frozen=True)
class Heard:
    """A call's report, and what each side heard of the other, as mu-law."""

    report: CallReport
    agent: bytes
    caller: bytes

    @property
    def text(self) -> str:
        """What LettersVoice said."""
        return spelled(self.agent)

    @property
    def close_codes(self) -> list[int | None]:
        return [stream.close_code for stream in self.report.streams]

    def has(self, audio: bytes) -> bool:
        """Whether the caller heard this, whole and without a gap."""
        return encode(decode(audio)).strip(SILENCE) in self.agent


async def place(options: CallOptions) -> Heard:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "call.wav"
        report = await SimulatedCall(replace(options, record=file)).run()
        return Heard(report, *read_recording(file))


def read_recording(file: Path) -> tuple[bytes, bytes]:
    """What the caller heard, and what the caller said."""
    with wave.open(str(file)) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)
    caller, agent = (encode(pcm[:, side].astype(np.int16)) for side in (0, 1))
    return agent, caller


# Twilio by hand.


class RawStream:
    """The WebSocket as Twilio has it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.sid = "MZ" + secrets.token_hex(16)
        self.sequence = 0

    async def start(
        self, call_sid: str, token: str | None, tracks: Sequence[str] = ("inbound",)
    ) -> None:
        await self.connection.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        parameters = {} if token is None else {"token": token}
        start = {
            "accountSid": ACCOUNT_SID,
            "callSid": call_sid,
            "streamSid": self.sid,
            "tracks": list(tracks),
            "customParameters": parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self.send("start", start=start)

    async def send(self, event: str, **content: Any) -> None:
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": self.sid}
        await self.connection.send(json.dumps(message | content))

    async def receive(self, event: str) -> dict[str, Any]:
        """The next message of this kind; those before it are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while (message := json.loads(await self.connection.recv()))["event"] != event:
                pass
        assert message["streamSid"] == self.sid
        return dict(message)

    async def closed(self) -> tuple[int, str]:
        """Read on to the end; the code and reason that the gateway closed with."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await self.connection.recv()
        except ConnectionClosed as end:
            if end.rcvd is None:
                return 1006, ""
            return int(end.rcvd.code), end.rcvd.reason


def sign(url: str, form: Mapping[str, str], token: str = TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(url, dict(form)))


def new_call_sid() -> str:
    return "CA" + secrets.token_hex(16)


async def ask(
    address: tuple[str, int],
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Reply:
    """One request of a connection's own, until the gateway closes it."""
    fields = {"Host": "voice.example.com", "Content-Length": str(len(body))} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer, _, text = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    first, *lines = answer.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Reply(
        int(first.split()[1]),
        {name.lower(): value.strip() for name, _, value in pairs},
        text.decode(),
    )


def path_of(url: str) -> str:
    """Path and query of a URL, as they stand in a request."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
