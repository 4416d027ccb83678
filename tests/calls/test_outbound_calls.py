"""Outbound calls of the gateway through the real twilio client, against Twilio's stand-in."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from doctor.rest_api.forms import Account, Callback, Instructions
from doctor.rest_api.placed_call import Scenario
from doctor.rest_api.server import TwilioApi
from doctor.rest_api.shapes import RestError
from gateway.dial_errors import TwilioError
from gateway.outbound import CallState, Outbound
from rest_peers import ACCOUNT, FROM, PATIENCE_S, TO, CallbackBook, Line, callback_book, run


class Sleeps(list[float]):
    """Takes no time."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def outbound(api_url: str, **options: Any) -> Outbound:
    token = options.pop("token", ACCOUNT.token)
    defaults: dict[str, Any] = {
        "timeout_s": PATIENCE_S,
        "calls_per_s": 1000.0,
        "sleep": Sleeps(),
    }
    return Outbound(ACCOUNT.sid, token, api_url=api_url, **defaults | options)


@asynccontextmanager
async def twilio(
    line: Line | None = None, **options: Any
) -> AsyncIterator[tuple[TwilioApi, CallbackBook]]:
    account = options.pop("account", ACCOUNT)
    async with callback_book() as book, TwilioApi(account, line or Line(), **options) as api:
        yield api, book


def create(on: Outbound, book: CallbackBook, **options: Any) -> Coroutine[Any, Any, str]:
    to = options.pop("to", TO)
    options.setdefault("from_", FROM)
    webhook, status = f"{book.url}/voice/webhook?plan=1", f"{book.url}/voice/status?plan=1"
    return on.create(to, webhook, status, **options)


def test_a_call_is_placed_followed_and_hung_up() -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        async with twilio(line) as (api, book):
            on = outbound(api.url)
            call_sid = await create(on, book)
            await book.until("in-progress")
            assert line.answered[0].instructions == Instructions(
                Callback(f"{book.url}/voice/webhook?plan=1", "POST")
            )
            assert await on.fetch(call_sid) == CallState(call_sid, "in-progress", None, None)
            assert await on.hang_up(call_sid) is True
            await api.settled()
            assert book.statuses() == ["initiated", "ringing", "in-progress", "completed"]
            assert all(posted.has_valid_signature for posted in book.posted)
            assert (await on.fetch(call_sid)).status == "completed"
            assert api.alerts == []

    run(work)


def test_a_proxy_of_the_environment_is_not_asked_for_what_is_on_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def work() -> None:
        async with twilio() as (api, book):
            assert await create(outbound(api.url), book) in api.calls

    run(work)


@pytest.mark.parametrize("ended_code", [20404, 21220])
def test_hanging_up_a_call_that_has_ended_is_success(ended_code: int) -> None:
    async def work() -> None:
        async with twilio() as (api, book):
            api.ended_code = ended_code
            on = outbound(api.url)
            call_sid = await create(on, book)
            await api.settled()
            assert await on.hang_up(call_sid) is False

    run(work)


def test_an_answering_machine_is_told_to_the_callback() -> None:
    async def work() -> None:
        line = Line(hang_up_now=False)
        scenarios = {TO: Scenario(answered_by="machine")}
        async with twilio(line, scenarios=scenarios) as (api, book):
            on = outbound(api.url)
            amd = f"{book.url}/voice/amd?plan=1"
            call_sid = await create(on, book, machine_detection="Enable", async_amd_callback=amd)
            async with asyncio.timeout(PATIENCE_S), book.changed:
                await book.changed.wait_for(lambda: any("amd" in post.path for post in book.posted))
            told = next(post for post in book.posted if "amd" in post.path)
            assert told.form["AnsweredBy"] == "machine_start"
            assert told.has_valid_signature
            assert await on.hang_up(call_sid)
            await api.settled()
            assert (await on.fetch(call_sid)).answered_by == "machine_start"

    run(work)


