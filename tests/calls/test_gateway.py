"""The whole gateway: how streams are begun, refused and closed, and how it goes down."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from calls.gateways_at_work import (
    CALLS_TOKEN,
    FORM,
    PATIENCE_S,
    WORDS,
    ask,
    at_work,
    new_call_sid,
    path_of,
    run,
    sign,
    simple_cast,
)
from calls.letters import LettersVoice, spelled
from doctor.caller.dialogue import VOICED_PEAK
from gateway import calls as calls_module
from gateway.g711 import SILENCE, decode, encode, peak
from gateway.providers.silero import SileroPool


def test_a_caller_is_greeted_understood_and_answered() -> None:
    async def work() -> None:
        async with at_work(greeting="Hi there.", **simple_cast("when do you open")) as at:
            heard = await at.call("words")
            assert heard.text == "Hi there.1 when do you open."
            assert heard.report.twilio_error is None
            [turn] = at.of("turn")
            assert (turn["caller"], turn["agent"]) == ("when do you open", "1 when do you open.")
            # The first audio follows the end of the speech, and that the silence which tells it.
            assert 200 <= turn["ms"]["first_audio"] < 1500
            [ended] = at.of("call_ended")
            assert (ended["ending"], ended["turns"]) == ("caller_hung_up", 1)
            assert at.value("hopscope_calls_active") == 0
            ending = {"direction": "inbound", "mode": "conversation", "ending": "caller_hung_up"}
            assert at.value("hopscope_calls_total", **ending) == 1

    run(work)


def test_each_way_to_begin_a_stream_wrongly_has_its_own_words() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            first, second = await at.fetch_twiml(), await at.fetch_twiml()
            ended = await at.fetch_twiml()
            at.gateway.calls.end(ended.call_sid, "completed", 0)

            async def begin(call_sid: str, token: str | None, **options: Any) -> tuple[int, str]:
                async with at.stream() as stream:
                    await stream.start(call_sid, token, **options)
                    return await stream.closed()

            answers = [
                await begin(first.call_sid, None),
                await begin(first.call_sid, second.token),
                await begin(new_call_sid(), first.token),
                await begin(ended.call_sid, ended.token),
                await begin(first.call_sid, first.token, tracks=("inbound", "outbound")),
            ]
            async with at.stream() as stream:  # none of that has used up the token
                await stream.start(first.call_sid, first.token)
                await stream.receive("media")
                answers.append(await begin(first.call_sid, first.token))
            assert answers == [
                (1008, "no token among the stream's parameters"),
                (1008, "the token is another call's"),
                (1008, "no such call here"),
                (1008, "the call is over"),
                (1008, "a one-way stream (<Start>) cannot be answered; use <Connect>"),
                (1008, "the token was used before"),
            ]
            refused = [line["reason"] for line in at.of("stream_refused")]
            assert refused[:5] == "no_token wrong_token unknown_call call_ended one_way".split()
            for reason in (*refused, "used_token"):
                assert at.value("hopscope_streams_refused_total", reason=reason) == 1

    run(work)


def test_a_stream_without_a_start_is_closed_in_time() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), limits={"start_seconds": 0.2}) as at:
            async with at.stream() as stream:
                assert await stream.closed() == (1008, "no start message in time")
            async with at.stream() as stream:
                await stream.connection.send('{"event":"connected"}')
                assert await stream.closed() == (1008, "no start message in time")

    run(work)


def test_a_stream_that_is_none_of_twilios_is_closed_at_once() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            for message in ("hello?", b"\0" * 160, json.dumps({"event": "media"})):
                async with at.stream() as stream:
                    await stream.connection.send(message)
                    assert await stream.closed() == (1008, "no start message in time")

    run(work)


def test_a_message_over_64_kib_closes_the_stream_with_1009() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            twiml = await at.fetch_twiml()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                await stream.receive("media")
                await stream.connection.send("x" * 65536)
                await stream.connection.send("x" * 65537)
                code, _ = await stream.closed()
            assert code == 1009
            ended = await at.until("call_ended")
            assert ended["ending"] == "stream_failed"

    run(work)


def test_messages_that_cannot_be_read_do_not_end_a_call() -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            twiml = await at.fetch_twiml()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                await stream.connection.send(b"\0\1\2")
                await stream.connection.send("[]")
                await stream.send("media", media={"payload": "no base64"})
                await stream.send("mark", mark={"name": "never sent"})
                mark = (await stream.receive("mark"))["mark"]
                await stream.send("mark", mark=mark)
                await stream.send("stop", stop={"callSid": twiml.call_sid})
                assert await stream.closed() == (1000, "the caller hung up")

    run(work)


def test_an_upgrade_that_twilio_did_not_sign_is_refused_before_it_is_one() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            wrong = sign("wss://other.example.com/voice/stream", {})
            for headers in ({"X-Twilio-Signature": wrong}, {"X-Twilio-Signature": ""}):
                with pytest.raises(InvalidStatus) as refused:
                    async with at.stream(**headers):
                        raise AssertionError("it was accepted")
                assert refused.value.response.status_code == 403
            assert [line["what"] for line in at.of("signature_refused")] == ["stream", "stream"]
            assert at.value("hopscope_signatures_refused_total", what="stream") == 2

    run(work)


def test_answers_to_webhooks_close_their_connections() -> None:
    """An upgrade must not follow a request on a connection that aiohttp already has."""

    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            for method, target, status in [
                ("GET", "/healthz", 200),
                ("GET", "/voice/stream", 426),
                ("GET", "/voice/webhook", 405),
                ("POST", "/voice/webhook", 403),
                ("GET", "/nothing", 404),
            ]:
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                reply = await ask(at.address, method, target, headers)
                assert (reply.status, reply.headers["connection"]) == (status, "close"), target

    run(work)


def test_while_it_drains_running_calls_go_on_and_new_ones_are_told() -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast(), drain_seconds=PATIENCE_S) as at:
            running = asyncio.create_task(at.call("words"))
            await at.until("stream_status", status="stream-started")
            draining = asyncio.create_task(at.gateway.drain())
            await asyncio.sleep(0)
            late = await at.fetch_twiml()
            assert late.verbs == ["Say", "Hangup"]
            assert late.says == "We are closing for the moment. Please call again."
            assert (await ask(at.address, "GET", "/healthz")).status == 503
            heard = await running
            assert heard.text == "Hi.1 and so on."
            await draining
            [ended] = at.of("call_ended", call_sid=heard.report.call_sid)
            assert ended["ending"] == "caller_hung_up"

    run(work)


def test_a_stream_that_was_promised_is_still_served_while_it_drains() -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast(), drain_seconds=PATIENCE_S) as at:
            twiml = await at.fetch_twiml()
            draining = asyncio.create_task(at.gateway.drain())
            await asyncio.sleep(0)
            assert not draining.done()
            async with at.stream() as stream:
                await stream.start(twiml.call_sid, twiml.token)
                await stream.receive("media")
                await stream.send("stop", stop={"callSid": twiml.call_sid})
                assert await stream.closed() == (1000, "the caller hung up")
            await draining
            with pytest.raises(InvalidStatus) as refused:
                async with at.stream():
                    raise AssertionError("it was accepted")
            assert refused.value.response.status_code == 503

    run(work)


def test_calls_that_do_not_end_in_time_are_closed_as_going_away_and_told_so() -> None:
    """Twilio asks what comes next: a gateway that is gone by then is "application error"."""

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast(), drain_seconds=0, next_s=2.0) as at:
            running = asyncio.create_task(at.call())
            await at.until("stream_status", status="stream-started")
            await at.gateway.drain()
            await at.gateway.close()
            heard = await running
            assert heard.close_codes == [1001]
            assert heard.report.ended_by == "agent"
            assert heard.report.said == ["I am sorry, our connection was lost. Please call again."]
            assert at.of("call_ended")[0]["ending"] == "drained"

    run(work)


def test_going_down_waits_for_no_socket_that_never_says_whose_it_is() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), drain_seconds=0) as at, at.stream() as stream:
            async with asyncio.timeout(3):
                await at.gateway.drain()
                closing = asyncio.create_task(at.gateway.close())
                assert await stream.closed() == (1001, "the gateway goes down")
                await closing

    run(work)


def test_five_calls_at_once_hear_what_is_theirs() -> None:
    async def work() -> None:
        cast = simple_cast("one", "two")
        async with at_work(greeting="Hi.", **cast) as at:
            calls = await asyncio.gather(*(at.call("words", "words") for _ in range(5)))
            assert [heard.text for heard in calls] == ["Hi.1 one.2 two."] * 5
            assert {heard.report.stream.underruns for heard in calls if heard.report.stream} == {0}
            assert len(at.of("call_ended", ending="caller_hung_up", turns=2)) == 5
            assert cast["ears"][0].open == 0  # those of ended calls are closed

    run(work)


def test_callers_who_speak_at_the_same_time_are_heard_from_their_first_word() -> None:
    """More of them than models of voice activity are ready: the others' come late."""

    async def work() -> None:
        cast = simple_cast("one")
        async with at_work(greeting="Hi.", **cast, pool=SileroPool(spare=1)) as at:
            calls = await asyncio.gather(*(at.call("words") for _ in range(5)))
            assert [heard.text for heard in calls] == ["Hi.1 one."] * 5
            said = encode(decode(WORDS)).strip(SILENCE)
            whole = [audio for audio in cast["ears"][0].heard if said in audio]
            assert len(whole) == 5

    run(work)


