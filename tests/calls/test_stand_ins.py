"""The stand-ins are strict: what a vendor would not take is refused and complained about."""

import asyncio
import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway import g711
from stand_ins import DeepgramStandIn, ElevenLabsStandIn, OpenAIStandIn
from stand_ins.server import StandIn

SPEECH = {"model": "tts-1", "input": "Hello.", "voice": "onyx", "response_format": "pcm"}
CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello."}]}
BEARER = {"Authorization": f"Bearer {StandIn.api_key}"}
TOKEN = {"Authorization": f"Token {StandIn.api_key}"}
XI = {"xi-api-key": StandIn.api_key}
VOICE = "/v1/text-to-speech/nPczCjzI2devNBz1zQrb/stream"
SCRIBE = (
    "/v1/speech-to-text/realtime?model_id=scribe_v2_realtime&audio_format=ulaw_8000"
    "&commit_strategy=manual"
)
LISTEN = (
    "/v1/listen?model=nova-3&encoding=mulaw&sample_rate=8000&channels=1&endpointing=false"
    "&interim_results=true"
)
TRANSCRIPTION = {
    "format": {"type": "audio/pcmu"},
    "transcription": {"model": "gpt-live-transcribe"},
    "turn_detection": None,
}


async def _complaints(
    vendor: StandIn, path: str, headers: dict[str, str], content: Any = None
) -> list[str]:
    await vendor.start()
    method = "POST" if content is not None else "GET"
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, vendor.url + path, headers=headers, json=content) as answer,
    ):
        await answer.read()
    await vendor.stop()
    return vendor.complaints


async def _socket_complaints(
    vendor: StandIn, path: str, headers: dict[str, str], *messages: Any
) -> list[str]:
    await vendor.start()
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(vendor.url + path, headers=headers) as socket,
    ):
        for message in messages:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_json(message)
    await vendor.seen("session ended")
    await vendor.stop()
    return vendor.complaints


@pytest.mark.parametrize(
    ("vendor", "path", "headers", "content", "complaint"),
    [
        (OpenAIStandIn, "/v1/audio/speech", BEARER, SPEECH, None),
        (OpenAIStandIn, "/v1/audio/speech", TOKEN, SPEECH, "scheme"),
        (OpenAIStandIn, "/v1/audio/speech", BEARER, SPEECH | {"style": "x"}, "unknown field"),
        (OpenAIStandIn, "/v1/audio/speech", BEARER, {"model": "tts-1"}, "is missing"),
        (OpenAIStandIn, "/v1/audio/speech", BEARER, SPEECH | {"response_format": "mp3"}, "mp3"),
        (OpenAIStandIn, "/v1/audio/speech", BEARER, SPEECH | {"input": ""}, "0 characters"),
        (OpenAIStandIn, "/v1/audio/speech", BEARER, SPEECH | {"instructions": "x"}, "takes no"),
        (OpenAIStandIn, "/v1/audio/speak", BEARER, SPEECH, "no endpoint"),
        (OpenAIStandIn, "/v1/models", BEARER | {"OpenAI-Beta": "realtime=v1"}, None, "Beta"),
        (OpenAIStandIn, "/v1/chat/completions", BEARER, CHAT, None),
        (OpenAIStandIn, "/v1/chat/completions", BEARER, CHAT | {"stream": False}, "not streamed"),
        (OpenAIStandIn, "/v1/chat/completions", BEARER, CHAT | {"messages": []}, "last word"),
        (
            OpenAIStandIn,
            "/v1/chat/completions",
            BEARER,
            CHAT | {"messages": CHAT["messages"] * 2},  # type: ignore[operator]
            "alternate",
        ),
        (OpenAIStandIn, "/v1/realtime?intent=talk", BEARER, None, "query"),
        (ElevenLabsStandIn, f"{VOICE}?output_format=ulaw_8000", XI, {"text": "Hello."}, None),
        (ElevenLabsStandIn, VOICE, XI, {"text": "Hello."}, "query"),
        (ElevenLabsStandIn, f"{VOICE}?output_format=ulaw_8000", XI, {"model_id": "m"}, "missing"),
        (ElevenLabsStandIn, "/v1/models", XI | BEARER, None, "xi-api-key alone"),
        (DeepgramStandIn, "/v1/models", BEARER, None, "scheme"),
    ],
)
def test_a_request_that_no_vendor_would_take_is_a_complaint(
    vendor: type[StandIn],
    path: str,
    headers: dict[str, str],
    content: Any,
    complaint: str | None,
) -> None:
    complaints = asyncio.run(_complaints(vendor(), path, headers, content))
    assert bool(complaints) is bool(complaint)
    assert all(complaint in text for text in complaints if complaint)


