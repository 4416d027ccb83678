"""What users of other voice gateways complain about, each as a call that must go well.

Numbers are issues: openclaw/openclaw, pipecat-ai/pipecat, openai/openai-realtime-twilio-demo.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect

from calls.gateways_at_work import (
    FORM,
    PUBLIC,
    RawStream,
    at_work,
    run,
    sign,
    simple_cast,
)
from calls.letters import LettersVoice, Parrot
from doctor.caller import stream as doctor_stream
from doctor.caller.playout import Playout
from gateway.speech import ProviderError
from gateway.twiml import GONE
from gateway.voices import APOLOGY


def test_a_second_call_works_as_the_first_did() -> None:
    """A handler that was not reset when Twilio closed with 1005 took one call in its life (65601);
    state that all calls share lost both (openai 6)."""

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast("one")) as at:
            calls = [await at.call("words") for _ in range(2)]
            assert [heard.text for heard in calls] == ["Hi.1 one."] * 2
            assert [heard.close_codes for heard in calls] == [[1005], [1005]]
            assert len(at.of("call_ended", ending="caller_hung_up", turns=1)) == 2

    run(work)


@pytest.mark.parametrize("behind_s", [0.0, 1.0])
def test_the_last_sentence_is_heard_to_its_end(
    monkeypatch: pytest.MonkeyPatch, behind_s: float
) -> None:
    """Hanging up when all was sent, and not when all was heard, cuts it off (pipecat 1461)."""
    monkeypatch.setattr(doctor_stream, "Playout", lambda began: Playout(began + behind_s))

    async def work() -> None:
        text = "This is the last sentence that you hear"
        async with at_work(**simple_cast(), mode="notify", notify={"text": text}) as at:
            heard = await at.call()
            assert heard.text == text
            assert heard.report.ended_by == "agent"
            assert heard.close_codes == [1000]
            assert heard.report.stream is not None
            assert heard.report.stream.marks_echoed == 1
            assert at.of("call_ended")[0]["ending"] == "done"

    run(work)


def test_the_hang_up_waits_for_the_mark_and_not_for_a_guess() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), mode="notify", notify={"text": "Hi."}) as at:
            twiml = await at.fetch_twiml()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                mark = (await stream.receive("mark"))["mark"]
                with pytest.raises(TimeoutError):  # much longer than "Hi." takes
                    async with asyncio.timeout(0.5):
                        await stream.connection.recv()
                await stream.send("mark", mark=mark)
                assert await stream.closed() == (1000, "done")

    run(work)


def test_the_token_is_in_no_query() -> None:
    """Twilio drops the query of a stream's URL, and with it the token (8814 and six others)."""

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            heard = await at.call()
            assert heard.text == "Hi."
            assert heard.report.warnings == []
            assert heard.report.stream is not None
            assert heard.report.stream.url == "wss://voice.example.com/voice/stream"
            # One that comes in a query all the same is not believed.
            twiml = await at.fetch_twiml()
            path = f"/voice/stream?token={twiml.token}"
            async with raw_stream(at.address, path) as stream:
                await stream.start(twiml.call_sid, None)
                assert await stream.closed() == (1008, "no token among the stream's parameters")

    run(work)


@contextlib.asynccontextmanager
async def raw_stream(address: tuple[str, int], path: str) -> AsyncIterator[RawStream]:
    signature = sign(f"wss://voice.example.com{path}", {})
    async with connect(
        f"ws://voice.example.com{path}",
        host=address[0],
        port=address[1],
        compression=None,
        additional_headers={"X-Twilio-Signature": signature},
        proxy=None,
    ) as connection:
        yield RawStream(connection)


def test_a_public_url_with_a_port_is_signed_with_it() -> None:
    """Signatures failed wherever a port was in the URL (6334)."""

    async def work() -> None:
        url = "https://voice.example.com:8443"
        async with at_work(public_url=url, greeting="Hi.", **simple_cast()) as at:
            heard = await at.call()
            assert heard.text == "Hi."
            assert heard.report.stream is not None
            assert heard.report.stream.url == "wss://voice.example.com:8443/voice/stream"
            assert at.of("signature_refused") == []

    run(work)


@pytest.mark.parametrize(
    ("called", "why"),
    [
        (
            "https://voice.example.com:8443/voice/webhook",
            "the host voice.example.com:8443 (the request's Host)",
        ),
        ("http://voice.example.com/voice/webhook", "http:// in place of https://"),
    ],
)
def test_a_signature_over_another_url_is_refused_and_the_log_names_the_difference(
    called: str, why: str
) -> None:
    """Behind a proxy all that one learned was "application error" (11555, 10950)."""

    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            heard = await at.call(webhook_url=called)
            assert heard.report.webhook is not None
            assert heard.report.webhook.status == 403
            assert heard.report.twilio_error == 11200
            [refused] = at.of("signature_refused")
            assert refused["what"] == "webhook"
            assert refused["matches"] == [f"it matches {why}: {called}"]

    run(work)


