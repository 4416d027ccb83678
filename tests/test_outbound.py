"""What the gateway asks of Twilio's REST API, and what it makes of each answer.

The library is the real one; in place of its HTTP client stands a script of answers.
"""

import asyncio
import json
import traceback
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import requests
from twilio.http import HttpClient
from twilio.http.response import Response

from gateway.dial_errors import TwilioError
from gateway.outbound import CallState, Outbound

T = TypeVar("T")
ACCOUNT, TOKEN = "AC" + "1" * 32, "a-secret-token"
SID, OTHER = "CA" + "2" * 32, "CA" + "3" * 32
TO, FROM = "+14155550100", "+15005550006"
URL = "https://voice.example.com/voice/webhook?plan=secret-plan"
STATUS = "https://voice.example.com/voice/status?plan=secret-plan"
NOW = 1_700_000_000.0

Answer = tuple[int, Any] | Exception


def respond(answer: Answer) -> Response:
    if isinstance(answer, Exception):
        raise answer
    status, body = answer
    return Response(status, body if isinstance(body, str) else json.dumps(body))


class Scripted(HttpClient):  # type: ignore[misc]  # the library has no types
    """Gives these answers, one a request, and keeps what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.timeout = 5.0
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []

    def request(self, method: str, url: str, **more: Any) -> Response:
        self.asked.append((method, url, more.get("data") or more.get("params")))
        return respond(self.answers.pop(0))

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _, _ in self.asked)


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def call(sid: str = SID, **changed: Any) -> dict[str, Any]:
    created = formatdate(NOW)
    return {"sid": sid, "status": "queued", "date_created": created} | changed


def refusal(code: int, status: int = 400) -> Answer:
    message = f"{URL} {TO} {TOKEN}"  # Twilio quotes what it was sent
    return status, {"code": code, "message": message, "more_info": "", "status": status}


def outbound(http: Scripted, sleeps: Sleeps | None = None, **options: Any) -> Outbound:
    return Outbound(
        ACCOUNT,
        TOKEN,
        http_client=http,
        sleep=sleeps if sleeps is not None else Sleeps(),
        clock=lambda: 100.0,
        now=lambda: NOW,
        **options,
    )


def create(on: Outbound, **options: Any) -> Coroutine[Any, Any, str]:
    return on.create(TO, URL, STATUS, from_=FROM, **options)


def failure(work: Coroutine[Any, Any, T]) -> TwilioError:
    with pytest.raises(TwilioError) as raised:
        asyncio.run(work)
    told = "".join(traceback.format_exception(raised.value)) + repr(raised.value.args)
    for secret in (TOKEN, "secret-plan"):
        assert secret not in told
    return raised.value


def listed(*calls: dict[str, Any]) -> Answer:
    return 200, {"calls": list(calls), "page": 0, "page_size": 20, "next_page_uri": None}


def test_a_create_asks_for_the_call_and_every_word_about_it() -> None:
    http = Scripted((201, call()))
    assert asyncio.run(create(outbound(http), timeout_s=25, time_limit_s=600)) == SID
    method, url, data = http.asked[0]
    assert (method, url) == (
        "POST",
        f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Calls.json",
    )
    assert data == {
        "To": TO,
        "From": FROM,
        "Url": URL,
        "Method": "POST",
        "StatusCallback": STATUS,
        "StatusCallbackMethod": "POST",
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
        "Timeout": 25,
        "TimeLimit": 600,
    }


def test_machine_detection_runs_beside_the_call_where_it_can_be_told_of() -> None:
    http = Scripted((201, call()), (201, call()))
    on = outbound(http)
    amd = "https://voice.example.com/voice/amd"

    async def both() -> None:
        await create(on, machine_detection="Enable", async_amd_callback=amd)
        await create(on, machine_detection="DetectMessageEnd")

    asyncio.run(both())
    first, second = (data for _, _, data in http.asked)
    assert (first["MachineDetection"], first["AsyncAmd"]) == ("Enable", "true")
    assert first["AsyncAmdStatusCallback"] == amd
    assert second["MachineDetection"] == "DetectMessageEnd"
    assert "AsyncAmd" not in second


@pytest.mark.parametrize(
    ("region", "edge", "host"),
    [
        (None, None, "api.twilio.com"),
        ("us1", "ashburn", "api.ashburn.us1.twilio.com"),
        ("ie1", "dublin", "api.dublin.ie1.twilio.com"),
        ("au1", "sydney", "api.sydney.au1.twilio.com"),
    ],
)
def test_region_and_edge_make_the_host(region: str | None, edge: str | None, host: str) -> None:
    http = Scripted((201, call()))
    asyncio.run(create(outbound(http, region=region, edge=edge)))
    assert urlsplit(http.asked[0][1]).hostname == host


@pytest.mark.parametrize("half", [{"region": "au1"}, {"edge": "sydney"}])
def test_a_region_without_its_edge_is_refused(half: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="au1 and sydney"):
        outbound(Scripted(), **half)


def test_a_region_of_the_environment_does_not_come_in_by_the_back_door(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    http = Scripted((201, call()))
    asyncio.run(create(outbound(http)))
    assert urlsplit(http.asked[0][1]).hostname == "api.twilio.com"


def test_calls_take_turns_a_second_apart_and_wait_no_longer_than_the_limit() -> None:
    sleeps = Sleeps()
    http = Scripted(*[(201, call())] * 3)
    on = outbound(http, sleeps, wait_limit_s=2.0)

    async def four() -> None:
        for _ in range(4):
            await create(on)

    error = failure(four())
    assert sleeps == [1.0, 2.0]
    assert (error.status, error.may_have_happened, http.posts) == (503, False, 3)


@pytest.mark.parametrize(
    ("code", "status"),
    [(20003, 401), (21210, 400), (21211, 400), (21215, 400), (21219, 400), (29999, 400)],
)
def test_a_refusal_is_told_in_our_words_and_not_tried_again(code: int, status: int) -> None:
    http = Scripted(refusal(code, status))
    error = failure(create(outbound(http)))
    assert (error.code, error.may_have_happened) == (code, False)
    assert str(code) in str(error)
    assert len(http.asked) == 1


def test_what_is_no_answer_of_twilios_is_told_as_such() -> None:
    error = failure(create(outbound(Scripted((404, "<html>404</html>")))))
    assert (error.code, error.may_have_happened) == (None, False)
    assert "HTTP 404 that is not Twilio's" in str(error)


def test_too_many_requests_are_repeated_because_twilio_did_not_carry_them_out() -> None:
    sleeps = Sleeps()
    http = Scripted(refusal(20429, 429), refusal(20429, 429), (201, call()))
    assert asyncio.run(create(outbound(http, sleeps))) == SID
    assert sleeps == [1.0, 2.0]


def test_too_many_requests_are_not_repeated_for_ever() -> None:
    http = Scripted(*[refusal(20429, 429)] * 4)
    error = failure(create(outbound(http)))
    assert (error.code, error.status, http.posts) == (20429, 503, 4)


LOST: list[Answer] = [
    requests.ReadTimeout("read timed out"),
    requests.ConnectionError("Connection aborted.", ConnectionResetError(104, "reset")),
    (503, "<html>upstream</html>"),
    refusal(20500, 500),
    (201, "<html>a captive portal</html>"),
    (201, {"status": "queued"}),
    (201, []),
]


@pytest.mark.parametrize("lost", LOST)
def test_a_create_without_an_answer_is_never_sent_again(lost: Answer) -> None:
    http = Scripted(lost, listed(), listed())
    error = failure(create(outbound(http)))
    assert error.may_have_happened
    assert "is not placed again" in error.error
    assert "call log" in error.hint
    assert http.posts == 1


@pytest.mark.parametrize("lost", LOST)
def test_the_call_of_an_unanswered_create_is_found(lost: Answer) -> None:
    sleeps = Sleeps()
    http = Scripted(lost, listed(), listed(call()))
    assert asyncio.run(create(outbound(http, sleeps))) == SID
    assert sleeps == [1.0, 3.0]
    assert http.posts == 1
    assert http.asked[1][2] == {"To": TO, "From": FROM, "PageSize": 20}


def test_a_look_up_that_fails_is_tried_once_more() -> None:
    http = Scripted(LOST[0], requests.ReadTimeout("again"), listed(call()))
    assert asyncio.run(create(outbound(http))) == SID


@pytest.mark.parametrize(
    "calls",
    [
        [call(date_created=formatdate(NOW - 6))],
        [call(date_created=None)],
        [call(), call(OTHER)],
    ],
)
def test_an_older_or_a_doubtful_call_is_not_taken_for_the_lost_one(
    calls: list[dict[str, Any]],
) -> None:
    http = Scripted(LOST[0], listed(*calls), listed(*calls))
    assert failure(create(outbound(http))).may_have_happened


def test_a_call_that_was_answered_for_is_not_taken_for_the_lost_one() -> None:
    http = Scripted((201, call()), LOST[0], listed(call()), listed(call(), call(OTHER)))
    on = outbound(http)

    async def both() -> list[str]:
        return [await create(on), await create(on)]

    assert asyncio.run(both()) == [SID, OTHER]


def test_two_lost_creates_to_one_number_are_not_told_apart() -> None:
    http = Scripted(LOST[0], LOST[0], *[listed(call())] * 4)
    on = outbound(http)

    async def both() -> list[str | BaseException]:
        return list(await asyncio.gather(create(on), create(on), return_exceptions=True))

    assert [type(outcome) for outcome in asyncio.run(both())] == [TwilioError, TwilioError]
    assert http.posts == 2


def test_a_create_after_a_lost_one_may_not_take_its_call() -> None:
    http = Scripted(LOST[0], listed(), listed(), LOST[0], *[listed(call())] * 2)
    on = outbound(http)
    failure(create(on))
    assert failure(create(on)).may_have_happened


def test_a_create_to_another_number_does_not_make_the_call_doubtful() -> None:
    class ByNumber(Scripted):
        def request(self, method: str, url: str, **more: Any) -> Response:
            if method == "GET":
                return respond(listed(call()))
            return respond(LOST[0] if more["data"]["To"] == TO else (201, call(OTHER)))

    on = outbound(ByNumber())

    async def both() -> list[str]:
        other = on.create("+14155550199", URL, STATUS, from_=FROM)
        return list(await asyncio.gather(create(on), other))

    assert asyncio.run(both()) == [SID, OTHER]


def test_what_never_left_this_machine_is_not_looked_for() -> None:
    http = Scripted(requests.ConnectTimeout("no route"))
    error = failure(create(outbound(http)))
    assert not error.may_have_happened
    assert "no connection in time" in str(error)
    assert len(http.asked) == 1


def test_hanging_up_completes_the_call() -> None:
    http = Scripted((200, call(status="completed")))
    assert asyncio.run(outbound(http).hang_up(SID)) is True
    assert http.asked[0][1].endswith(f"/Calls/{SID}.json")
    assert http.asked[0][2] == {"Status": "completed"}


@pytest.mark.parametrize("answer", [refusal(20404, 404), refusal(21220)])
def test_hanging_up_an_ended_call_is_no_failure(answer: Answer) -> None:
    assert asyncio.run(outbound(Scripted(answer)).hang_up(SID)) is False


def test_a_404_that_is_not_twilios_is_no_ended_call() -> None:
    assert failure(outbound(Scripted((404, "<html>"))).hang_up(SID)).code is None


def test_hanging_up_is_tried_twice_where_it_may_not_have_arrived() -> None:
    http = Scripted(LOST[0], (200, call()))
    assert asyncio.run(outbound(http).hang_up(SID)) is True
    http = Scripted(LOST[0], LOST[1])
    assert failure(outbound(http).hang_up(SID)).may_have_happened
    assert http.posts == 2


def test_hanging_up_is_not_tried_twice_where_twilio_refused() -> None:
    http = Scripted(refusal(20003, 401))
    assert failure(outbound(http).hang_up(SID)).code == 20003
    assert http.posts == 1


def test_a_call_tells_how_it_is_doing() -> None:
    done = call(status="completed", duration="12", answered_by="machine_start")
    http = Scripted((200, call(status="ringing")), (200, done))
    on = outbound(http)
    assert asyncio.run(on.fetch(SID)) == CallState(SID, "ringing", None, None)
    assert asyncio.run(on.fetch(SID)) == CallState(SID, "completed", "machine_start", 12)


def test_a_call_that_twilio_does_not_know_is_an_error() -> None:
    assert failure(outbound(Scripted(refusal(20404, 404))).fetch(SID)).code == 20404
