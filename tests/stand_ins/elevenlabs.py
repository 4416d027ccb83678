"""ElevenLabs: speech as mu-law, the list of voices, Scribe's realtime session."""

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any

from aiohttp import WSMsgType, web

from gateway import g711
from stand_ins.server import Fault, StandIn, cut, read_json, tone

_REFUSALS: dict[Fault, tuple[int, str, str]] = {
    "unauthorized": (401, "invalid_api_key", "Invalid API key"),
    "no_credit": (402, "payment_required", "Your subscription has a failed payment."),
    "out_of_quota": (401, "quota_exceeded", "You have 3 credits remaining, 12 are required."),
    "rate_limited": (429, "too_many_concurrent_requests", "Too many concurrent requests."),
    "refused": (400, "model_not_found", "A model with that ID does not exist."),
    "broken": (500, "internal_server_error", "An error occurred."),
}
_TTS_FIELDS = {
    "model_id": str,
    "language_code": str,
    "voice_settings": dict,
    "seed": int,
    "previous_text": str,
    "next_text": str,
    "apply_text_normalization": str,
}
_CHUNK_FIELDS = {"message_type": str, "audio_base_64": str, "commit": bool, "sample_rate": int}
PIECE_BYTES = 1001


class ElevenLabsStandIn(StandIn):
    """`voices` are the account's, by id."""

    def __init__(self) -> None:
        super().__init__()
        self.voices = {
            "nPczCjzI2devNBz1zQrb": "Brian - Deep, Resonant and Comforting",
            "CwhRBWXzGAHq8TQ4Fs17": "Roger - Laid-Back, Casual, Resonant",
            "0123456789abcdefABCD": "Ada of our own",
        }
        self.spoken: list[tuple[str, dict[str, Any]]] = []  # (voice id, request) of each speech

    @staticmethod
    def speech(text: str) -> bytes:
        """The mu-law audio that it answers."""
        return g711.encode(tone(text, g711.BYTES_PER_SECOND))

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.get("/v1/voices", self._voices),
            web.post("/v1/text-to-speech/{voice}/stream", self._speak),
            web.get("/v1/speech-to-text/realtime", self._transcribe),
        ]

    def refusal(self, fault: Fault) -> tuple[int, dict[str, Any]]:
        status, name, message = _REFUSALS[fault]
        return status, {"detail": {"status": name, "message": message}}

    async def _begin(self, request: web.Request) -> web.StreamResponse | None:
        if (answer := await self.fail_early(request)) is not None:
            return answer
        if "Authorization" in request.headers or "xi-api-key" not in request.headers:
            self.complain(f"{request.path}: the key belongs into xi-api-key alone")
        if request.headers.get("xi-api-key") != self.api_key:
            return self.refuse("unauthorized")
        return None

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return await self._begin(request) or web.json_response([{"model_id": "eleven_flash_v2_5"}])

    async def _voices(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        if self.fault == "malformed":
            return web.Response(text="<html>")
        voices = [{"voice_id": id_, "name": name} for id_, name in self.voices.items()]
        return web.json_response({"voices": voices})

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        if dict(request.query) != {"output_format": "ulaw_8000"}:
            self.complain(f"the query of speech is {dict(request.query)}")
        if request.content_type != "application/json":
            self.complain(f"speech is asked for in {request.content_type}")
        content = await read_json(request)
        if not self.check_json(content, "speech", {"text": str}, _TTS_FIELDS):
            return self.refuse("refused")
        voice = request.match_info["voice"]
        if voice not in self.voices:
            message = f"A voice with voice_id {voice} was not found."
            detail = {"status": "voice_not_found", "message": message}
            return web.json_response({"detail": detail}, status=404)
        self.spoken.append((voice, content))
        if self.fault == "malformed":
            return web.json_response({"detail": "what?"})
        return await self.send_pieces(
            request, "audio/basic", cut(self.speech(content["text"]), PIECE_BYTES)
        )

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        query = dict(request.query)
        language = query.pop("language_code", "en")
        if query != {
            "model_id": "scribe_v2_realtime",
            "audio_format": "ulaw_8000",
            "commit_strategy": "manual",
        }:
            self.complain(f"the query of a session is {query}")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.record("session")
        match self.fault:
            case "malformed":
                await socket.send_str("<html>")
            case "error_event":
                await socket.send_json({"message_type": "quota_exceeded", "error": "No credits."})
            case _:
                config = {"audio_format": "ulaw_8000", "language_code": language}
                await socket.send_json(
                    {"message_type": "session_started", "session_id": "s", "config": config}
                )
        try:
            await self._serve(request, socket)
        finally:
            self.record("session ended")
        return socket

    async def _serve(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        audio = b""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                self.complain(f"a message of type {message.type}")
                continue
            audio += self._receive_chunk(message.data)
            if json.loads(message.data).get("commit"):
                if not await self._commit(request, socket, audio):
                    return
                audio = b""

    def _receive_chunk(self, text: str) -> bytes:
        content = json.loads(text)
        if not self.check_json(content, "chunk", _CHUNK_FIELDS, {"previous_text": str}):
            return b""
        if content["message_type"] != "input_audio_chunk" or content["sample_rate"] != 8000:
            self.complain(f"a chunk says {content['message_type']} {content['sample_rate']}")
        try:
            audio = base64.b64decode(content["audio_base_64"], validate=True)
        except binascii.Error:
            self.complain("a chunk that is no base64")
            return b""
        self.record("audio" if audio else "commit")
        return audio

    async def _commit(
        self, request: web.Request, socket: web.WebSocketResponse, audio: bytes
    ) -> bool:
        match self.fault:
            case "cut":
                assert request.transport is not None
                request.transport.abort()
                return False
            case "close":
                await socket.close(code=1011, message=b"internal error")
                return False
            case "stall":
                return True
        seconds = g711.seconds(audio)
        if seconds < 0.3:
            self.complain(f"a commit of {seconds:.2f} s of audio")
            error = f"Commit request ignored: only {seconds:.2f}s of uncommitted audio."
            await socket.send_json({"message_type": "commit_throttled", "error": error})
            return True
        text = self.understand(audio)
        await socket.send_json({"message_type": "partial_transcript", "text": text[:5]})
        await socket.send_json({"message_type": "committed_transcript", "text": text})
        return True
