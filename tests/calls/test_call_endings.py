"""How open streams go wrong or end, what the server may send, and what else runs beside a call."""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from calls.twilio_peers import (
    BRISK,
    QUICK,
    SENTENCE,
    Arrived,
    Gateway,
    RawServe,
    Stream,
    Talker,
    answering,
    call,
    connect_twiml,
    conversation,
    options,
    place,
    raw_server,
    raw_stream_call,
    running,
    switch,
    tone,
    xml,
)
from doctor.addresses import Address, Detour, parse_stream_url
from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.calls import CallsSummary, place_calls
from doctor.caller.outcome import CallReport
from doctor.dial import default_tls
from doctor.websocket import WRITE_LIMIT, open_socket


class Watched:
    """A call that tells when something has happened."""

    def __init__(self, chosen: CallOptions) -> None:
        self._happened: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.call = SimulatedCall(chosen, on_event=lambda told: self.at(told["event"]).set())
        self.task = asyncio.create_task(self.call.run())

    def at(self, event: str) -> asyncio.Event:
        return self._happened[event]


@pytest.mark.parametrize(
    ("code", "after_audio", "expected"),
    [
        pytest.param(1008, True, 31921, id="policy"),
        pytest.param(1011, True, 31921, id="failed"),
        pytest.param(1001, True, 31921, id="going away"),
        pytest.param(1000, False, 31921, id="normal, and never spoke"),
        pytest.param(1000, True, None, id="normal, having spoken"),
    ],
)
def test_a_close_by_the_server_is_31921_unless_the_conversation_was_over(
    code: int, after_audio: bool, expected: int | None
) -> None:
    async def serve(stream: Stream) -> None:
        await stream.until("start")
        if after_audio:
            await stream.play(tone(0.02))
        await stream.socket.close(code=code, message=b"because")

    report = call(serve=serve)
    assert report.twilio_error == expected
    assert report.stream is not None
    assert (report.stream.close_code, report.stream.close_reason) == (code, "because")
    assert report.stream.ended_by == "server"
    if expected is not None:
        assert report.error_saw == f"the server closed {code}: because"


async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def sending(data: bytes) -> RawServe:
    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read(-1)

    return then