def _update(**changes: Any) -> dict[str, Any]:
    audio = {"input": TRANSCRIPTION | changes}
    return {"type": "session.update", "session": {"type": "transcription", "audio": audio}}


def _append(audio: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}


def _chunk(audio: bytes, **changes: Any) -> dict[str, Any]:
    encoded = base64.b64encode(audio).decode()
    chunk = {"message_type": "input_audio_chunk", "audio_base_64": encoded, "commit": False}
    return chunk | {"sample_rate": 8000} | changes


SECOND = g711.SILENCE * 8000
COMMIT = {"type": "input_audio_buffer.commit"}
INTENT = "/v1/realtime?intent=transcription"


@pytest.mark.parametrize(
    ("vendor", "path", "headers", "messages", "complaint"),
    [
        (OpenAIStandIn, INTENT, BEARER, [_update(), _append(SECOND), COMMIT], None),
        (OpenAIStandIn, INTENT, BEARER, [_append(SECOND)], "before session.update"),
        (OpenAIStandIn, INTENT, BEARER, [_update(), COMMIT], "a commit of 0"),
        (OpenAIStandIn, INTENT, BEARER, [_update(format="g711_ulaw")], "the format"),
        (OpenAIStandIn, INTENT, BEARER, [_update(turn_detection={})], "turn detection"),
        (OpenAIStandIn, INTENT, BEARER, [_update(), {"type": "commit"}], "unknown event"),
        (OpenAIStandIn, INTENT, BEARER, [_update(), SECOND], "of type"),
        (ElevenLabsStandIn, SCRIBE, XI, [_chunk(SECOND), _chunk(b"", commit=True)], None),
        (ElevenLabsStandIn, SCRIBE, XI, [_chunk(b"", commit=True)], "a commit of 0"),
        (ElevenLabsStandIn, SCRIBE, XI, [_chunk(SECOND, sample_rate=16000)], "16000"),
        (ElevenLabsStandIn, f"{SCRIBE}&vad=1", XI, [], "query"),
        (DeepgramStandIn, LISTEN, TOKEN, [SECOND, {"type": "Finalize"}], None),
        (DeepgramStandIn, LISTEN, TOKEN, [b""], "an empty message"),
        (DeepgramStandIn, LISTEN, TOKEN, [{"type": "Flush"}], "a message"),
        (DeepgramStandIn, f"{LISTEN}&codec=x", TOKEN, [], "unknown in the query"),
        (DeepgramStandIn, LISTEN.replace("mulaw", "linear16"), TOKEN, [], "wrong in the query"),
    ],
)
def test_a_message_that_no_vendor_would_take_is_a_complaint(
    vendor: type[StandIn],
    path: str,
    headers: dict[str, str],
    messages: list[Any],
    complaint: str | None,
) -> None:
    complaints = asyncio.run(_socket_complaints(vendor(), path, headers, *messages))
    assert bool(complaints) is bool(complaint)
    assert all(complaint in text for text in complaints if complaint)


def test_a_complaint_fails_the_test() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor:
            vendor.complain("what was that?")

    with pytest.raises(AssertionError, match="what was that"):
        asyncio.run(call())


def test_a_stand_in_serves_from_a_thread_of_its_own() -> None:
    with OpenAIStandIn() as vendor:
        connection = http.client.HTTPConnection(urlsplit(vendor.url).netloc, timeout=10)
        headers = BEARER | {"Content-Type": "application/json"}
        connection.request("POST", "/v1/audio/speech", json.dumps(SPEECH), headers)
        assert connection.getresponse().read() == vendor.speech("Hello.")
        vendor.wait_seen("answered")
        vendor.fail_with("out_of_quota")
        connection.request("POST", "/v1/audio/speech", json.dumps(SPEECH), headers)
        answer = connection.getresponse()
        assert answer.status == 429
        assert json.loads(answer.read())["error"]["type"] == "insufficient_quota"
        connection.close()
