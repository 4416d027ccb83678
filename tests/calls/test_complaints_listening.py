"""Complaints about who listens when: greetings, ears, interruptions; each call must go well.

Numbers are issues: openclaw/openclaw, pipecat-ai/pipecat, openai/openai-realtime-twilio-demo.
"""

import asyncio
from dataclasses import replace
from typing import Any

from calls.gateways_at_work import (
    BRISK,
    FORM,
    PATIENCE_S,
    at_work,
    run,
    simple_cast,
)
from calls.letters import LettersVoice
from doctor.caller.dialogue import Manners
from gateway.speech import ProviderError
from gateway.twiml import GONE
from stand_ins import OpenAIStandIn


def test_the_greeting_is_ours_and_twilio_says_nothing_before_it() -> None:
    """The first message went to <Say> before the stream was there (36869)."""

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            twiml = await at.fetch_twiml()
            assert twiml.verbs == ["Connect", "Redirect"]
            heard = await at.call()
            assert (heard.text, heard.report.said) == ("Hi.", [])

    run(work)


def test_the_ears_are_open_before_the_stream_is() -> None:
    """Opened after it, the provider's socket costs the first turn two seconds (85847)."""

    async def work() -> None:
        cast = simple_cast()
        async with at_work(**cast) as at:
            await at.fetch_twiml()
            assert cast["ears"][0].open == 1
        assert cast["ears"][0].open == 0  # nobody came

    run(work)


def test_ears_that_open_late_hear_what_was_said_before() -> None:
    async def work() -> None:
        cast = simple_cast("what I said")
        ears, may_open = cast["ears"][0], asyncio.Event()
        listen = ears.listen

        async def late() -> Any:
            await may_open.wait()
            return await listen()

        ears.listen = late
        async with at_work(greeting="Hi.", **cast) as at:
            calling = asyncio.create_task(at.call("words"))
            # The caller has spoken, and the call ends without a word if nobody listens.
            await at.until("stream_status", status="stream-started")
            asyncio.get_running_loop().call_later(2.0, may_open.set)
            heard = await calling
            assert heard.text == "Hi.1 what I said."

    run(work)


def test_ears_that_fail_while_we_greet_are_owned_up_to_at_once() -> None:
    """Else the caller is invited to speak, and nobody listens."""

    async def work() -> None:
        cast = simple_cast()
        may_fail = asyncio.Event()

        async def fail() -> Any:
            await may_fail.wait()
            raise ProviderError("told", "timeout")

        cast["ears"][0].listen = fail
        async with at_work(greeting="Hi, " * 40, **cast) as at:
            calling = asyncio.create_task(at.call())
            await at.until("stream_status", status="stream-started")
            asyncio.get_running_loop().call_later(0.5, may_fail.set)
            heard = await calling
            greeting, _, said = heard.text.partition("I am")
            assert greeting.startswith("Hi, Hi, ")
            assert len(greeting) < 120
            assert said == " sorry, I cannot answer right now.Please call again later."
            assert at.of("barge_in") == []  # nobody interrupted
            assert heard.close_codes == [1011]

    run(work)


def test_the_caller_interrupts_and_is_heard_at_once() -> None:
    """Without `clear` a second or more goes on playing (pipecat 366, 3191)."""

    async def work() -> None:
        manners = Manners(
            greeting_s=2.0, answer_s=6.0, patience_s=0.2, linger_s=0.1, barge_in_s=0.5
        )
        cast = simple_cast("stop") | {"voices": [LettersVoice(frames=4)]}
        greeting = "This greeting is so long that nobody listens to its end."
        async with at_work(greeting=greeting, **cast) as at:
            heard = await at.call("words", manners=manners)
            stream = heard.report.stream
            assert stream is not None
            # Until enough of the voice is heard to be one; then all is silent.
            assert stream.turns[0]["barge_in"]["clear_ms"] < 600
            assert stream.clears == 1
            before, _, answer = heard.text.partition("1")
            assert before.startswith("TTTThhhhiiiissss    gggg")
            assert len(before) / 50 < 0.5 + 0.6  # seconds
            assert answer.endswith("    ssssttttoooopppp....")
            [barge_in] = at.of("barge_in")
            assert barge_in["clear_ms"] < 20

    run(work)


def test_a_realtime_agent_that_is_interrupted_knows_how_much_was_heard() -> None:
    """It would go on as if the caller had heard all that it sent."""

    async def work() -> None:
        async with OpenAIStandIn() as vendor:
            vendor.reply = [f"word{number} " for number in range(5)]  # 1.5 s
            agent = {"provider": "realtime", "base_url": vendor.url}
            async with at_work(
                voices=[LettersVoice()],
                greeting="Hi.",
                tables={"agent": agent},
                credentials={"openai": vendor.api_key},
            ) as at:
                manners = replace(BRISK, barge_in_s=0.4)
                heard = await at.call("words", "words", manners=manners)
                stream = heard.report.stream
                assert stream is not None
                assert stream.clears == 1
                first, second = at.of("turn")
                assert (first["was_interrupted"], second["was_interrupted"]) == (True, False)
                words = first["agent"].split()
                assert words == [f"word{number}" for number in range(len(words))]
                [(_, heard_ms)] = vendor.sessions[0].truncated  # type: ignore[attr-defined]
                assert 400 <= heard_ms < 1400
                # As many of the words as there was time for: 50 ms a letter.
                spoken_ms = 50 * len(" ".join(words))
                assert abs(heard_ms - spoken_ms) < 500
                assert len(second["agent"].split()) == 5

    run(work)


def test_no_more_than_a_second_waits_at_twilio_and_nothing_is_late() -> None:
    """Too much makes every interruption late, too little is choppy (pipecat 2551, 3315, 3092)."""

    async def work() -> None:
        text = "a" * 100  # two seconds
        async with at_work(**simple_cast(), mode="notify", notify={"text": text}) as at:
            calls = await asyncio.gather(*(at.call() for _ in range(4)))
            for heard in calls:
                assert heard.text == text
                stream = heard.report.stream
                assert stream is not None
                assert stream.underruns == 0
                assert 500 < stream.ahead_ms_max <= 1020

    run(work)


def test_calls_that_wait_for_nothing_any_more_do_not_fill_the_lines() -> None:
    """A caller who hung up before the stream opened: nobody ever says so of an inbound call."""

    async def work() -> None:
        async with at_work(**simple_cast(), limits={"calls": 1}) as at:
            lost = await at.fetch_twiml()
            assert (await at.fetch_twiml()).verbs == ["Reject"]
            form = FORM | {"CallSid": lost.call_sid, "CallStatus": "completed"}
            assert (await at.post("/voice/status", form)).status == 204
            assert (await at.fetch_twiml()).verbs[0] == "Connect"

    run(work)


def test_a_stream_error_of_twilios_is_seen_and_the_caller_is_told() -> None:
    async def work() -> None:
        async with at_work(**simple_cast()) as at:
            twiml = await at.fetch_twiml()
            form = FORM | {
                "CallSid": twiml.call_sid,
                "StreamSid": "MZ" + "0" * 32,
                "StreamEvent": "stream-error",
                "StreamError": "31920 - Stream - WebSocket - Handshake Error",
            }
            assert (await at.post("/voice/stream-status", form)).status == 204
            [told] = at.of("stream_status")
            assert told["error"].startswith("31920")
            after = await at.post("/voice/webhook?after=stream", FORM | {"CallSid": twiml.call_sid})
            assert GONE in after.text

    run(work)


assert BRISK.answer_s < PATIENCE_S  # a caller who waits longer than the test would hide a failure
