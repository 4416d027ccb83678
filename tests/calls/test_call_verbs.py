"""The caller obeys TwiML: what it waits for, fetches, posts, and what it says it does not do."""

import asyncio
import base64
import io
import wave
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from calls.twilio_peers import (
    SENTENCE,
    TOKEN,
    Arrived,
    Gateway,
    Hook,
    Serve,
    Stream,
    call,
    connect_twiml,
    options,
    place,
    running,
    silent,
    tone,
    xml,
)
from doctor.caller.outcome import CallReport

Page = str | Callable[[], web.Response]
Pages = dict[str, Page]


def pages(answers: Pages) -> Hook:
    """A webhook with an answer for each path; TwiML unless it is a response already."""

    def hook(gateway: Gateway, request: Arrived) -> web.StreamResponse:
        answer = answers.get(request.path.partition("?")[0], "<Response/>")
        if not isinstance(answer, str):
            return answer()
        return xml(answer.replace("STREAM", gateway.stream_url))

    return hook


def visit(answers: Pages, serve: Serve = silent, **changes: Any) -> tuple[CallReport, Gateway]:
    async def run() -> tuple[CallReport, Gateway]:
        async with running(pages(answers), serve) as gateway:
            return await place(options(gateway, **changes)), gateway

    return asyncio.run(run())


def first(body: str) -> Pages:
    return {"/voice/webhook": f"<Response>{body}</Response>"}


def paths(gateway: Gateway) -> list[str]:
    return [request.path for request in gateway.requests]


def wav(audio_s: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(np.full(int(8000 * audio_s), 8000, np.int16).tobytes())
    return file.getvalue()


def test_say_takes_the_time_of_its_text_and_pause_its_own() -> None:
    report, _ = visit(first("<Say>0123456789</Say><Pause length='0.2'/>"), say_letters_s=10.0)
    assert report.said == ["0123456789"]
    assert report.duration_s == pytest.approx(1.2, abs=0.15)
    assert report.ended_by == "agent"
    assert report.stream is None
    assert report.twilio_error is None


def test_what_is_behind_a_hangup_is_not_reached() -> None:
    report, _ = visit(first("<Say>a</Say><Hangup/><Say>b</Say>"))
    assert report.said == ["a"]


def test_a_rejected_call_ends() -> None:
    report, _ = visit(first("<Reject reason='busy'/><Say>a</Say>"))
    assert (report.ended_by, report.said) == ("rejected", [])


def test_redirects_are_relative_to_the_document_and_by_the_method_they_name() -> None:
    report, gateway = visit(
        first("<Redirect>next?a=1</Redirect>")
        | {
            "/voice/next": "<Response><Redirect method='GET'>/third?b=2</Redirect></Response>",
            "/third": "<Response><Say>there</Say></Response>",
        }
    )
    assert report.said == ["there"]
    second, third = gateway.requests[1:]
    assert (second.method, second.path) == ("POST", "/voice/next?a=1")
    assert second.form["CallStatus"] == "in-progress"
    assert third.method == "GET"
    assert third.path.startswith("/third?b=2&AccountSid=AC")
    validator = RequestValidator(TOKEN)
    url = gateway.url.removesuffix("/voice/webhook") + third.path
    assert validator.validate(url, {}, third.value("X-Twilio-Signature"))
    tokens = {request.value("I-Twilio-Idempotency-Token") for request in gateway.requests}
    assert len(tokens) == 3


def test_a_document_that_redirects_to_itself_is_left_in_the_end() -> None:
    report, gateway = visit(first("<Redirect/>"))
    assert report.ended_by == "limit"
    assert "documents" in report.warnings[0].saw
    assert len(gateway.requests) == 50


def test_play_is_fetched_once_heard_and_recorded(tmp_path: Path) -> None:
    def audio() -> web.Response:
        return web.Response(body=wav(0.1), content_type="audio/x-wav")

    twiml = first("<Play loop='2'>/hello.wav</Play><Play>/hello.wav</Play>")
    report, gateway = visit(twiml | {"/hello.wav": audio}, record=tmp_path / "call.wav")
    assert report.twilio_error is None
    assert [(told.method, told.path) for told in gateway.requests[1:]] == [("GET", "/hello.wav")]
    assert report.duration_s == pytest.approx(0.3, abs=0.1)
    with wave.open(str(tmp_path / "call.wav")) as file:
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert np.count_nonzero(stereo[:, 1]) == 2400
    assert not stereo[:, 0].any()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(lambda: web.Response(text="<p>", content_type="text/html"), 13420, id="HTML"),
        pytest.param(lambda: web.Response(status=404), 11200, id="404"),
    ],
)
def test_play_of_what_is_no_audio_has_its_code_and_the_call_goes_on(
    answer: Callable[[], web.Response], code: int
) -> None:
    report, _ = visit(first("<Play>/hello.wav</Play><Say>on</Say>") | {"/hello.wav": answer})
    assert report.twilio_error == code
    assert "<Play>" in report.error_saw
    assert report.said == ["on"]


