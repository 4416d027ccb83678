"""OpenAI: speech, chat completions, and (openai_realtime.py) the two kinds of realtime session."""

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from stand_ins.openai_realtime import ConversationSession, Session, TranscriptionSession
from stand_ins.server import Fault, StandIn, cut, read_json, tone

_REFUSALS: dict[Fault, tuple[int, str, str | None, str]] = {
    "unauthorized": (
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: sk-stand-************cdef. You can find your API key at ...",
    ),
    "no_credit": (402, "billing_error", None, "Payment required."),
    "out_of_quota": (
        429,
        "insufficient_quota",
        "credit_balance_exhausted",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "rate_limited": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "refused": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "broken": (500, "server_error", None, "The server had an error. Sorry about that!"),
}
VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
_SPEECH_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
_SPEECH_FIELDS = {"speed": float, "instructions": str, "stream_format": str}
_CHAT_FIELDS = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "temperature": float,
    "user": str,
    "stream_options": dict,
    "reasoning_effort": str,
}
PIECE_BYTES = 4801  # odd: the network knows nothing of samples


class OpenAIStandIn(StandIn):
    """`replies` are said by the chat model in turn, each as a list of tokens; then `reply`."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[list[str]] = []
        self.reply = ["It ", "is ", "half ", "past ", "three."]
        self.spoken: list[dict[str, Any]] = []  # each request for speech
        self.chats: list[dict[str, Any]] = []  # each request for a completion
        self.sessions: list[Session] = []  # each realtime session
        self.chat_stream: bytes | None = None  # a body of the test's own instead of `reply`
        self.chat_media = "text/event-stream; charset=utf-8"

    @staticmethod
    def speech(text: str) -> bytes:
        """The 24 kHz samples that it answers, as bytes."""
        return tone(text, 24000).astype("<i2").tobytes()

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/v1/models", self._models),
            web.post("/v1/audio/speech", self._speak),
            web.post("/v1/chat/completions", self._chat),
            web.get("/v1/realtime", self._realtime),
        ]

    def refusal(self, fault: Fault) -> tuple[int, dict[str, Any]]:
        status, kind, code, message = _REFUSALS[fault]
        return status, {"error": {"message": message, "type": kind, "param": None, "code": code}}

    async def _begin(self, request: web.Request) -> web.StreamResponse | None:
        if (answer := await self.fail_early(request)) is not None:
            return answer
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            self.complain(f"{request.path}: the scheme of the key is {scheme!r}")
        if "OpenAI-Beta" in request.headers:
            self.complain("OpenAI-Beta was for the interface before this one")
        return self.refuse("unauthorized") if key != self.api_key else None

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        models = [{"id": f"gpt-{number}", "object": "model"} for number in range(2000)]
        return web.json_response({"object": "list", "data": models})

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        if request.content_type != "application/json" or request.query:
            self.complain(f"speech is asked for in {request.content_type}, {request.query_string}")
        content = await read_json(request)
        required = {"model": str, "input": str, "voice": str, "response_format": str}
        if not self.check_json(content, "speech", required, _SPEECH_FIELDS):
            return self._invalid("invalid body", None)
        self.spoken.append(content)
        if content["model"] not in _SPEECH_MODELS:
            return self.refuse("refused")
        if content["voice"] not in VOICES:
            return self._invalid("Input should be 'alloy', 'ash', ...", "voice")
        if content["response_format"] != "pcm":
            self.complain(f"speech as {content['response_format']}")
        if "instructions" in content and content["model"] != "gpt-4o-mini-tts":
            self.complain("tts-1 takes no instructions")
        if not 0 < len(content["input"]) <= 4096:
            self.complain(f"speech of {len(content['input'])} characters")
            return self._invalid("string_too_long", "input")
        pieces = cut(self.speech(content["input"]), PIECE_BYTES)
        if self.fault == "malformed":
            return web.json_response({"audio": "none"})
        return await self.send_pieces(request, "audio/pcm", pieces)

    def _invalid(self, message: str, param: str | None) -> web.Response:
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": "invalid_value",
        }
        return web.json_response({"error": error}, status=400)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        content = await read_json(request)
        required = {"model": str, "messages": list, "stream": bool}
        if not self.check_json(content, "chat", required, _CHAT_FIELDS):
            return self._invalid("invalid body", None)
        if not content["stream"] or request.content_type != "application/json":
            self.complain("a completion that is not streamed, or not asked for in JSON")
        self._check_messages(content["messages"])
        self.chats.append(content)
        if self.chat_stream is not None:
            return await self.send_pieces(request, self.chat_media, cut(self.chat_stream, 7))
        tokens = self.replies.pop(0) if self.replies else self.reply
        chunks = [{"role": "assistant", "content": ""}, *({"content": token} for token in tokens)]
        pieces = [chunk(delta) for delta in chunks]
        if self.fault == "error_event":
            error = self.refusal("broken")[1]
            pieces[len(pieces) // 2 :] = [f"data: {json.dumps(error)}\n\n".encode()]
        return await self.send_pieces(
            request, self.chat_media, pieces, chunk({}, "stop") + b"data: [DONE]\n\n"
        )

    def _check_messages(self, messages: list[Any]) -> None:
        roles = [message.get("role") for message in messages]
        for message in messages:
            is_message = self.check_json(message, "message", {"role": str, "content": str}, {})
            if is_message and not message["content"].strip():
                self.complain("a message without words")
        said = roles[1:] if roles[:1] == ["system"] else roles
        if said[::2] != ["user"] * len(said[::2]) or set(said[1::2]) - {"assistant"}:
            self.complain(f"user and assistant do not alternate: {roles}")
        if said[-1:] != ["user"]:
            self.complain(f"the user does not have the last word: {roles}")

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if (answer := await self._begin(request)) is not None:
            return answer
        query = dict(request.query)
        kind: type[Session] | None = None
        if query == {"intent": "transcription"}:
            kind = TranscriptionSession
        elif query.keys() == {"model"} and query["model"].startswith("gpt-realtime"):
            kind = ConversationSession
        if kind is None:
            self.complain(f"the query of a session is {query}")
            return self._invalid("no such session", "model")
        socket = web.WebSocketResponse(max_msg_size=15 << 20)
        await socket.prepare(request)
        self.record("session")
        session = kind(self, request, socket)
        self.sessions.append(session)
        try:
            await session.run()
        finally:
            self.record("session ended")
        return socket


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """One event of a streamed completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    content = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(content)}\n\n".encode()
