"""The client of POST /calls, against a gateway that the test plays."""

import asyncio
import json
import socket
from typing import Any

import pytest
from aiohttp import web

from gateway.calls import DialError
from gateway.dialer import LOST_S, SETTLE_S, dial

SID = "CA" + "2" * 32
TOKEN = "a-token-of-the-gateway"
PATIENCE_S = 10.0
Reply = tuple[int, Any] | None  # None: the connection is cut


def view(**changed: Any) -> dict[str, Any]:
    return {"call_sid": SID, "status": "queued", "ending": None} | changed


PLACED: Reply = (201, view(plan="p"))
DONE: Reply = (200, view(status="completed", ending="done", duration_s=3.5))


class Gateway:
    """Gives these replies, one a request; the last one again and again."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str, Any]] = []
        self.tokens: set[str] = set()
        self.url = ""

    async def reply(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.text() or "null")
        self.asked.append((request.method, request.path_qs, body))
        self.tokens.add(request.headers.get("Authorization", ""))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, content = reply
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status, text=text, headers={"Location": "/elsewhere"})

    @property
    def posts(self) -> int:
        return sum(method == "POST" for method, _, _ in self.asked)


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


def run(gateway: Gateway, **options: Any) -> dict[str, Any]:
    """Dial, with a text to say unless the options have something else."""

    async def work() -> dict[str, Any]:
        runner = web.ServerRunner(web.Server(gateway.reply, access_log=None))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gateway.url = "http://{}:{}".format(*runner.addresses[0][:2])
            arguments: dict[str, Any] = {"say": "Hello.", "sleep": Sleeps()} | options
            async with asyncio.timeout(PATIENCE_S):
                return await dial(gateway.url, TOKEN, "+14155550100", **arguments)
        finally:
            await runner.cleanup()

    return asyncio.run(work())


def failure(gateway: Gateway, **options: Any) -> DialError:
    with pytest.raises(DialError) as raised:
        run(gateway, **options)
    assert TOKEN not in str(raised.value)
    return raised.value


def test_a_call_is_asked_for_once_and_followed_to_its_end() -> None:
    told: list[Any] = []
    gateway = Gateway(
        PLACED,
        (200, view(status="ringing")),
        (200, view(status="ringing")),
        (200, view(status="in-progress")),
        (200, view(status="in-progress", turns=[{"caller": "hello"}])),
        DONE,
    )
    result = run(gateway, on_status=lambda seen: told.append(seen["status"]))
    assert result["duration_s"] == 3.5
    assert told == ["queued", "ringing", "in-progress", "in-progress", "completed"]
    assert gateway.asked[0] == ("POST", "/calls", {"to": "+14155550100", "say": "Hello."})
    assert gateway.asked[1] == ("GET", f"/calls/{SID}", None)
    assert gateway.tokens == {f"Bearer {TOKEN}"}


def test_a_conversation_and_machine_detection_are_asked_for_by_name() -> None:
    gateway = Gateway(PLACED, DONE)
    run(gateway, say=None, converse=True, machine_detection="enable")
    assert gateway.asked[0][2] == {
        "to": "+14155550100",
        "converse": True,
        "machine_detection": "enable",
    }


@pytest.mark.parametrize("options", [{"say": None}, {"converse": True}])
def test_a_call_has_one_purpose(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either says a text or converses"):
        run(Gateway(PLACED), **options)


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
def test_a_call_that_nobody_took_is_an_end_and_no_error(status: str) -> None:
    gateway = Gateway(PLACED, (200, view(status=status, ending=status.replace("-", "_"))))
    assert run(gateway)["status"] == status


@pytest.mark.parametrize(
    "half", [view(status="completed"), view(status="in-progress", ending="done")]
)
def test_an_end_that_only_one_side_tells_of_is_believed_after_a_while(half: Any) -> None:
    sleeps = Sleeps()
    assert run(Gateway(PLACED, (200, half)), sleep=sleeps, poll_s=1.0) == half
    assert sum(sleeps) == SETTLE_S


def test_a_gateway_that_comes_back_is_waited_for() -> None:
    gateway = Gateway(PLACED, None, (503, "restarting"), (200, view(status="ringing")), DONE)
    assert run(gateway)["ending"] == "done"


def test_a_gateway_that_stays_away_leaves_the_call_to_itself() -> None:
    sleeps = Sleeps()
    error = failure(Gateway(PLACED, (502, "")), sleep=sleeps, poll_s=1.0)
    assert SID in error.error
    assert "may go on" in error.error
    assert sum(sleeps) == LOST_S


def test_outages_are_forgiven_one_by_one() -> None:
    polls: list[Reply] = [(503, ""), (200, view(status="in-progress"))] * 20
    assert run(Gateway(PLACED, *polls, DONE), poll_s=1.0)["ending"] == "done"


def test_a_call_that_the_gateway_forgot_is_told_as_such() -> None:
    error = failure(Gateway(PLACED, (404, {"error": "unknown call"})))
    assert "does not know the call" in error.error


@pytest.mark.parametrize(
    ("reply", "error", "hint"),
    [
        ((401, {}), "does not accept the token", "HOPSCOPE_CALLS_TOKEN"),
        ((403, "<html>"), "does not accept the token", "HOPSCOPE_CALLS_TOKEN"),
        ((404, ""), "takes no calls", "set HOPSCOPE_CALLS_TOKEN where it runs"),
        ((422, {"error": "not a number", "hint": "E.164"}), "not a number", "E.164"),
        ((503, {"error": "all lines are busy"}), "all lines are busy", ""),
        ((502, "<html>bad gateway</html>"), "HTTP 502) is not the gateway", "in front of it"),
        ((301, ""), "HTTP 301) is not the gateway", "in front of it"),
        ((200, {"call_sid": SID}), "HTTP 200) is not the gateway", "in front of it"),
        ((201, "hello"), "HTTP 201) is not the gateway", "in front of it"),
        ((201, ["a"]), "HTTP 201) is not the gateway", "in front of it"),
        (None, "may have been placed, so it is not asked for again", "log"),
    ],
)
def test_each_refusal_says_what_to_do_and_is_not_tried_again(
    reply: Reply, error: str, hint: str
) -> None:
    gateway = Gateway(reply)
    refused = failure(gateway)
    assert error in refused.error
    assert hint in refused.hint
    assert gateway.posts == len(gateway.asked) == 1


def refused_before(url: str, token: str = TOKEN) -> DialError:
    with pytest.raises(DialError) as raised:
        asyncio.run(dial(url, token, "+14155550100", say="Hello."))
    return raised.value


def test_a_gateway_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = "http://{}:{}".format(*server.getsockname())
    error = refused_before(url)
    assert url in error.error
    assert "hopscope gateway" in error.hint


def test_a_plain_gateway_behind_an_https_url_is_told_as_such() -> None:
    async def work() -> DialError:
        runner = web.ServerRunner(web.Server(Gateway(PLACED).reply, access_log=None))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = "https://{}:{}".format(*runner.addresses[0][:2])
            with pytest.raises(DialError) as raised:
                await dial(url, TOKEN, "+14155550100", say="Hello.")
        finally:
            await runner.cleanup()
        return raised.value

    assert "no certificate that is trusted" in asyncio.run(work()).error


@pytest.mark.parametrize("url", ["", "127.0.0.1:8081", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_what_is_no_address_is_not_dialled(url: str) -> None:
    assert "is not the address of a gateway" in refused_before(url).error


def test_the_token_does_not_cross_the_network_in_the_clear() -> None:
    assert "in the clear" in refused_before("http://voice.example.com").error


def test_without_a_token_nothing_is_sent() -> None:
    assert "HOPSCOPE_CALLS_TOKEN" in refused_before("http://127.0.0.1:1", token="").hint


def test_the_work_is_bounded_by_the_gateways_answer_not_by_the_calls_length() -> None:
    """A call may last for hours: nothing but the gateway's silence ends the following."""
    polls: list[Reply] = [(200, view(status="in-progress"))] * 200
    assert run(Gateway(PLACED, *polls, DONE), poll_s=60.0)["ending"] == "done"