@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        ({"token": "wrong"}, 20003, "TWILIO_AUTH_TOKEN"),
        ({"from_": "+14155550111"}, 21210, "verify"),
        ({"to": "12345"}, 21211, "E.164"),
        ({"from_": "12345"}, 21212, "E.164"),
        ({"to": "+15005550001"}, 21217, "E.164"),
        ({"to": "+15005550002"}, 21214, "check the number"),
        ({"to": "+15005550003"}, 21215, "Geo permissions"),
        ({"to": "+15005550004"}, 21216, "support"),
        ({"verified": frozenset()}, 21219, "Verified Caller IDs"),
    ],
)
def test_each_refusal_says_what_to_do(options: dict[str, Any], code: int, hint: str) -> None:
    async def work() -> None:
        account = Account(ACCOUNT.sid, ACCOUNT.token, verified=options.pop("verified", None))
        async with twilio(account=account) as (api, book):
            on = outbound(api.url, token=options.pop("token", ACCOUNT.token))
            with pytest.raises(TwilioError) as refused:
                await create(on, book, **options)
            assert refused.value.code == code
            assert hint in refused.value.hint
            assert ACCOUNT.token not in str(refused.value)
            assert api.calls == {}

    run(work)


def test_too_many_requests_are_repeated_until_the_call_is_placed() -> None:
    async def work() -> None:
        async with twilio() as (api, book):
            api.refusals = [RestError(20429, "too many", 429)] * 2
            sleeps = Sleeps()
            assert await create(outbound(api.url, sleep=sleeps), book) in api.calls
            assert [wait for wait in sleeps if wait >= 1] == [1.0, 2.0]

    run(work)


def test_a_call_whose_answer_was_lost_is_found_and_not_placed_again() -> None:
    async def work() -> None:
        async with twilio() as (api, book):
            api.before_answer = asyncio.Event().wait  # for ever
            call_sid = await create(outbound(api.url, timeout_s=0.3), book)
            assert list(api.calls) == [call_sid]

    run(work)


def test_a_create_that_twilio_refused_with_500_is_looked_for_and_not_repeated() -> None:
    async def work() -> None:
        async with twilio() as (api, book):
            api.refusals = [RestError(20500, "Internal Server Error", 500)]
            with pytest.raises(TwilioError, match="is not placed again") as lost:
                await create(outbound(api.url), book)
            assert lost.value.may_have_happened
            assert api.calls == {}

    run(work)


@contextlib.contextmanager
def listener() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, "http://{}:{}".format(*server.getsockname())


def failure(api_url: str, **options: Any) -> TwilioError:
    async def work() -> TwilioError:
        with pytest.raises(TwilioError) as raised:
            await outbound(api_url, **options).create(TO, "u", "s", from_=FROM)
        return raised.value

    return run(work)


def test_a_closed_port_is_a_call_that_was_not_placed() -> None:
    with listener() as (_, url):
        pass
    error = failure(url)
    assert not error.may_have_happened
    assert error.error == "Twilio's API cannot be reached: no connection"


def test_a_name_that_does_not_resolve_is_a_call_that_was_not_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unresolved(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    error = failure("http://api.example.invalid")
    assert not error.may_have_happened
    assert "does not resolve" in error.error


def test_silence_is_a_call_that_may_ring() -> None:
    with listener() as (_, url):  # takes connections and never answers
        error = failure(url, timeout_s=0.2)
    assert error.may_have_happened
    assert "did not answer within 0.2 s" in error.error


def test_a_connection_that_breaks_is_a_call_that_may_ring() -> None:
    async def work() -> TwilioError:
        def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(drop, "127.0.0.1", 0)
        async with server:
            url = "http://{}:{}".format(*server.sockets[0].getsockname())
            with pytest.raises(TwilioError) as raised:
                await outbound(url).create(TO, "u", "s", from_=FROM)
        return raised.value

    error = run(work)
    assert error.may_have_happened
    assert "broke before it answered" in error.error