def test_another_regions_token_is_named_and_not_taken() -> None:
    async def work() -> None:
        tokens = {"auth_token_ie1": "made-up-of-ireland"}
        async with at_work(**simple_cast(), credentials=tokens) as at:
            heard = await at.call(auth_token="made-up-of-ireland")
            assert heard.report.twilio_error == 11200
            [refused] = at.of("signature_refused")
            assert "the token of region ie1" in refused["matches"][0]
            assert "made-up-of-ireland" not in str(at.told)

    run(work)


ONE_WAY = f"""<Response>
<Start><Stream url="{PUBLIC.replace("https", "wss")}/voice/stream"{{track}}/></Start>
<Say>Hello?</Say>
</Response>"""


@pytest.mark.parametrize("track", ["", ' track="both_tracks"'])
def test_a_one_way_stream_is_refused_and_not_answered_into_silence(track: str) -> None:
    """<Start><Stream> carries nothing back: an agent there is never heard (pipecat 2157)."""

    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            await at.call(twiml=ONE_WAY.format(track=track))
            refused = await at.until("stream_refused")
            assert refused["code"] == 1008
            # With the caller's track alone it looks like any other; but it was not promised.
            assert refused["reason"] == ("one_way" if track else "unknown_call")

    run(work)


def test_a_voice_that_fails_is_heard_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swallowed, a failure of text-to-speech is silence (2820, 5131, 14545, 84964)."""
    apology = APOLOGY[:12000]  # test_outages.py hears all of it
    monkeypatch.setattr("gateway.voices.APOLOGY", apology)

    async def work() -> None:
        voice = LettersVoice()
        voice.fails = ProviderError("letters", "no_credit", status=402)
        async with at_work(greeting="Hi.", **simple_cast() | {"voices": [voice]}) as at:
            heard = await at.call()
            assert heard.has(apology)
            assert heard.close_codes == [1011]
            assert heard.report.said == [GONE]
            assert heard.report.ended_by == "agent"
            [failed] = at.of("speech_failed")
            assert (failed["kind"], failed["reason"], failed["status"]) == (
                "voice",
                "no_credit",
                402,
            )
            assert failed["call_sid"] == heard.report.call_sid
            labels = {"kind": "voice", "provider": "letters", "reason": "no_credit"}
            assert at.value("hopscope_speech_failures_total", **labels) == 1
            assert at.of("call_ended")[0]["ending"] == "provider_failed"

    run(work)


class Endless(LettersVoice):
    """Never comes to an end; `is_speaking` until it is closed."""

    is_speaking = False

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self.is_speaking = True
        try:
            while True:
                yield b"e" * 1600
        finally:
            self.is_speaking = False


@pytest.mark.parametrize("mode", ["conversation", "notify"])
def test_hanging_up_during_playback_ends_everything(mode: str) -> None:
    """A pipeline that does not notice goes on talking to nobody, and the line stays busy
    (pipecat 3179, 1511, 728, 2145)."""

    async def work() -> None:
        voice = Endless()
        limits = {"calls": 1}
        cast = simple_cast() | {"voices": [voice]}
        async with at_work(greeting="Hi.", **cast, mode=mode, limits=limits) as at:
            twiml = await at.fetch_twiml()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                await stream.receive("media")
                assert voice.is_speaking
                await stream.send("stop", stop={"callSid": twiml.call_sid})
                assert await stream.closed() == (1000, "the caller hung up")
            assert not voice.is_speaking
            assert at.of("call_ended")[0]["ending"] == "caller_hung_up"
            assert at.value("hopscope_calls_active") == 0
            assert (await at.fetch_twiml()).verbs[0] == "Connect"  # the line is free

    run(work)


def test_a_stream_that_breaks_without_a_close_frees_the_line_and_the_caller_is_told() -> None:
    async def work() -> None:
        voice = Endless()
        cast = simple_cast() | {"voices": [voice]}
        async with at_work(greeting="Hi.", **cast, limits={"calls": 1}) as at:
            twiml = await at.fetch_twiml()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                await stream.receive("media")
                stream.connection.transport.abort()
                ended = await at.until("call_ended")
            assert ended["ending"] == "stream_failed"
            assert not voice.is_speaking
            after = await at.post(
                "/voice/webhook?after=stream",
                FORM | {"CallSid": twiml.call_sid, "CallStatus": "in-progress"},
            )
            assert GONE in after.text
            assert (await at.fetch_twiml()).verbs[0] == "Connect"

    run(work)


def test_a_crash_inside_a_call_is_apologised_for_and_hurts_no_other() -> None:
    async def work() -> None:
        parrot = Parrot()
        async with at_work(greeting="Hi.", **simple_cast() | {"agent": parrot}) as at:
            parrot.crashes = ZeroDivisionError("a fault of ours")
            heard = await at.call("words")
            assert heard.text == "Hi."
            assert heard.close_codes == [1011]
            assert heard.report.said == [GONE]
            [crashed] = at.of("stream_failed")
            assert "a fault of ours" in crashed["error"]
            assert "reply" in crashed["where"][-1]
            assert at.of("call_ended")[0]["ending"] == "failed"
            parrot.crashes = None
            assert (await at.call(digits="1#")).text == "Hi.1 [pressed 1]."

    run(work)