def test_a_caller_too_many_hears_that_the_line_is_busy() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), limits={"calls": 1}) as at:
            first = await at.fetch_twiml()
            second = await at.fetch_twiml()
            assert second.verbs == ["Reject"]
            assert at.of("call_refused")[0]["reason"] == "all_lines_busy"
            async with at.stream() as stream:
                await stream.start(first.call_sid, first.token)
                await stream.send("stop", stop={})
                await stream.closed()
            assert (await at.fetch_twiml()).verbs[0] == "Connect"

    run(work)


def test_a_stream_that_never_came_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "TOKEN_S", 0.1)
    monkeypatch.setattr("gateway.gateway.SWEEP_S", 0.05)

    async def work() -> None:
        cast = simple_cast()
        async with at_work(**cast, limits={"calls": 1}) as at:
            lost = await at.fetch_twiml()
            ended = await at.until("call_ended")
            assert (ended["call_sid"], ended["ending"]) == (lost.call_sid, "stream_never_came")
            assert (await at.fetch_twiml()).verbs[0] == "Connect"
            after = await at.post("/voice/webhook?after=stream", FORM | {"CallSid": lost.call_sid})
            assert "connection was lost" in after.text

    run(work)


def test_a_retried_webhook_is_one_call_with_one_token() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), limits={"calls": 1}) as at:
            form = FORM | {"CallSid": new_call_sid(), "CallStatus": "ringing"}
            retry = {"I-Twilio-Idempotency-Token": "d3b07384"}
            first, again = [await at.post("/voice/webhook", form, retry) for _ in range(2)]
            assert first.text == again.text
            assert len(at.of("call_started")) == 1
            assert at.of("call_refused") == []

    run(work)