def test_play_of_what_is_not_decoded_here_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doctor.caller.interpreter.UNREADABLE_S", 0.01)

    def answer() -> web.Response:
        return web.Response(body=b"ID3", content_type="audio/mpeg")

    report, _ = visit(first("<Play>/a.mp3</Play>") | {"/a.mp3": answer})
    assert report.twilio_error is None
    assert [warning.code for warning in report.warnings] == [None]
    assert "audio/mpeg" in report.warnings[0].saw


def test_gather_posts_the_digits_that_the_caller_dials() -> None:
    gather = "<Gather action='/code' numDigits='2'><Say>Code?</Say></Gather><Say>none</Say>"
    again = "<Response><Gather action='/name'/><Say>none</Say></Response>"
    report, gateway = visit(first(gather) | {"/code": again}, digits="12w34#5")
    assert report.said == ["Code?"]
    assert [gateway.forms(path)[0]["Digits"] for path in ("/code", "/name")] == ["12", "34"]


def test_gather_without_digits_waits_and_goes_on() -> None:
    report, gateway = visit(first("<Gather timeout='0.1' action='/code'/><Say>none</Say>"))
    assert report.said == ["none"]
    assert paths(gateway) == ["/voice/webhook"]
    asked = "<Gather timeout='0' action='/code' actionOnEmptyResult='true'/><Say>none</Say>"
    report, gateway = visit(first(asked))
    assert gateway.forms("/code")[0]["Digits"] == ""
    assert report.said == []


def test_verbs_that_need_other_people_are_left_out_with_a_word() -> None:
    report, gateway = visit(
        first("<Record/><Enqueue>support</Enqueue><Dial>+12025550100</Dial><Say>on</Say>")
    )
    assert report.said == ["on"]
    told = [warning.saw for warning in report.warnings]
    assert [saw.partition(">")[0] for saw in told] == ["<Record", "<Enqueue", "<Dial"]
    assert all("not simulated" in saw for saw in told)
    assert len(gateway.requests) == 1


def test_dial_with_an_action_goes_on_there_as_a_call_that_failed() -> None:
    _, gateway = visit(first("<Dial action='/dialled'>+12025550100</Dial>"))
    assert gateway.forms("/dialled")[0]["DialCallStatus"] == "failed"


def test_connect_with_an_action_goes_on_there() -> None:
    async def serve(stream: Stream) -> None:
        await stream.until("start")
        await stream.play(tone(0.02))
        await stream.socket.close()

    connect = "<Connect action='/after'><Stream url='STREAM'/></Connect><Say>not reached</Say>"
    report, gateway = visit(first(connect), serve)
    assert paths(gateway) == ["/voice/webhook", "/after"]
    assert report.said == []


def test_a_stream_that_fails_is_followed_by_the_next_verb() -> None:
    """What the gateway's <Redirect> behind <Connect> relies on."""
    twiml = connect_twiml("STREAM/nowhere", behind="<Say>I am sorry</Say>")

    def missing() -> web.Response:
        return web.Response(status=404, text="nothing here")

    report, _ = visit({"/voice/webhook": twiml, "/voice/stream/nowhere": missing})
    assert report.twilio_error == 31920
    assert report.said == ["I am sorry"]


# statusCallback


def callbacks(gateway: Gateway) -> list[tuple[str, str | None]]:
    return [
        (form["StreamEvent"], form.get("StreamError")) for form in gateway.forms("/stream-status")
    ]


def test_the_life_of_a_stream_is_posted_to_its_status_callback() -> None:
    stream = '<Stream url="STREAM" name="mine" statusCallback="/stream-status"/>'
    report, gateway = visit(first(f"<Connect>{stream}</Connect>"))
    assert callbacks(gateway) == [("stream-started", None), ("stream-stopped", None)]
    form = gateway.forms("/stream-status")[0]
    assert form["StreamSid"] == gateway.streams[0].sid
    assert form["CallSid"] == report.call_sid
    assert form["StreamName"] == "mine"
    assert form["Timestamp"].endswith("Z")
    [arrived, _] = [told for told in gateway.requests if told.path == "/stream-status"]
    url = gateway.url.replace("/voice/webhook", "/stream-status")
    signature = arrived.value("X-Twilio-Signature")
    assert RequestValidator(TOKEN).validate(url, arrived.form, signature)


