"""Outbound calls of a whole gateway, from POST /calls to the last status callback.

POST /calls -> gateway -> twilio client -> TwilioApi -> simulated caller
                 ^------- webhooks, stream, callbacks: all signed -------'
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calls.gateways_at_work import (
    BRISK,
    CALLS_TOKEN,
    PATIENCE_S,
    WORDS,
    AtWork,
    ask,
    at_work,
    new_call_sid,
    read_recording,
    run,
    simple_cast,
)
from calls.letters import spelled
from calls.replies import Reply
from doctor.addresses import Address, Detour
from doctor.caller.call import CallOptions
from doctor.rest_api.answering import SimulatedAnswer, simulated_callers
from doctor.rest_api.placed_call import AnsweredCall, Scenario
from doctor.rest_api.server import TwilioApi
from doctor.rest_api.shapes import RestError
from gateway.calls import Call
from programs import free_port
from rest_peers import ACCOUNT, FROM, TO

BEARER = {"Authorization": f"Bearer {CALLS_TOKEN}", "Content-Type": "application/json"}
LISTENS = replace(BRISK, greeting_s=0.8)
STEPS = ["initiated", "ringing", "in-progress", "completed"]


@dataclass
class Dialled:
    """A gateway and the Twilio that it dials with."""

    at: AtWork
    api: TwilioApi
    answers: list[SimulatedAnswer]

    async def post(self, **wanted: Any) -> Reply:
        body = json.dumps({"to": TO} | wanted).encode()
        return await ask(self.at.address, "POST", "/calls", BEARER, body)

    async def place(self, **wanted: Any) -> str:
        reply = await self.post(**wanted)
        assert reply.status == 201, reply
        call_sid = str(reply.json()["call_sid"])
        assert reply.headers["location"] == f"/calls/{call_sid}"
        return call_sid

    async def show(self, call_sid: str) -> dict[str, Any]:
        reply = await ask(self.at.address, "GET", f"/calls/{call_sid}", BEARER)
        assert reply.status == 200, reply
        return dict(reply.json())

    async def over(self, call_sid: str) -> dict[str, Any]:
        """What is told of a call once it has ended here and at Twilio."""
        await self.at.until("call_ended", call_sid=call_sid)
        await self.at.until("call_status", call_sid=call_sid, status="completed")
        return await self.show(call_sid)

    def steps(self, call_sid: str) -> list[str]:
        return [line["status"] for line in self.at.of("call_status", call_sid=call_sid)]


@asynccontextmanager
async def dialled(
    says: tuple[bytes, ...] = (),
    record: Path | None = None,
    scenario: Scenario | None = None,
    cast: dict[str, Any] | None = None,
    twilio: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[Dialled]:
    port = free_port()
    options = CallOptions(
        says=says,
        record=record,
        manners=BRISK if says else LISTENS,
        connect_to=Address("127.0.0.1", port),
        plain=True,
        limit_s=PATIENCE_S,
        say_letters_s=1000.0,
    )
    answers: list[SimulatedAnswer] = []
    make = simulated_callers(ACCOUNT, options)

    def answer(call: AnsweredCall) -> SimulatedAnswer:
        made = make(call)
        assert isinstance(made, SimulatedAnswer)
        answers.append(made)
        return made

    detour = Detour("voice.example.com", Address("127.0.0.1", port), plain=True)
    scenarios = {TO: scenario or Scenario()}
    async with TwilioApi(ACCOUNT, answer, scenarios=scenarios, detour=detour) as api:
        credentials = {
            "account_sid": ACCOUNT.sid,
            "auth_token": ACCOUNT.token,
            "calls_token": CALLS_TOKEN,
        }
        rest = {"from_number": FROM, "api_url": api.url} | (twilio or {})
        async with at_work(
            **cast or simple_cast(), port=port, credentials=credentials, twilio=rest, **settings
        ) as at:
            try:
                yield Dialled(at, api, answers)
            finally:
                await api.settled()


def test_a_notify_call_is_placed_said_and_followed_to_its_end(tmp_path: Path) -> None:
    async def work() -> None:
        record = tmp_path / "callee.wav"
        async with dialled(record=record) as line:
            call_sid = await line.place(say="The door is open.")
            ended = await line.over(call_sid)
            assert (ended["status"], ended["ending"], ended["mode"]) == (
                "completed",
                "done",
                "notify",
            )
            assert ended["number"] == TO
            assert line.steps(call_sid) == STEPS
            assert line.at.of("signature_refused") == []
            await line.api.settled()
            assert spelled(read_recording(record)[0]) == "The door is open."
            assert line.api.alerts == []
            ending = {"direction": "outbound", "mode": "notify", "ending": "done"}
            assert line.at.value("hopscope_calls_total", **ending) == 1

    run(work)


def test_a_conversation_is_placed_held_and_its_turns_are_told(tmp_path: Path) -> None:
    async def work() -> None:
        record = tmp_path / "callee.wav"
        cast = simple_cast("who is there", "goodbye")
        async with dialled((WORDS, WORDS), record, cast=cast, greeting="Hello.") as line:
            call_sid = await line.place(converse=True)
            ended = await line.over(call_sid)
            assert ended["ending"] == "caller_hung_up"
            assert ended["turns"] == [
                {"caller": "who is there", "agent": "1 who is there."},
                {"caller": "goodbye", "agent": "2 goodbye."},
            ]
            assert line.steps(call_sid) == STEPS
            await line.api.settled()
            assert spelled(read_recording(record)[0]) == "Hello.1 who is there.2 goodbye."
            assert line.api.alerts == []

    run(work)


def test_a_machine_that_answers_is_hung_up_on() -> None:
    async def work() -> None:
        scenario = Scenario(answered_by="machine", detect_s=0.3)
        async with dialled(scenario=scenario, greeting="Hello.") as line:
            call_sid = await line.place(converse=True, machine_detection="enable")
            ended = await line.over(call_sid)
            assert (ended["answered_by"], ended["ending"]) == ("machine_start", "machine")
            assert line.at.of("amd", call_sid=call_sid)[0]["answered_by"] == "machine_start"
            assert line.at.of("hang_up_failed") == []
            assert line.api.alerts == []
            report = line.answers[0].report
            assert report is not None
            assert report.ended_by == "api"

    run(work)


def test_a_machine_is_left_a_message_behind_the_beep(tmp_path: Path) -> None:
    async def work() -> None:
        record = tmp_path / "machine.wav"
        scenario = Scenario(answered_by="machine")
        twilio = {"machine_detection": "detect_message_end", "on_machine": "leave_message"}
        async with dialled(record=record, scenario=scenario, twilio=twilio) as line:
            call_sid = await line.place(say="Please call back.")
            ended = await line.over(call_sid)
            assert (ended["answered_by"], ended["ending"]) == ("machine_end_beep", "done")
            await line.api.settled()
            assert spelled(read_recording(record)[0]) == "Please call back."

    run(work)


def test_hanging_up_a_call_that_has_ended_is_no_failure() -> None:
    async def work() -> None:
        async with dialled() as line:
            call_sid = await line.place(say="Hi.")
            await line.over(call_sid)
            await line.api.settled()
            call = line.at.gateway.calls.get(call_sid)
            assert isinstance(call, Call)
            for line.api.ended_code in (20404, 21220):
                assert line.at.gateway._dialling is not None
                assert await line.at.gateway._dialling.hang_up(call) is False

    run(work)


def test_five_calls_in_and_out_at_once_are_each_others_no_hindrance() -> None:
    async def work() -> None:
        async with dialled((WORDS,), cast=simple_cast("one"), greeting="Hi.") as line:

            async def dial(**wanted: Any) -> dict[str, Any]:
                return await line.over(await line.place(**wanted))

            said, *talked = await asyncio.gather(
                dial(say="Out."),
                dial(converse=True),
                *(line.at.call("words", auth_token=ACCOUNT.token) for _ in range(3)),
            )
            assert isinstance(said, dict)
            assert said["ending"] == "done"
            placed, *came = talked
            assert isinstance(placed, dict)
            assert placed["turns"] == [{"caller": "one", "agent": "1 one."}]
            for heard in came:
                assert not isinstance(heard, dict)
                assert heard.text == "Hi.1 one."
            assert line.api.alerts == []
            assert line.at.value("hopscope_calls_active") == 0

    run(work)


def test_a_call_that_twilio_refuses_takes_no_line() -> None:
    async def work() -> None:
        async with dialled(limits={"calls": 1}) as line:
            line.api.refusals = [RestError(21215, "not permitted", 403)]
            refused = await line.post(say="Hi.")
            assert refused.status >= 400
            assert "Geo permissions" in refused.json()["hint"]
            ended = await line.over(await line.place(say="Hi."))
            assert ended["ending"] == "done"

    run(work)


def test_a_plan_is_one_calls_alone() -> None:
    """Whoever learns the URL of a plan cannot have its text read to another call."""

    async def work() -> None:
        async with dialled() as line:
            call_sid = await line.place(say="The code is 1234.")
            await line.over(call_sid)
            [placed] = line.api.calls.values()
            url = placed._request.instructions.fetched
            assert url is not None
            target = url.url.removeprefix("https://voice.example.com")
            form = {"CallSid": new_call_sid(), "Direction": "outbound-api", "To": TO}
            answer = await line.at.post(target, form, token=ACCOUNT.token)
            assert "1234" not in answer.text
            assert line.at.of("call_refused")[0]["reason"] == "plan_of_another_call"

    run(work)
