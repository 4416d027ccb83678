"""The simulated caller against gateways that do well, and gateways that fail in each known way."""

import asyncio
import base64
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from twilio.request_validator import RequestValidator

from calls.twilio_peers import (
    SENTENCE,
    TOKEN,
    Arrived,
    Gateway,
    Stream,
    Talker,
    answering,
    call,
    connect_twiml,
    options,
    place,
    raw_stream_call,
    read_head,
    running,
    silent,
    tone,
)
from doctor.caller.outcome import CallReport

VALIDATOR = RequestValidator(TOKEN)
KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


# What is sent


def test_the_webhook_is_posted_as_twilio_does_it() -> None:
    async def run() -> tuple[Arrived, str]:
        async with running(answering("<Response/>")) as gateway:
            await place(options(gateway, account_sid="AC1", call_sid="CA1"))
            return gateway.requests[0], gateway.url

    arrived, url = asyncio.run(run())
    names = [name for name, _ in arrived.fields]
    assert names == [
        "Host",
        "User-Agent",
        "Content-Length",
        "Content-Type",
        "X-Twilio-Signature",
        "I-Twilio-Idempotency-Token",
        "Accept",
    ]
    assert arrived.method == "POST"
    assert arrived.value("User-Agent") == "TwilioProxy/1.1"
    assert arrived.value("Accept") == "*/*"
    assert arrived.value("Content-Type") == "application/x-www-form-urlencoded; charset=UTF-8"
    form = arrived.form
    assert VALIDATOR.validate(url, form, arrived.value("X-Twilio-Signature"))
    assert (form["AccountSid"], form["CallSid"]) == ("AC1", "CA1")
    assert (form["CallStatus"], form["Direction"]) == ("ringing", "inbound")
    assert form["ApiVersion"] == "2010-04-01"
    assert form["From"] == form["Caller"] != form["To"] == form["Called"]
    assert form["FromCity"] == ""  # fields that are empty are sent, and signed


