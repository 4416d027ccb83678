"""OpenAI's realtime sessions: to transcribe, and to converse.

What speech is, is told by loudness. The conversation's own turn detection: a loud frame begins the
caller's turn, SILENCE_MS of quiet ones end it.
"""

import asyncio
import base64
import binascii
import itertools
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from gateway import g711
from stand_ins.server import LOUD, cut, tone

if TYPE_CHECKING:
    from stand_ins.openai import OpenAIStandIn

MULAW = {"type": "audio/pcmu"}
TRANSCRIBERS = {
    "gpt-live-transcribe": "languages",
    "gpt-transcribe": "languages",
    "gpt-4o-transcribe": "language",
    "gpt-4o-mini-transcribe": "language",
}
REALTIME_VOICES = "alloy ash ballad coral echo sage shimmer verse marin cedar".split()
SILENCE_MS = 500
PIECE_BYTES = 1600


class Session:
    """What both kinds do. `updates` are the settings that were accepted."""

    kind = ""

    def __init__(
        self, stand_in: "OpenAIStandIn", request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self.stand_in, self.request, self.socket = stand_in, request, socket
        self.updates: list[dict[str, Any]] = []
        self.buffer = b""
        self._ids = itertools.count(1)

    async def run(self) -> None:
        match self.stand_in.fault:
            case "malformed":
                await self.socket.send_str("<html>")
            case "silence" | "stall":
                pass
            case _:
                await self.send("session.created", session={"type": self.kind})
        async for message in self.socket:
            if message.type is not WSMsgType.TEXT:
                self.stand_in.complain(f"a message of type {message.type}")
                continue
            event = json.loads(message.data)
            self.stand_in.record(event.get("type"))
            if not self.updates and event.get("type") != "session.update":
                self.stand_in.complain(f"{event.get('type')} before session.update")
            if not await self.receive(event):
                return

    async def receive(self, event: dict[str, Any]) -> bool:
        """Take one event; False ends the session."""
        match event.get("type"):
            case "session.update":
                await self._update(event)
            case "input_audio_buffer.append":
                await self.append(self._audio(event))
            case kind:
                self.stand_in.complain(f"unknown event {kind}")
                await self.fail("invalid_value", f"Invalid value: '{kind}'", event)
        return True

    async def _update(self, event: dict[str, Any]) -> None:
        stand_in = self.stand_in
        if stand_in.fault == "error_event":
            await self.fail("insufficient_quota", "You exceeded your current quota.", event)
            return
        session = event.get("session")
        assert isinstance(session, dict), event
        if session.get("type") != self.kind:
            stand_in.complain(f"a {self.kind} session is updated as {session.get('type')}")
        if (refused := self.check(session)) is not None:
            code, param = refused
            await self.fail(code, f"Invalid value of {param}", event, param)
            return
        if stand_in.fault != "stall":
            self.updates.append(session)
            await self.send("session.updated", session=session)

    def check(self, session: dict[str, Any]) -> tuple[str, str] | None:
        """What is refused of the settings, as (code, param); complaints are made on the way."""
        raise NotImplementedError

    def check_transcription(self, settings: dict[str, Any]) -> tuple[str, str] | None:
        where = "session.audio.input.transcription"
        if settings.get("model") not in TRANSCRIBERS:
            return "invalid_value", f"{where}.model"
        field = TRANSCRIBERS[settings["model"]]
        if extra := settings.keys() - {"model", field, "prompt", "keywords"}:
            self.stand_in.complain(f"{settings['model']} takes no {extra}")
        kind: type = list if field == "languages" else str
        if field in settings and not isinstance(settings[field], kind):
            self.stand_in.complain(f"{field} is {settings[field]!r}")
        return None

    async def append(self, audio: bytes) -> None:
        self.buffer += audio

    def _audio(self, event: dict[str, Any]) -> bytes:
        if event.keys() - {"type", "audio", "event_id"}:
            self.stand_in.complain(f"an append with {event.keys()}")
        try:
            return base64.b64decode(event["audio"], validate=True)
        except (KeyError, binascii.Error):
            self.stand_in.complain("an append without base64")
            return b""

    async def send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{next(self._ids)}", **fields}
        await self.socket.send_json(event)

    async def fail(
        self, code: str, message: str, cause: dict[str, Any], param: str | None = None
    ) -> None:
        error = {
            "type": "invalid_request_error" if code.startswith("inv") else code,
            "code": code,
            "message": message,
            "param": param,
            "event_id": cause.get("event_id"),
        }
        await self.send("error", error=error)

    def new_item(self) -> str:
        return f"item_{next(self._ids)}"


class TranscriptionSession(Session):
    kind = "transcription"

    def check(self, session: dict[str, Any]) -> tuple[str, str] | None:
        complain = self.stand_in.complain
        settings = session.get("audio", {}).get("input", {})
        if session.keys() != {"type", "audio"} or session["audio"].keys() != {"input"}:
            complain(f"the settings of a transcription are {session}")
        if extra := settings.keys() - {"format", "transcription", "turn_detection"}:
            complain(f"unknown settings of the input: {extra}")
        if settings.get("format") != MULAW:
            complain(f"the format is {settings.get('format')}")
        if settings.get("turn_detection", "default") is not None:
            complain("turn detection is not off")
            return "invalid_value", "session.audio.input.turn_detection"
        return self.check_transcription(settings.get("transcription", {}))

    async def receive(self, event: dict[str, Any]) -> bool:
        match event.get("type"):
            case "input_audio_buffer.clear":
                self.buffer = b""
                await self.send("input_audio_buffer.cleared")
            case "input_audio_buffer.commit":
                return await self._commit(event)
            case _:
                return await super().receive(event)
        return True

    async def _commit(self, event: dict[str, Any]) -> bool:
        stand_in = self.stand_in
        match stand_in.fault:
            case "cut":
                assert self.request.transport is not None
                self.request.transport.abort()
                return False
            case "close":
                await self.socket.close(code=1011, message=b"keepalive ping timeout")
                return False
        milliseconds = 1000 * g711.seconds(self.buffer)
        if milliseconds < 100:
            stand_in.complain(f"a commit of {milliseconds} ms")
            message = "Error committing input audio buffer: buffer too small."
            await self.fail("invalid_request_buffer_too_small", message, event)
            return True
        audio, self.buffer = self.buffer, b""
        item = self.new_item()
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        await self.send("conversation.item.added", item={"id": item, "type": "message"})
        if stand_in.fault == "silence":
            return True
        begin = "conversation.item.input_audio_transcription"
        place = {"item_id": item, "content_index": 0}
        if stand_in.fault == "empty":
            error = {"type": "server_error", "code": None, "message": "Transcription failed."}
            await self.send(f"{begin}.failed", **place, error=error)
            return True
        text = stand_in.understand(audio)
        await self.send(f"{begin}.delta", **place, delta=text)
        usage = {"type": "duration", "seconds": milliseconds / 1000}
        await self.send(f"{begin}.completed", **place, transcript=text, usage=usage)
        return True


class ConversationSession(Session):
    """Answers each turn of the caller's with the stand-in's next reply, spoken."""

    kind = "realtime"

    def __init__(
        self, stand_in: "OpenAIStandIn", request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        super().__init__(stand_in, request, socket)
        self.truncated: list[tuple[str, int]] = []
        self._lengths: dict[str, float] = {}  # ms of audio of each item
        self._is_speaking = False
        self._quiet_ms = 0.0
        self._answering: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            if self._answering is not None:
                self._answering.cancel()

    def check(self, session: dict[str, Any]) -> tuple[str, str] | None:
        complain = self.stand_in.complain
        if extra := session.keys() - {"type", "output_modalities", "instructions", "audio"}:
            complain(f"unknown settings: {extra}")
        heard, said = session["audio"]["input"], session["audio"]["output"]
        is_reader = heard == {"turn_detection": None}  # it only speaks
        if (heard.get("format") != MULAW and not is_reader) or said.get("format") != MULAW:
            complain(f"the formats are {heard.get('format')} and {said.get('format')}")
        if session.get("output_modalities") != ["audio"]:
            complain(f"the modalities are {session.get('output_modalities')}")
        if not is_reader and heard.get("turn_detection", {}).get("type") != "server_vad":
            complain(f"the turn detection is {heard.get('turn_detection')}")
        if said.get("voice") not in REALTIME_VOICES:
            return "invalid_value", "session.audio.output.voice"
        settings = heard.get("transcription")
        return self.check_transcription(settings) if settings is not None else None

    async def receive(self, event: dict[str, Any]) -> bool:
        match event.get("type"):
            case "response.create":
                self._answer(self._asked(event["response"]))
            case "conversation.item.truncate":
                await self._truncate(event)
            case _:
                return await super().receive(event)
        return True

    def _asked(self, response: dict[str, Any]) -> str:
        """The words of a greeting, or of a text that is to be read."""
        if response.keys() == {"instructions"}:
            return str(response["instructions"].partition(": ")[2])
        match response:
            case {
                "conversation": "none",
                "input": [
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": str(text)}],
                    }
                ],
            } if len(response) == 2:
                return text
        self.stand_in.complain(f"a response is asked for as {response}")
        return ""

    async def append(self, audio: bytes) -> None:
        await super().append(audio)
        for frame in cut(audio, g711.FRAME_BYTES):
            is_loud = g711.peak(frame) > LOUD
            self._quiet_ms = 0 if is_loud else self._quiet_ms + 20
            if is_loud and not self._is_speaking:
                self._is_speaking = True
                await self.send("input_audio_buffer.speech_started", item_id="", audio_start_ms=0)
                if self._answering is not None:
                    self._answering.cancel()
            elif self._is_speaking and self._quiet_ms >= SILENCE_MS:
                self._is_speaking = False
                await self._end_turn()

    async def _end_turn(self) -> None:
        stand_in = self.stand_in
        item = self.new_item()
        await self.send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=0)
        if stand_in.fault == "cut":
            assert self.request.transport is not None
            self.request.transport.abort()
            return
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        audio, self.buffer = self.buffer, b""
        if stand_in.fault == "silence":
            return
        self._answer("".join(stand_in.replies.pop(0) if stand_in.replies else stand_in.reply))
        begin = "conversation.item.input_audio_transcription"
        text = stand_in.understand(audio)
        await self.send(f"{begin}.completed", item_id=item, content_index=0, transcript=text)

    def _answer(self, text: str) -> None:
        self._answering = asyncio.create_task(self._respond(text))

    async def _respond(self, text: str) -> None:
        stand_in = self.stand_in
        response, item = f"resp_{next(self._ids)}", self.new_item()
        place = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        await self.send("response.created", response={"id": response, "status": "in_progress"})
        if stand_in.fault == "broken":
            error = {"type": "server_error", "code": None, "message": "The server had an error."}
            details = {"type": "failed", "error": error}
            failed = {"id": response, "status": "failed", "status_details": details}
            await self.send("response.done", response=failed)
            return
        status = "completed"
        audio = g711.encode(tone(text, g711.BYTES_PER_SECOND))
        try:
            for sent, piece in enumerate(cut(audio, PIECE_BYTES)):
                if stand_in.fault == "empty" and sent == 1:
                    return  # nothing more comes
                await stand_in.pause(sent)
                self._lengths[item] = self._lengths.get(item, 0) + 1000 * g711.seconds(piece)
                delta = base64.b64encode(piece).decode()
                await self.send("response.output_audio.delta", **place, delta=delta)
        except asyncio.CancelledError:
            status = "cancelled"
        await self.send("response.output_audio.done", **place)
        await self.send("response.output_audio_transcript.done", **place, transcript=text)
        done = {"id": response, "status": status, "output": [{"id": item}]}
        await self.send("response.done", response=done)

    async def _truncate(self, event: dict[str, Any]) -> None:
        item, end_ms = event["item_id"], event["audio_end_ms"]
        if event.get("content_index") != 0 or item not in self._lengths:
            self.stand_in.complain(f"what is truncated is {event}")
        if end_ms > self._lengths.get(item, 0):
            message = "Audio content is already shorter than that"
            await self.fail("invalid_value", message, event, "audio_end_ms")
            return
        self.truncated.append((item, end_ms))
        await self.send("conversation.item.truncated", item_id=item, audio_end_ms=end_ms)
