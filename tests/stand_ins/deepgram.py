"""Deepgram: live transcription."""

import json
from collections.abc import Iterable
from typing import Any, Literal

from aiohttp import WSMsgType, web

from gateway import g711
from stand_ins.server import Fault, StandIn

_REFUSALS: dict[Fault, tuple[int, str, str]] = {
    "unauthorized": (401, "INVALID_AUTH", "Invalid credentials."),
    "no_credit": (402, "ASR_PAYMENT_REQUIRED", "Project does not have enough credits."),
    "out_of_quota": (402, "ASR_PAYMENT_REQUIRED", "Project does not have enough credits."),
    "rate_limited": (429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
    "refused": (400, "Bad Request", "No such model/language/tier combination found."),
    "broken": (500, "INTERNAL_SERVER_ERROR", "Something went wrong."),
}
_QUERY = {
    "encoding": "mulaw",
    "sample_rate": "8000",
    "channels": "1",
    "endpointing": "false",
    "interim_results": "true",
}
_FREE = {"model", "language", "punctuate", "keyterm", "smart_format", "numerals"}


class DeepgramStandIn(StandIn):
    """`finalize` is how it answers Finalize: as documented, with the text before it, or not."""

    def __init__(self) -> None:
        super().__init__()
        self.finalize: Literal["answered", "early", "unanswered"] = "answered"
        self.messages: list[str] = []  # the types of the text messages that came

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get("/v1/models", self._models), web.get("/v1/listen", self._listen)]

    def refusal(self, fault: Fault) -> tuple[int, dict[str, Any]]:
        status, code, message = _REFUSALS[fault]
        return status, {"err_code": code, "err_msg": message, "request_id": "5a8cbd5c"}

    async def _begin(self, request: web.Request) -> web.StreamResponse | None:
        if (answer := await self.fail_early(request)) is not None:
            return answer
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token":
            self.complain(f"{request.path}: the scheme of the key is {scheme!r}")
        return self.refuse("unauthorized") if key != self.api_key else None

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return await self._begin(request) or web.json_response({"stt": [], "tts": []})

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        query = dict(request.query)
        if unknown := query.keys() - _QUERY - _FREE:
            self.complain(f"unknown in the query: {unknown}")
        if wrong := {name for name, value in _QUERY.items() if query.get(name) != value}:
            self.complain(f"wrong in the query: {wrong}")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.record("session")
        try:
            await _Live(self, request, socket).run()
        finally:
            self.record("session ended")
        return socket


class _Live:
    """One connection. Times are seconds of the audio that came on it."""

    def __init__(
        self, stand_in: DeepgramStandIn, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._stand_in, self._request, self._socket = stand_in, request, socket
        self._audio = b""  # not finalized yet
        self._final_s = 0.0  # until when results were final
        self._interims = 0

    async def run(self) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                await self._receive_audio(message.data)
            elif not await self._receive_text(message.data):
                return

    async def _receive_audio(self, audio: bytes) -> None:
        stand_in = self._stand_in
        if not audio:
            stand_in.complain("an empty message, which ends the stream")
        self._audio += audio
        stand_in.record("audio")
        if stand_in.fault == "stall":
            return
        while g711.seconds(self._audio) >= self._interims + 1:
            self._interims += 1
            await self._send_results("", self._final_s, float(self._interims), is_final=False)

    async def _receive_text(self, text: str) -> bool:
        stand_in = self._stand_in
        content = json.loads(text)
        kind = content.get("type")
        stand_in.messages.append(kind)
        stand_in.record(kind)
        if content != {"type": kind} or kind not in ("KeepAlive", "Finalize", "CloseStream"):
            stand_in.complain(f"a message {content}")
        if kind == "CloseStream":
            metadata = {"type": "Metadata", "request_id": "r", "duration": self._final_s}
            await self._socket.send_json(metadata)
            await self._socket.close()
            return False
        return kind != "Finalize" or await self._finalize()

    async def _finalize(self) -> bool:
        stand_in = self._stand_in
        match stand_in.fault:
            case "cut":
                assert self._request.transport is not None
                self._request.transport.abort()
                return False
            case "close":
                await self._socket.close(code=1011, message=b"NET-0000 could not transcribe")
                return False
            case "malformed":
                await self._socket.send_str("<html>")
                return True
            case "error_event":
                error = {"type": "Error", "variant": "SchemaError", "description": "What?"}
                await self._socket.send_json(error)
                return True
            case "stall":
                return True
        audio, self._audio, self._interims = self._audio, b"", 0
        start, duration = self._final_s, g711.seconds(audio)
        self._final_s += duration
        if not audio:
            return True
        text = stand_in.understand(audio)
        match stand_in.finalize:
            case "answered":
                await self._send_results(text, start, duration, from_finalize=True)
            case "early":  # all but the last moment was final before
                await self._send_results(text, start, duration - 0.02)
                await self._send_results("", start + duration - 0.02, 0.02, from_finalize=True)
            case "unanswered":
                await self._send_results(text, start, duration, is_final=False)
        return True

    async def _send_results(
        self,
        text: str,
        start: float,
        duration: float,
        *,
        is_final: bool = True,
        from_finalize: bool = False,
    ) -> None:
        await self._socket.send_json(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": start,
                "duration": duration + 4e-7,
                "is_final": is_final,
                "speech_final": False,
                "from_finalize": from_finalize,
                "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": []}]},
                "metadata": {"request_id": "r", "model_uuid": "m"},
            }
        )