def test_a_stream_that_never_opened_is_posted_with_its_error() -> None:
    stream = '<Stream url="STREAM/nowhere" statusCallback="/stream-status"/>'

    def missing() -> web.Response:
        return web.Response(status=404)

    _, gateway = visit(first(f"<Connect>{stream}</Connect>") | {"/voice/stream/nowhere": missing})
    assert callbacks(gateway) == [
        ("stream-error", "31920 Stream - WebSocket - Handshake Error"),
    ]


def test_a_status_callback_that_fails_is_a_warning() -> None:
    stream = '<Stream url="STREAM" statusCallback="/stream-status"/>'

    def failing() -> web.Response:
        return web.Response(status=500)

    report, gateway = visit(first(f"<Connect>{stream}</Connect>") | {"/stream-status": failing})
    assert {warning.code for warning in report.warnings} == {15003}
    assert report.twilio_error is None
    assert len(gateway.forms("/stream-status")) == 2  # each once: they are not tried again


# One-way streams


def test_a_one_way_stream_runs_beside_the_call_until_its_end() -> None:
    start = "<Start><Stream url='STREAM' name='s'/></Start><Pause length='0.9'/>"
    report, gateway = visit(first(start), says=(SENTENCE,))
    assert report.twilio_error is None
    [stream] = gateway.streams
    assert stream.received[1]["start"]["tracks"] == ["inbound"]
    assert stream.received[-1]["event"] == "stop"
    assert stream.media == pytest.approx(45, abs=6)
    heard = b"".join(
        base64.b64decode(told["media"]["payload"])
        for told in stream.received
        if told["event"] == "media"
    )
    assert heard.strip(b"\xff") == SENTENCE
    assert report.stream is not None
    assert not report.stream.is_two_way
    assert report.ended_by == "agent"


def test_both_tracks_carry_what_the_call_plays() -> None:
    def audio() -> web.Response:
        return web.Response(body=wav(0.2), content_type="audio/x-wav")

    start = "<Start><Stream url='STREAM' track='both_tracks'/></Start><Pause length='0.1'/>"
    _, gateway = visit(first(f"{start}<Play>/a.wav</Play>") | {"/a.wav": audio})
    [stream] = gateway.streams
    assert stream.received[1]["start"]["tracks"] == ["inbound", "outbound"]
    tracks: dict[str, bytes] = defaultdict(bytes)
    for told in stream.received:
        if told["event"] == "media":
            tracks[told["media"]["track"]] += base64.b64decode(told["media"]["payload"])
    assert set(tracks["inbound"]) == {0xFF}
    assert len(tracks["outbound"].strip(b"\xff")) == pytest.approx(1600, abs=200)


def test_a_one_way_stream_may_be_stopped_by_name() -> None:
    start = "<Start><Stream url='STREAM' name='s'/></Start><Pause length='0.1'/>"
    stop = "<Stop><Stream name='s'/></Stop><Pause length='0.3'/>"
    report, gateway = visit(first(start + stop))
    assert gateway.streams[0].received[-1]["event"] == "stop"
    assert report.streams[0].duration_s < 0.25


def test_whatever_comes_back_on_a_one_way_stream_is_31924() -> None:
    async def serve(stream: Stream) -> None:
        await stream.until("start")
        await stream.play(tone(0.02))
        await stream.drain()

    report, _ = visit(
        first("<Start><Stream url='STREAM'/></Start><Pause length='0.3'/><Say>on</Say>"), serve
    )
    assert report.twilio_error == 31924
    assert report.said == ["on"]


def test_streams_are_left_alone_where_that_was_asked() -> None:
    report = call(follow_streams=False)
    assert report.streams == []
    assert report.twiml is not None
    assert "<Stream" in report.twiml
    assert [told["event"] for told in report.events] == [
        "twiml",
        "stream_not_followed",
        "call_ended",
    ]


def test_a_call_by_twiml_needs_no_webhook() -> None:
    async def run() -> CallReport:
        async with running() as gateway:
            twiml = "<Response><Say>Hello</Say></Response>"
            return await place(options(gateway, webhook_url=None, twiml=twiml))

    report = asyncio.run(run())
    assert report.said == ["Hello"]
    assert report.webhook is None
    assert report.twiml == "<Response><Say>Hello</Say></Response>"


def test_an_outbound_call_is_in_progress_when_its_webhook_is_asked() -> None:
    parameters = {"AnsweredBy": "human"}
    _, gateway = visit(first(""), direction="outbound-api", parameters=parameters)
    form = gateway.requests[0].form
    assert (form["Direction"], form["CallStatus"]) == ("outbound-api", "in-progress")
    assert form["AnsweredBy"] == "human"
