"""Outbound calls from end to end, offline.

dial -> POST /calls -> gateway -> the real twilio client -> TwilioApi -> simulated caller
                          ^-------- webhooks, stream, status callbacks --------'
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from doctor.rest_api.answering import simulated_callers
from doctor.rest_api.forms import Account
from doctor.rest_api.placed_call import Scenario
from doctor.rest_api.server import TwilioApi
from gateway import casting
from gateway.calls import DialError
from gateway.credentials import Credentials
from gateway.dialer import View, dial
from gateway.gateway import Gateway
from gateway.settings import GatewaySettings
from rest_peers import ACCOUNT, FROM, TO, rest_client, run

TOKEN = "a-token-of-the-gateway"
STATES = ["queued", "initiated", "ringing", "in-progress", "completed"]


class Tone:
    """A voice of half a second, whatever it is to say."""

    name = "tone"

    async def warm(self) -> None: ...

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        yield b"\x20\xa0" * 2000

    async def close(self) -> None: ...


class Deaf:
    """Ears that understand nothing."""

    name = "deaf"

    async def warm(self) -> None: ...

    async def listen(self) -> "Deaf":
        return self

    def begin(self) -> None: ...

    def hear(self, audio: bytes) -> None: ...

    async def transcribe(self) -> str:
        return ""

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casting, "voices", lambda _: [Tone()])
    monkeypatch.setattr(casting, "ears", lambda _: [Deaf()])


@dataclass(frozen=True, slots=True)
class Rig:
    api: TwilioApi
    url: str

    async def dial(self, on_status: Callable[[View], None] = lambda _: None, **wanted: Any) -> View:
        return await dial(self.url, TOKEN, TO, on_status=on_status, poll_s=0.05, **wanted)


@asynccontextmanager
async def rig(account: Account = ACCOUNT, **scenario: Any) -> AsyncIterator[Rig]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    scenarios = {TO: Scenario(**scenario)}
    async with TwilioApi(account, simulated_callers(account), scenarios=scenarios) as api:
        given: dict[str, Any] = {
            "listen": f"127.0.0.1:{port}",
            "metrics": "off",
            "twilio": {"from_number": FROM, "api_url": api.url},
        }
        settings = GatewaySettings(**given)
        settings._credentials = Credentials(
            account_sid=ACCOUNT.sid, auth_token=ACCOUNT.token, calls_token=TOKEN
        )
        gateway = Gateway(settings)
        try:
            yield Rig(api, f"http://{await gateway.start()}")
        finally:
            await api.settled()
            await gateway.close()


def test_a_notify_call_says_its_text_and_ends() -> None:
    async def work() -> None:
        async with rig() as at:
            told: list[Any] = []
            result = await at.dial(lambda seen: told.append(seen["status"]), say="It is ready.")
            assert (result["status"], result["ending"]) == ("completed", "done")
            assert (result["mode"], result["direction"]) == ("notify", "outbound")
            # What is polled may skip a state that was short.
            assert told == sorted(told, key=STATES.index)
            assert told[-1] == "completed"
            assert at.api.alerts == []

    run(work)


def test_a_conversation_lasts_until_the_far_end_hangs_up() -> None:
    async def work() -> None:
        async with rig() as at:
            is_up = asyncio.Event()

            def see(seen: View) -> None:
                if seen["status"] == "in-progress":
                    is_up.set()

            async with asyncio.TaskGroup() as group:
                dialled = group.create_task(at.dial(see, converse=True))
                await is_up.wait()
                (call_sid,) = at.api.calls
                update = rest_client(at.api).calls(call_sid).update
                await asyncio.to_thread(update, status="completed")
            result = dialled.result()
            assert (result["call_sid"], result["status"]) == (call_sid, "completed")
            assert result["ending"] == "caller_hung_up"
            assert at.api.alerts == []

    run(work)


def test_a_second_call_works_as_the_first_did() -> None:
    async def work() -> None:
        async with rig() as at:
            first = await at.dial(say="One.")
            second = await at.dial(say="Two.")
            assert first["call_sid"] != second["call_sid"]
            assert [first["ending"], second["ending"]] == ["done", "done"]

    run(work)


@pytest.mark.parametrize(
    ("outcome", "ending"), [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed")]
)
def test_a_call_that_nobody_takes_ends_with_the_networks_word(outcome: str, ending: str) -> None:
    async def work() -> None:
        async with rig(outcome=outcome) as at:
            result = await at.dial(say="It is ready.")
            assert (result["status"], result["ending"]) == (outcome, ending)

    run(work)


def test_an_answering_machine_is_hung_up_on() -> None:
    async def work() -> None:
        async with rig(answered_by="machine", detect_s=0.3) as at:
            result = await at.dial(converse=True, machine_detection="enable")
            assert (result["answered_by"], result["status"]) == ("machine_start", "completed")
            assert at.api.alerts == []

    run(work)


def test_a_refusal_of_twilios_reaches_whoever_dials() -> None:
    async def work() -> None:
        trial = Account(ACCOUNT.sid, ACCOUNT.token, verified=frozenset())
        async with rig(trial) as at:
            with pytest.raises(DialError, match="Verified Caller IDs") as refused:
                await at.dial(say="It is ready.")
            assert refused.value.status == 422
            assert at.api.calls == {}

    run(work)
