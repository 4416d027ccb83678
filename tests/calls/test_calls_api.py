"""POST /calls and GET /calls/{sid}: who may, what is asked for, and what is answered."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.calls import Call, DialError, Plan
from gateway.calls_api import Dial
from gateway.credentials import Credentials
from gateway.webhooks import Webhooks
from webhook_gateway import ALICE, SID, Gateway, Reply, running

TOKEN = "made-up-and-long-enough"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Dialler:
    """Places calls by name alone."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.dialled: list[tuple[str, Plan, str]] = []
        self.error: Exception | None = None

    async def __call__(self, to: str, plan: Plan, machine_detection: str) -> Call:
        self.dialled.append((to, plan, machine_detection))
        if self.error is not None:
            raise self.error
        plan_id = self._gateway.plan(plan)
        call = self._gateway.calls.dialled(plan_id, SID, 0)
        assert call is not None
        return call


@contextmanager
def with_calls(**settings: Any) -> Iterator[tuple[Gateway, Dialler]]:
    """A gateway that has a token for calls, and places them."""
    with running(credentials=Credentials(calls_token=TOKEN), **settings) as gateway:
        dialler = Dialler(gateway)
        install(gateway, dialler)
        yield gateway, dialler


def install(gateway: Gateway, dial: Dial | None) -> None:
    api = gateway.webhooks._calls_api
    api._dial = dial


def post(gateway: Gateway, body: object, **headers: str) -> Reply:
    fields = {"Content-Type": "application/json", **BEARER, **headers}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.ask("POST", "/calls", fields, data)


def test_a_text_to_say_is_a_notify_call() -> None:
    with with_calls() as (gateway, dialler):
        reply = post(gateway, {"to": ALICE, "say": "Your table is ready."})
        assert (reply.status, reply.headers["location"]) == (201, f"/calls/{SID}")
        shown = json.loads(reply.text)
        assert (shown["call_sid"], shown["status"], shown["mode"]) == (SID, "queued", "notify")
        assert dialler.dialled == [(ALICE, Plan("notify", "Your table is ready."), "off")]


def test_to_converse_is_a_conversation_that_begins_with_the_greeting() -> None:
    with with_calls(greeting="Hi.", twilio={"machine_detection": "enable"}) as (gateway, dialler):
        assert post(gateway, {"to": ALICE, "converse": True}).status == 201
        wanted = {"to": ALICE, "converse": True, "machine_detection": "detect_message_end"}
        assert post(gateway, wanted).status == 201
        assert dialler.dialled == [
            (ALICE, Plan("conversation", "Hi."), "enable"),
            (ALICE, Plan("conversation", "Hi."), "detect_message_end"),
        ]


def test_a_call_is_followed_to_its_end() -> None:
    with with_calls() as (gateway, _):
        post(gateway, {"to": ALICE, "say": "Ready."})
        gateway.post("/voice/status", SID, CallStatus="no-answer")
        reply = gateway.ask("GET", f"/calls/{SID}", BEARER)
        assert reply.status == 200
        shown = json.loads(reply.text)
        del shown["duration_s"]
        assert shown == {
            "call_sid": SID,
            "direction": "outbound",
            "mode": "notify",
            "number": ALICE,
            "status": "no-answer",
            "answered_by": None,
            "ending": "no_answer",
            "stream_error": None,
            "turns": [],
        }


@pytest.mark.parametrize("path", ["/calls/CA9", "/calls/", f"/calls/{SID}/more"])
def test_a_call_that_is_not_known_is_not_found(path: str) -> None:
    with with_calls() as (gateway, _):
        reply = gateway.ask("GET", path, BEARER)
        assert reply.status == 404
        assert "no call of this CallSid" in json.loads(reply.text)["error"]


def test_without_a_token_of_its_own_the_path_does_not_exist() -> None:
    with running() as gateway:
        assert post(gateway, {"to": ALICE, "say": "x"}).status == 404
        reply = gateway.ask("GET", f"/calls/{SID}", {"Authorization": "Bearer "})
        assert reply.status == 404
        assert "There is nothing at" in reply.text


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ü",
    ],
)
@pytest.mark.parametrize("target", ["/calls", f"/calls/{SID}"])
def test_who_has_not_the_token_learns_nothing(authorization: str, target: str) -> None:
    with with_calls() as (gateway, dialler):
        gateway.run(dialler(ALICE, Plan("notify", "x"), "off"))
        for method in ("GET", "POST"):
            reply = gateway.ask(method, target, {"Authorization": authorization})
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert SID not in reply.text
            assert TOKEN not in reply.text
        assert len(dialler.dialled) == 1