def test_a_caller_who_presses_keys_is_answered() -> None:
    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            heard = await at.call(digits="12#")
            assert heard.text == "Hi.1 [pressed 1 2]."

    run(work)


def test_an_inbound_call_in_mode_notify_hears_the_text_to_its_last_word() -> None:
    async def work() -> None:
        async with at_work(**simple_cast(), mode="notify", notify={"text": "Done."}) as at:
            heard = await at.call()
            assert heard.text == "Done."
            assert heard.close_codes == [1000]
            assert at.of("call_ended")[0]["ending"] == "done"

    run(work)


def test_a_public_url_with_a_prefix_that_the_ingress_strips_works_to_the_end() -> None:
    async def work() -> None:
        url = "https://voice.example.com/hop"
        async with at_work(public_url=url, greeting="Hi.", **simple_cast()) as at:
            twiml = await at.fetch_twiml()
            assert 'url="wss://voice.example.com/hop/voice/stream"' in twiml.reply.text
            assert (await at.call()).text == "Hi."  # where it is not stripped
            async with at.stream() as stream:  # where it is
                stream_path = path_of(str(stream.connection.request.path))  # type: ignore[union-attr]
                assert stream_path == "/hop/voice/stream"

    run(work)


def test_the_calls_api_is_there_only_with_its_token() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            assert (await ask(at.address, "POST", "/calls")).status == 404
        async with at_work(**simple_cast(), credentials={"calls_token": CALLS_TOKEN}) as at:
            assert (await ask(at.address, "POST", "/calls")).status == 401

    run(work)


def test_all_that_was_spelled_can_be_read() -> None:
    """The harness itself: silence apart, letters come back as often as they were said."""

    async def say(text: str) -> bytes:
        return b"".join([piece async for piece in LettersVoice().speak(text)])

    text = bytes(range(0x20, 0x7F)).decode()
    audio = asyncio.run(say(text))
    assert spelled(b"\xff" * 80 + audio + b"\xff" * 50) == text
    assert min(peak(audio[at : at + 160]) for at in range(0, len(audio), 160)) > VOICED_PEAK