def test_the_upgrade_has_exactly_twilios_fields_on_the_wire() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    report = raw_stream_call(serve)
    assert report.stream is not None
    [head] = heads
    first, *lines, end, rest = head.decode().split("\r\n")
    assert (first, end, rest) == ("GET /voice/stream HTTP/1.1", "", "")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    key = dict(fields)["Sec-WebSocket-Key"]
    assert KEY.fullmatch(key)
    assert fields == [
        ("Host", report.stream.url.split("/")[2]),
        ("User-Agent", "Twilio.TmeWs/1.0"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
        ("X-Twilio-Signature", VALIDATOR.compute_signature(report.stream.url, {})),
    ]


def test_a_call_without_a_token_is_unsigned_and_says_so() -> None:
    async def run() -> tuple[CallReport, Gateway]:
        async with running() as gateway:
            return await place(options(gateway, auth_token=None)), gateway

    report, gateway = asyncio.run(run())
    assert not report.is_signed
    for arrived in (gateway.requests[0], gateway.upgrades[0]):
        assert arrived.value("X-Twilio-Signature") is None


def test_messages_come_in_twilios_order_and_the_stream_ends_with_stop_and_close() -> None:
    async def run() -> tuple[CallReport, Stream]:
        async with running(serve=silent) as gateway:
            return await place(options(gateway, says=(SENTENCE,))), gateway.streams[0]

    report, stream = asyncio.run(run())
    events = [told["event"] for told in stream.received]
    assert events[:2] == ["connected", "start"]
    assert set(events[2:-1]) == {"media"}
    assert events[-1] == "stop"
    numbers = [int(told["sequenceNumber"]) for told in stream.received[1:]]
    assert numbers == list(range(1, len(events)))
    assert stream.received[1]["start"]["callSid"] == report.call_sid
    assert report.ended_by == "caller"
    assert report.twilio_error is None
    # What the library calls 1005: the Close came, and held no code.
    assert stream.socket.close_code in (0, 1005)


def test_the_caller_speaks_at_a_cadence_of_20_ms_that_does_not_drift() -> None:
    async def run() -> Stream:
        async with running(serve=silent) as gateway:
            await place(options(gateway, says=(SENTENCE * 5,)))
            return gateway.streams[0]

    stream = asyncio.run(run())
    media = [
        (told["media"], at)
        for told, at in zip(stream.received, stream.times, strict=True)
        if told["event"] == "media"
    ]
    stamps = [int(content["timestamp"]) for content, _ in media]
    assert stamps == [20 * number for number in range(1, len(media) + 1)]
    assert [content["chunk"] for content, _ in media] == [str(n) for n in range(1, len(media) + 1)]
    took_s = media[-1][1] - media[0][1]
    assert took_s == pytest.approx((len(media) - 1) * 0.02, abs=0.06)
    heard = b"".join(base64.b64decode(content["payload"]) for content, _ in media)
    assert heard.strip(b"\xff") == SENTENCE * 5


def test_parameters_arrive_and_a_query_does_not() -> None:
    inner = '<Parameter name="token" value="t&amp;1"/>'

    async def run() -> tuple[CallReport, Gateway]:
        hook = answering(connect_twiml("STREAM?token=lost", inner))
        async with running(hook) as gateway:
            return await place(options(gateway)), gateway

    report, gateway = asyncio.run(run())
    assert gateway.upgrades[0].path == "/voice/stream"
    signature = gateway.upgrades[0].value("X-Twilio-Signature")
    assert VALIDATOR.validate(gateway.stream_url, {}, signature)
    assert gateway.streams[0].received[1]["start"]["customParameters"] == {"token": "t&1"}
    assert [warning.code for warning in report.warnings] == [31920]
    assert report.twilio_error is None


# What a conversation measures


def test_a_conversation_is_timed_turn_by_turn() -> None:
    report = call(serve=Talker(pause_s=0.1), says=(SENTENCE, SENTENCE))
    assert report.twilio_error is None
    assert report.warnings == []
    assert report.stream is not None
    media = report.stream.media()
    assert media["first_audio_ms"] < 100
    assert media["received"] == 30
    assert media["received_bytes"] == 30 * 160
    assert (media["marks"], media["marks_echoed"], media["underruns"]) == (3, 3, 0)
    assert media["gap_ms_max"] == pytest.approx(20, abs=18)
    assert report.stream.greeting is not None
    assert report.stream.greeting["spoke_ms"] == pytest.approx(200, abs=45)
    assert len(report.turns) == 2
    for turn in report.turns:
        assert turn["said_ms"] == 200
        # The agent hears 100 ms of quiet, in frames of 20 ms.
        assert turn["answer_ms"] == pytest.approx(100, abs=50)
        assert turn["spoke_ms"] == pytest.approx(200, abs=45)
    assert report.ended_by == "caller"


def test_a_hole_in_the_agents_speech_is_a_gap_and_an_underrun() -> None:
    talker = Talker()
    talker.hole_s = 0.1
    report = call(serve=talker, says=(SENTENCE,))
    assert report.stream is not None
    assert report.stream.underruns == 2  # in the greeting, and in the answer
    assert report.stream.gap_ms_max == pytest.approx(120, abs=20)


def test_a_mark_is_echoed_when_it_was_played_and_not_when_it_came() -> None:
    echoed: dict[str, float] = {}

    async def serve(stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        await stream.until("start")
        await stream.mark("nothing before it")
        await stream.play(tone(0.3))
        await stream.mark("after 300 ms")
        sent = loop.time()
        while (told := await stream.next()) is not None:
            if told["event"] == "mark":
                echoed[told["mark"]["name"]] = loop.time() - sent

    call(serve=serve)
    assert echoed["nothing before it"] == pytest.approx(0.01, abs=0.04)
    assert echoed["after 300 ms"] == pytest.approx(0.31, abs=0.04)


def test_clear_echoes_marks_at_once_and_silences_the_agent() -> None:
    echoed: list[float] = []

    async def serve(stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        await stream.until("start")
        await stream.play(tone(5))
        await stream.mark("end")
        await stream.until("media")
        await stream.send("clear")
        cleared = loop.time()
        await stream.until("mark")
        echoed.append(loop.time() - cleared)
        await stream.drain()

    report = call(serve=serve)
    assert echoed[0] < 0.06
    assert report.stream is not None
    assert (report.stream.clears, report.stream.marks_echoed) == (1, 1)
    assert report.stream.greeting is not None
    assert report.stream.greeting["spoke_ms"] < 100
    assert report.stream.ahead_ms_max == pytest.approx(5000, abs=30)
    assert report.duration_s < 2


def test_barging_in_measures_the_delay_of_the_clear() -> None:
    talker = Talker(answer_s=3.0)
    talker.hears_barge_in = True
    manners = replace(options(Gateway()).manners, barge_in_s=0.2)
    report = call(serve=talker, says=(SENTENCE, SENTENCE), manners=manners)
    first, second = report.turns
    assert first["barge_in"] is None
    assert first["spoke_ms"] < 400
    assert second["barge_in"]["clear_ms"] == pytest.approx(20, abs=40)
    assert second["answer_ms"] == pytest.approx(100, abs=50)  # and not what was cleared
    assert report.stream is not None
    assert report.stream.clears == 1


def test_keys_are_dialled_as_dtmf_messages() -> None:
    async def run() -> list[dict[str, Any]]:
        async with running(serve=silent) as gateway:
            await place(options(gateway, digits="1#"))
            return gateway.streams[0].received

    told = [message for message in asyncio.run(run()) if message["event"] == "dtmf"]
    assert [message["dtmf"] for message in told] == [
        {"track": "inbound_track", "digit": "1"},
        {"track": "inbound_track", "digit": "#"},
    ]


def test_both_sides_are_in_the_recording_at_their_times(tmp_path: Path) -> None:
    report = call(serve=Talker(), says=(SENTENCE,), record=tmp_path / "call.wav")
    assert report.recording == str(tmp_path / "call.wav")
    data = (tmp_path / "call.wav").read_bytes()
    assert struct.unpack("<I", data[40:44]) == (len(data) - 44,)
    stereo = np.frombuffer(data[44:], "<i2").reshape(-1, 2)
    caller, agent = (np.flatnonzero(np.abs(stereo[:, side]) > 1000) / 8000 for side in (0, 1))
    assert len(caller) == pytest.approx(1600, abs=2)
    assert len(agent) == pytest.approx(3200, abs=2)
    # Greeting, sentence, answer: one after the other, as the report has it.
    greeting, answer = agent[agent < caller[0]], agent[agent > caller[-1]]
    assert len(greeting) == len(answer) == 1600
    [turn] = report.turns
    assert (answer[0] - caller[-1]) * 1000 == pytest.approx(turn["answer_ms"], abs=5)
    assert len(stereo) / 8000 == pytest.approx(report.duration_s, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]


def test_the_agent_may_hang_up_and_the_next_verb_runs() -> None:
    talker = Talker()
    talker.hang_up_after = 1
    behind = "<Say>Goodbye</Say><Redirect>/after?stream=ended</Redirect>"

    async def run() -> tuple[CallReport, Gateway]:
        async with running(answering(connect_twiml("STREAM", behind=behind)), talker) as gateway:
            return await place(options(gateway, says=(SENTENCE, SENTENCE))), gateway

    report, gateway = asyncio.run(run())
    assert report.twilio_error is None
    assert report.said == ["Goodbye"]
    assert report.ended_by == "agent"
    assert report.stream is not None
    assert (report.stream.ended_by, report.stream.close_code) == ("server", 1000)
    [form] = gateway.forms("/after?stream=ended")
    assert form["CallStatus"] == "in-progress"
    assert len(report.turns) == 1
