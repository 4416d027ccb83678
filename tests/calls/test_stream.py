"""A media stream's pacing: full frames, so many at a time, and what is left behind a mark."""

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from gateway.g711 import FRAME_BYTES
from gateway.messages import Started
from gateway.stream import BUFFER_S, Stream, StreamEndedError
from gateway.websocket import MediaSocket

SID = "MZ" + "0" * 32
STARTED = Started(1, SID, "", "CA1", ("inbound",), "audio/x-mulaw", 8000, 1, {})
FULL = int(BUFFER_S * 50)  # frames that fill Twilio's buffer


class Writes:
    """A socket that keeps what it is given, one list for each write."""

    def __init__(self) -> None:
        self.all: list[list[dict[str, Any]]] = []
        self.is_open = True
        self.written = asyncio.Event()

    def send(self, *texts: str) -> bool:
        if self.is_open:
            self.all.append([json.loads(text) for text in texts])
            self.written.set()
        return self.is_open

    def audio(self) -> bytes:
        messages = [message for write in self.all for message in write]
        payloads = [each["media"]["payload"] for each in messages if each["event"] == "media"]
        return b"".join(map(base64.b64decode, payloads))


def _run(test: Callable[[Stream, Writes], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        writes = Writes()
        async with asyncio.timeout(20):
            await test(Stream(cast(MediaSocket, writes), STARTED), writes)

    asyncio.run(main())


def test_audio_that_there_is_room_for_leaves_in_one_write() -> None:
    async def test(stream: Stream, writes: Writes) -> None:
        audio = bytes(range(256)) * 20
        await stream.play(audio)
        [frames] = writes.all
        assert {len(base64.b64decode(each["media"]["payload"])) for each in frames} == {FRAME_BYTES}
        assert writes.audio() == audio
        assert stream.ahead_s == pytest.approx(len(audio) / 8000, abs=0.1)

    _run(test)


def test_a_full_buffer_holds_the_rest_back() -> None:
    async def test(stream: Stream, writes: Writes) -> None:
        audio = bytes(range(256)) * FULL  # 1.6 s
        playing = asyncio.create_task(stream.play(audio))
        await writes.written.wait()
        assert [len(write) for write in writes.all] == [FULL]
        assert not playing.done()
        await playing
        assert writes.audio() == audio
        assert stream.ahead_s <= BUFFER_S

    _run(test)


def test_less_than_a_frame_waits_for_more_audio_or_for_a_mark() -> None:
    async def test(stream: Stream, writes: Writes) -> None:
        await stream.play(b"a" * 100)
        assert writes.all == []
        await stream.play(b"b" * 100)
        assert writes.audio() == b"a" * 100 + b"b" * 60
        stream.mark("said-1")
        assert writes.audio() == b"a" * 100 + b"b" * 100
        assert writes.all[-1] == [{"event": "mark", "streamSid": SID, "mark": {"name": "said-1"}}]

    _run(test)


def test_clear_drops_what_was_held() -> None:
    async def test(stream: Stream, writes: Writes) -> None:
        await stream.play(b"a" * 200)
        echoed = stream.mark("said-1")
        await stream.play(b"b" * 100)
        stream.clear()
        assert not await echoed
        assert stream.ahead_s == 0
        await stream.play(b"c" * FRAME_BYTES)
        assert writes.audio() == b"a" * 200 + b"c" * FRAME_BYTES

    _run(test)


def test_a_socket_that_is_gone_ends_the_playing() -> None:
    async def test(stream: Stream, writes: Writes) -> None:
        writes.is_open = False
        with pytest.raises(StreamEndedError):
            await stream.play(b"a" * FRAME_BYTES)
        with pytest.raises(StreamEndedError):
            stream.mark("said-1")

    _run(test)