@pytest.mark.parametrize(
    ("then", "code"),
    [
        pytest.param(cut, 31903, id="the connection ends without Close"),
        pytest.param(reset, 31903, id="the connection is reset"),
        pytest.param(sending(b"\xc1\x05hello"), 31924, id="compressed"),
        pytest.param(sending(b"\x81\x85\0\0\0\0hello"), 31924, id="masked"),
        pytest.param(sending(b"\x09\x00"), 31924, id="a ping in fragments"),
        pytest.param(sending(b"\x83\x00"), 31924, id="a reserved opcode"),
        pytest.param(sending(b"\x88\x02\x03\xe8"), 31921, id="a Close at once"),
        pytest.param(sending(b"\x88\x00"), 31921, id="a Close without a code"),
    ],
)
def test_a_connection_that_breaks_has_its_code(then: RawServe, code: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(reader, writer)
        await then(reader, writer)

    report = raw_stream_call(serve)
    assert report.stream is not None
    assert report.stream.status == 101
    assert report.twilio_error == code
    assert report.duration_s < 2


def test_frames_behind_the_101_in_one_segment_are_read() -> None:
    class Together:
        """Adds a Close to the 101, in one write."""

        def __init__(self, writer: asyncio.StreamWriter) -> None:
            self._writer = writer

        def write(self, head: bytes) -> None:
            self._writer.write(head + b"\x89\x02hi" + b"\x88\x06\x03\xf0" + b"full")

    pongs: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(reader, Together(writer))  # type: ignore[arg-type]
        pongs.append(await reader.read(-1))

    report = raw_stream_call(serve)
    assert report.error_saw == "the server closed 1008: full"
    assert pongs[0][:2] == b"\x8a\x82"  # masked, as a client's are


Misbehave = Callable[[Stream], Awaitable[None]]


@pytest.mark.parametrize(
    ("send", "code"),
    [
        pytest.param(lambda stream: stream.socket.send_bytes(tone(0.02)), 31950, id="binary"),
        pytest.param(lambda stream: stream.socket.send_str("hello"), 31951, id="no JSON"),
        pytest.param(lambda stream: stream.send("hangup"), 31951, id="unknown event"),
        pytest.param(lambda stream: stream.send("clear", streamSid="MZ1"), 31951, id="wrong SID"),
        pytest.param(
            lambda stream: stream.send("media", media={"payload": "/w==", "track": "outbound"}),
            31951,
            id="extra field",
        ),
    ],
)
def test_messages_that_twilio_objects_to_are_warnings_and_the_call_goes_on(
    send: Misbehave, code: int
) -> None:
    async def serve(stream: Stream) -> None:
        await stream.until("start")
        await send(stream)
        await send(stream)
        await stream.drain()

    report = call(serve=serve)
    assert [warning.code for warning in report.warnings] == [code]
    assert report.twilio_error is None
    assert report.ended_by == "caller"


def test_ten_minutes_of_speech_at_once_are_31931() -> None:
    async def serve(stream: Stream) -> None:
        await stream.until("start")
        for _ in range(11):
            await stream.play(b"\xff" * 480_000)
        await stream.send("clear")
        await stream.mark("all was read")
        await stream.until("mark")

    report = call(serve=serve, manners=replace(BRISK, greeting_s=9.0))
    assert [warning.code for warning in report.warnings] == [31931]
    assert report.stream is not None
    assert 590_000 < report.stream.ahead_ms_max <= 600_000
    assert report.twilio_error is None


def test_a_server_that_does_not_read_is_sent_no_more() -> None:
    """31930: what the caller says is dropped, and the process does not fill up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    async def run() -> tuple[int, int]:
        async with raw_server(serve) as port:
            url = f"ws://127.0.0.1:{port}/"
            target, _ = parse_stream_url(url, None, may_be_plain=True)
            way = Detour("127.0.0.1", Address("127.0.0.1", port)), default_tls(), QUICK
            sock = await open_socket(target, None, *way)
            sent = 0
            while sock.send("x" * 10_000) and sent < 5_000:
                sent += 1
                await asyncio.sleep(0)
            waiting = sock._writer.transport.get_write_buffer_size()
            await sock.end()
            return sock.dropped, waiting

    dropped, waiting = asyncio.run(run())
    assert dropped == 1
    assert WRITE_LIMIT < waiting < WRITE_LIMIT + 20_000


def test_a_server_that_ignores_the_close_is_left_behind_in_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await switch(reader, writer)
        while await reader.read(65536):
            pass
        await asyncio.sleep(30)

    report = raw_stream_call(serve)
    assert report.ended_by == "caller"
    assert report.twilio_error is None
    assert report.duration_s < 0.3 + 0.2 + QUICK.close_s + 1


# From outside

HOLD = "<Response><Say>Please hold</Say><Pause length='9'/></Response>"


def test_hanging_up_ends_the_stream_with_stop() -> None:
    async def run() -> tuple[CallReport, Stream]:
        async with running(serve=Talker()) as gateway:
            placed = Watched(options(gateway, says=(SENTENCE * 50,)))
            await placed.at("caller_speaks").wait()
            placed.call.hang_up()
            return await placed.task, gateway.streams[0]

    report, stream = asyncio.run(run())
    assert report.ended_by == "api"
    assert stream.received[-1]["event"] == "stop"
    assert report.duration_s < 2


def test_a_redirect_leaves_the_stream_for_other_twiml() -> None:
    def hook(gateway: Gateway, request: Arrived) -> web.StreamResponse:
        ends = request.path.endswith("/end")
        return xml("<Response/>") if ends else conversation(gateway, request)

    async def run() -> tuple[CallReport, list[str]]:
        async with running(hook) as gateway:
            placed = Watched(options(gateway, says=(SENTENCE * 50,)))
            await placed.at("stream_opened").wait()
            placed.call.redirect(twiml=HOLD)
            await placed.at("said").wait()
            placed.call.redirect(url=f"{gateway.url}/end")
            return await placed.task, [told.path for told in gateway.requests]

    report, paths = asyncio.run(run())
    assert report.said == ["Please hold"]
    assert paths == ["/voice/webhook", "/voice/webhook/end"]
    assert report.streams[0].ended_by == "caller"


def test_the_limit_hangs_up_even_while_the_webhook_is_silent() -> None:
    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async def run() -> CallReport:
        async with raw_server(never) as port:
            url = f"http://127.0.0.1:{port}/"
            async with running() as gateway:
                return await place(options(gateway, webhook_url=url, limit_s=0.1))

    report = asyncio.run(run())
    assert report.ended_by == "limit"
    assert report.duration_s < 0.5


def test_a_call_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run() -> list[str]:
        ended = asyncio.Event()

        async def serve(stream: Stream) -> None:
            await stream.drain()
            ended.set()

        async with running(serve=serve) as gateway:
            placed = Watched(options(gateway, record=tmp_path / "a.wav", says=(SENTENCE * 50,)))
            await placed.at("caller_speaks").wait()
            placed.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await placed.task
            await ended.wait()
            return [name for task in asyncio.all_tasks() if "doctor" in (name := repr(task))]

    assert asyncio.run(run()) == []
    assert list(tmp_path.iterdir()) == []


# Through a detour, and many at once


def test_a_public_url_is_called_at_another_address_with_its_name_and_signature() -> None:
    async def run() -> tuple[CallReport, list[str | None], str | None]:
        twiml = connect_twiml("wss://voice.example.com/voice/stream")
        async with running(answering(twiml), Talker()) as gateway:
            chosen = options(
                gateway,
                webhook_url="https://voice.example.com/voice/webhook",
                connect_to=Address("127.0.0.1", gateway.port),
                plain=True,
                says=(SENTENCE,),
            )
            report = await place(chosen)
            arrived = [gateway.requests[0], gateway.upgrades[0]]
            hosts = [told.value("Host") for told in arrived]
            return report, hosts, gateway.upgrades[0].value("X-Twilio-Signature")

    report, hosts, signature = asyncio.run(run())
    assert report.twilio_error is None
    assert hosts == ["voice.example.com"] * 2
    assert signature is not None
    assert len(report.turns) == 1


def test_a_stream_on_another_host_is_not_taken_through_the_detour() -> None:
    async def run() -> CallReport:
        twiml = connect_twiml("wss://elsewhere..example/voice/stream")
        async with running(answering(twiml)) as gateway:
            here = Address("127.0.0.1", gateway.port)
            url = "http://voice.example.com/voice/webhook"
            return await place(options(gateway, webhook_url=url, connect_to=here))

    report = asyncio.run(run())
    assert report.twilio_error == 31904
    assert "--connect-to" in report.warnings[0].saw


def test_twenty_calls_at_once_each_have_their_own_conversation(tmp_path: Path) -> None:
    async def run() -> tuple[CallsSummary, list[Stream]]:
        async with running(serve=lambda stream: Talker()(stream)) as gateway:
            chosen = options(gateway, says=(SENTENCE,), record=tmp_path / "call.wav")
            return await place_calls(chosen, 20), gateway.streams

    summary, streams = asyncio.run(run())
    told = summary.as_json()
    assert (told["calls"], told["failed"], told["errors"]) == (20, 0, {})
    assert (told["turns"], told["turns_answered"]) == (20, 20)
    assert told["ended_by"] == {"caller": 20}
    assert told["answer_ms"]["median"] == pytest.approx(100, abs=60)
    assert len({report.call_sid for report in summary.reports}) == 20
    assert len({stream.sid for stream in streams}) == 20
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"call-{number}.wav" for number in range(1, 21)}


def test_failures_of_many_calls_are_counted_by_code() -> None:
    async def run() -> CallsSummary:
        async with running(lambda _gateway, _request: xml("<Response>")) as gateway:
            return await place_calls(options(gateway), 3)

    told = asyncio.run(run()).as_json()
    assert (told["failed"], told["errors"]) == (3, {"12100": 3})
    assert told["answer_ms"] is None
