"""One Media Stream from Twilio's side: 20 ms of the caller at a time, and the agent played back.

Frames are sent at absolute deadlines, so a late one does not delay those behind it. What the server
sends goes through the playout buffer; marks are echoed when the audio before them was played, to
the nearest frame. When the caller hangs up, `stop` is sent and then a Close without a code.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from doctor.addresses import Detour, Target
from doctor.caller.dialogue import Dialogue
from doctor.caller.messages import (
    Audio,
    Clear,
    Command,
    Mark,
    ServerMessages,
    Track,
    TwilioMessages,
)
from doctor.caller.playout import PAUSE_S, Playout
from doctor.caller.recording import StereoRecording
from doctor.dial import Patience, Unanswered
from doctor.errors import Objection, ending_code, stream_code
from doctor.exchange import answered_by
from doctor.websocket import Message, NotSwitched, TwilioSocket, Undecodable, open_socket
from gateway.g711 import BYTES_PER_SECOND, FRAME_BYTES, FRAME_S, SILENCE

EXCERPT = 200


@dataclass(slots=True)
class StreamReport:
    """What became of one stream. Milliseconds are since `start` was sent, unless said otherwise."""

    url: str
    stream_sid: str
    is_two_way: bool
    status: int | None = None  # of the handshake's answer
    error_code: int | None = None
    saw: str = ""
    handshake_ms: float | None = None
    answered_by: dict[str, str] = field(default_factory=dict)  # telling fields of a refusal
    answer_fields: tuple[tuple[str, str], ...] = ()  # all fields of a refusal
    ended_by: Literal["caller", "server", "never_opened"] = "never_opened"
    close_code: int | None = None
    close_reason: str = ""
    duration_s: float = 0.0
    sent: int = 0  # media messages
    received: int = 0
    received_bytes: int = 0
    first_audio_ms: float | None = None
    gap_ms_max: float = 0.0
    underruns: int = 0
    ahead_ms_max: float = 0.0
    marks: int = 0
    marks_echoed: int = 0
    clears: int = 0
    ignored: int = 0
    greeting: dict[str, float] | None = None
    turns: list[dict[str, Any]] = field(default_factory=list)
    objections: list[Objection] = field(default_factory=list)

    def media(self) -> dict[str, Any]:
        names = (
            "sent received received_bytes first_audio_ms gap_ms_max underruns ahead_ms_max marks "
            "marks_echoed clears ignored"
        )
        return {name: getattr(self, name) for name in names.split()}

    def as_json(self) -> dict[str, Any]:
        names = (
            "url stream_sid is_two_way status error_code saw handshake_ms answered_by ended_by "
            "close_code close_reason duration_s greeting"
        )
        return {name: getattr(self, name) for name in names.split()}


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a <Stream> asks for, and how to get there."""

    target: Target
    signature: str | None
    account_sid: str
    call_sid: str
    stream_sid: str
    is_two_way: bool = True
    tracks: tuple[Track, ...] = ("inbound",)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