def test_the_scheme_of_the_token_may_be_written_in_any_case() -> None:
    with with_calls() as (gateway, _):
        fields = {"Authorization": f"bearer  {TOKEN}"}
        assert gateway.ask("GET", "/calls/CA9", fields).status == 404


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        ({}, "to: Field required"),
        ({"to": "5550100001", "say": "x"}, "to: should be a number in E.164 form"),
        ({"to": 15550100001, "say": "x"}, "to: Input should be a valid string"),
        ({"to": ALICE}, "should have either say, a text, or converse, true"),
        ({"to": ALICE, "say": ""}, "should have either say, a text, or converse, true"),
        ({"to": ALICE, "say": "x", "converse": True}, "should have either say"),
        ({"to": ALICE, "converse": False}, "should have either say"),
        ({"to": ALICE, "converse": "yes"}, "converse: Input should be a valid boolean"),
        ({"to": ALICE, "say": " "}, "say: should be a text to say"),
        ({"to": ALICE, "say": "x\x00"}, "say: holds control characters"),
        ({"to": ALICE, "say": "x" * 4097}, "say: should be at most 4096 characters to say"),
        ({"to": ALICE, "say": "x", "machine_detection": "on"}, "machine_detection: Input should"),
        ({"to": ALICE, "say": "x", "from": ALICE}, "from: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_wish_is_refused_with_what_is_wrong(body: object, error: str) -> None:
    with with_calls() as (gateway, dialler):
        reply = post(gateway, body)
        assert reply.status == 400
        told = json.loads(reply.text)
        assert told["error"].startswith(error)
        assert "for example" in told["hint"]
        assert dialler.dialled == []


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/calls", {}, 405),
        ("DELETE", f"/calls/{SID}", {}, 405),
        ("POST", "/calls", {"Content-Type": "text/plain"}, 415),
        ("POST", "/calls", {"Content-Type": "application/json", "Content-Length": "9999999"}, 413),
    ],
)
def test_requests_that_are_none_are_refused_in_json(
    method: str, target: str, headers: dict[str, str], status: int
) -> None:
    with with_calls() as (gateway, _):
        reply = gateway.ask(method, target, BEARER | headers)
        assert reply.status == status
        assert json.loads(reply.text)["error"]
        assert ("allow" in reply.headers) is (status == 405)


def test_what_twilio_refuses_is_told_with_what_to_do() -> None:
    with with_calls() as (gateway, dialler):
        dialler.error = DialError("the number cannot be called", "verify it first", status=422)
        reply = post(gateway, {"to": ALICE, "say": "x"})
        assert reply.status == 422
        assert json.loads(reply.text) == {
            "error": "the number cannot be called",
            "hint": "verify it first",
        }
        assert gateway.of("dial_failed") == [
            {"number": "+********001", "error": "the number cannot be called", "status": 422}
        ]


def test_what_breaks_inside_is_logged_and_answered() -> None:
    with with_calls() as (gateway, dialler):
        dialler.error = KeyError("made-up")
        reply = post(gateway, {"to": ALICE, "say": "x"})
        assert reply.status == 503
        assert "made-up" not in reply.text
        assert gateway.of("webhook_failed")[0]["path"] == "calls"


def test_a_gateway_that_cannot_place_calls_says_what_it_lacks() -> None:
    with with_calls() as (gateway, _):
        install(gateway, None)
        reply = post(gateway, {"to": ALICE, "say": "x"})
        assert reply.status == 503
        assert "gateway.twilio.from_number" in json.loads(reply.text)["hint"]


def test_nobody_is_called_for_a_conversation_that_cannot_be_served() -> None:
    with with_calls() as (gateway, dialler):
        gateway.because = "We are restarting."
        reply = post(gateway, {"to": ALICE, "converse": True})
        assert (reply.status, json.loads(reply.text)["error"]) == (503, "We are restarting.")
        assert dialler.dialled == []


@pytest.mark.parametrize("public_url", ["https://voice.example.com/pre", "https://a.b/calls"])
def test_a_prefix_does_not_hide_it(public_url: str) -> None:
    with running(public_url, credentials=Credentials(calls_token=TOKEN)) as gateway:
        prefix = public_url.partition("//")[2].partition("/")[2]
        for target in ("/calls/CA9", f"/{prefix}/calls/CA9"):
            assert json.loads(gateway.ask("GET", target, BEARER).text)["error"]


def test_the_webhooks_take_the_dialler_that_they_are_given() -> None:
    with running(credentials=Credentials(calls_token=TOKEN)) as gateway:
        dialler = Dialler(gateway)
        gateway.webhooks = Webhooks(
            gateway.settings,
            gateway.calls,
            gateway.webhooks._checker,
            gateway.events,
            unservable=lambda: None,
            warm=lambda _call: None,
            dial=dialler,
        )
        server = gateway.run(gateway.start())
        assert post(gateway, {"to": ALICE, "say": "x"}).status == 201
        gateway.run(server.cleanup())
        assert len(dialler.dialled) == 1