class MediaStream:
    """`run` once.

    `on_open` is told when `start` was sent, `on_turn` (number, share of what is to be said) when
    the caller begins to speak.
    """

    def __init__(
        self,
        plan: StreamPlan,
        dialogue: Dialogue,
        detour: Detour,
        tls: ssl.SSLContext,
        patience: Patience,
        *,
        recording: StereoRecording | None = None,
        call_began: float = 0.0,
        on_open: Callable[[], None] = lambda: None,
        on_turn: Callable[[int, float], None] = lambda _number, _share: None,
    ) -> None:
        self._plan = plan
        self._dialogue = dialogue
        self._way = detour, tls, patience
        self._recording = recording
        self._call_began = call_began
        self._on_open = on_open
        self._on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self._messages = TwilioMessages(plan.account_sid, plan.call_sid, plan.stream_sid)
        self._reader = ServerMessages(plan.stream_sid)
        self._is_hanging_up = False
        self._has_ended = asyncio.Event()
        self._last_audio: float | None = None  # within the utterance
        self.report = StreamReport(plan.target.url, plan.stream_sid, plan.is_two_way)

    def hang_up(self) -> None:
        """End the stream as Twilio does when the call ends."""
        self._is_hanging_up = True

    def play(self, audio: bytes) -> None:
        """On a one-way stream: what the call plays to the caller, for the outbound track."""
        if self.report.status == 101 and not self._has_ended.is_set():
            self._playout.receive_audio(audio, self._loop.time())

    async def run(self) -> StreamReport:
        """Open, converse, close. Never raises for what the server does."""
        plan, report = self._plan, self.report
        asked = self._loop.time()
        try:
            socket = await open_socket(plan.target, plan.signature, *self._way)
        except Unanswered as failure:
            report.error_code, report.saw = stream_code(failure.fault), failure.saw
            return report
        except NotSwitched as answer:
            self._refused(answer)
            return report
        report.status = 101
        report.handshake_ms = _ms(self._loop.time() - asked)
        try:
            await self._converse(socket)
        finally:
            await socket.end()
        return report

    def _refused(self, answer: NotSwitched) -> None:
        report = self.report
        excerpt = answer.body[:EXCERPT].decode(errors="replace").strip()
        report.status, report.error_code = answer.head.status, 31920
        report.saw = f"{answer.saw}: {excerpt}" if excerpt else answer.saw
        report.answered_by = answered_by(answer.head)
        report.answer_fields = answer.head.fields

    async def _converse(self, socket: TwilioSocket) -> None:
        self._began = self._loop.time()
        self._playout = Playout(self._began)
        reading = asyncio.create_task(self._read(socket))
        try:
            await self._speak(socket)
            if not self._has_ended.is_set():
                self.report.ended_by = "caller"
                socket.send(self._messages.stop())
                socket.start_close()
            await reading
        finally:
            reading.cancel()
            self._finish(socket)

    async def _speak(self, socket: TwilioSocket) -> None:
        plan = self._plan
        socket.send(self._messages.connected())
        socket.send(self._messages.start(plan.tracks, plan.parameters))
        self._on_open()
        number = 0
        while not self._has_ended.is_set() and not self._is_hanging_up:
            number += 1
            await asyncio.sleep(max(self._began + number * FRAME_S - self._loop.time(), 0))
            if not self._has_ended.is_set():
                self._send_frame(socket, number)
            if self._dialogue.is_over and plan.is_two_way:
                return

    def _send_frame(self, socket: TwilioSocket, number: int) -> None:
        """All that is due at one tick: marks that were played, the caller's frame, a key."""
        at_s, timestamp_ms = number * FRAME_S, number * 20
        self._echo(socket)
        heard = self._hear()
        turns = len(self._dialogue.turns)
        frame = self._dialogue.speak(at_s, self._playout.ahead_s())
        if len(self._dialogue.turns) > turns:
            self._on_turn(turns + 1, turns / self._dialogue.total)
        if "inbound" in self._plan.tracks:
            self.report.sent += socket.send(self._messages.media("inbound", timestamp_ms, frame))
        if "outbound" in self._plan.tracks:
            played = heard[-FRAME_BYTES:].rjust(FRAME_BYTES, SILENCE)
            self.report.sent += socket.send(self._messages.media("outbound", timestamp_ms, played))
        if (digit := self._dialogue.take_digit(at_s)) is not None and self._plan.is_two_way:
            socket.send(self._messages.dtmf(digit))
        if self._recording is not None:
            begins_s = self._began - self._call_began + at_s - FRAME_S
            self._recording.add("caller", frame, begins_s)

    def _echo(self, socket: TwilioSocket) -> None:
        for name in self._playout.advance(self._loop.time()):
            if self._plan.is_two_way and socket.send(self._messages.mark(name)):
                self.report.marks_echoed += 1

    def _hear(self) -> bytes:
        """What was played since the last time."""
        heard = self._playout.take_heard()
        if heard and self._recording is not None:
            ends_s = self._playout.position / BYTES_PER_SECOND
            begins_s = ends_s - len(heard) / BYTES_PER_SECOND
            self._recording.add("agent", heard, self._began - self._call_began + begins_s)
        if self._plan.is_two_way:
            self._dialogue.hear(heard)
        return heard

    async def _read(self, socket: TwilioSocket) -> None:
        try:
            async for message in socket.messages():
                if self._is_hanging_up or self.report.ended_by == "caller":
                    continue
                if not self._plan.is_two_way:
                    self._fail(31924, "the server sent a message on a one-way stream")
                    socket.start_close()
                elif (command := self._command(message)) is not None:
                    self._obey(command)
        finally:
            if self.report.ended_by == "never_opened":
                self.report.ended_by = "server"
            self._has_ended.set()

    def _command(self, message: Message) -> Command | None:
        if isinstance(message, str):
            return self._reader.receive_text(message)
        if isinstance(message, Undecodable):
            self._reader.receive_undecodable()
        else:
            self._reader.receive_binary(message)
        return None

    def _obey(self, command: Command) -> None:
        report, now = self.report, self._loop.time()
        match command:
            case Audio(audio):
                report.received += 1
                report.received_bytes += len(audio)
                if report.first_audio_ms is None:
                    report.first_audio_ms = _ms(now - self._began)
                if self._last_audio is not None and now - self._last_audio < PAUSE_S:
                    report.gap_ms_max = max(report.gap_ms_max, _ms(now - self._last_audio))
                self._last_audio = now
                if not self._playout.receive_audio(audio, now):
                    self._object(31931, "more than ten minutes of audio waited to be played")
                ahead_ms = _ms(self._playout.ahead_s())
                report.ahead_ms_max = max(report.ahead_ms_max, ahead_ms)
            case Mark(name):
                report.marks += 1
                self._last_audio = None
                if not self._playout.receive_mark(name, now):
                    self._object(None, "more marks are waiting than are kept")
            case Clear():
                report.clears += 1
                self._last_audio = None
                self._playout.clear(now)
                self._hear()
                self._dialogue.receive_clear(now - self._began)

    def _fail(self, code: int, saw: str) -> None:
        if self.report.error_code is None:
            self.report.error_code, self.report.saw = code, saw

    def _object(self, code: int | None, saw: str) -> None:
        objection = Objection(code, saw)
        if objection not in self.report.objections:
            self.report.objections.append(objection)

    def _finish(self, socket: TwilioSocket) -> None:
        report, dialogue = self.report, self._dialogue
        now = self._loop.time()
        self._playout.advance(now)
        self._hear()
        report.duration_s = round(now - self._began, 3)
        report.close_code, report.close_reason = socket.close_code, socket.close_reason
        if socket.fault is not None:
            self._fail(31924, socket.fault)
        elif report.ended_by == "server":
            code = ending_code(socket.close_code, has_spoken=report.received > 0)
            if code is not None:
                self._fail(code, _ending(socket))
        if socket.dropped:
            saw = f"{socket.dropped} messages were dropped because the server did not read"
            self._object(31930, saw)
        report.underruns = self._playout.underruns
        report.ignored = self._reader.ignored
        report.objections += self._reader.objections
        report.turns = [turn.as_json() for turn in dialogue.turns]
        if dialogue.greeting is not None:
            began_s, ended_s = dialogue.greeting
            report.greeting = {"heard_ms": _ms(began_s), "spoke_ms": _ms(ended_s - began_s)}


def _ending(socket: TwilioSocket) -> str:
    if socket.close_code is None:
        return "the connection ended without a Close frame"
    code = "without a code" if socket.close_code == 1005 else str(socket.close_code)
    return f"the server closed {code}{f': {socket.close_reason}' if socket.close_reason else ''}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
