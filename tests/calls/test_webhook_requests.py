"""Requests to the webhooks: whose they are, what they may be, and how each is answered."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from gateway.calls import Plan
from gateway.credentials import Credentials
from webhook_gateway import (
    ALICE,
    AMD,
    FORM_TYPE,
    INBOUND,
    OURS,
    PUBLIC,
    SID,
    STATUS,
    STREAM_STATUS,
    TOKEN,
    WEBHOOK,
    Gateway,
    running,
)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running() as gateway:
        yield gateway


# Signatures


@pytest.mark.parametrize("path", [WEBHOOK, STATUS, STREAM_STATUS, AMD])
def test_every_webhook_wants_a_signature(gateway: Gateway, path: str) -> None:
    body, headers = gateway.signed(path, {"CallSid": SID})
    del headers["X-Twilio-Signature"]
    reply = gateway.ask("POST", path, headers, body)
    assert reply.status == 403
    assert "X-Twilio-Signature is missing" in reply.text
    assert gateway.of("signature_refused")[0]["reason"] == "missing"
    assert gateway.calls.get(SID) is None


def test_a_wrong_signature_is_explained_in_the_log_and_not_in_the_answer(gateway: Gateway) -> None:
    form = {"CallSid": SID, **INBOUND}
    body, headers = gateway.signed(WEBHOOK, form, over=f"http://voice.example.com{WEBHOOK}")
    reply = gateway.ask("POST", WEBHOOK, headers, body)
    assert reply.status == 403
    assert "X-Twilio-Signature does not match" in reply.text
    assert "http://" not in reply.text
    refused = gateway.of("signature_refused")[0]
    assert refused["what"] == "webhook"
    assert refused["url"] == PUBLIC + WEBHOOK
    assert refused["matches"][0].startswith("it matches http:// in place of https://")
    assert gateway.value("hopscope_signatures_refused_total", what="webhook") == 1


def test_another_regions_token_is_named(gateway: Gateway) -> None:
    form = {"CallSid": SID, **INBOUND}
    body, headers = gateway.signed(WEBHOOK, form, by="made-up-of-ireland")
    assert gateway.ask("POST", WEBHOOK, headers, body).status == 403
    assert "the token of region ie1" in gateway.of("signature_refused")[0]["matches"][0]


@pytest.mark.parametrize(
    ("public_url", "target"),
    [
        ("https://voice.example.com", WEBHOOK),
        ("https://voice.example.com:8443", WEBHOOK),
        ("https://voice.example.com/pre", WEBHOOK),
        ("https://voice.example.com/pre", f"/pre{WEBHOOK}"),
        ("https://voice.example.com/voice", WEBHOOK),
        ("http://127.0.0.1:8081", WEBHOOK),
    ],
)
def test_behind_a_port_or_a_proxy_the_public_url_alone_counts(public_url: str, target: str) -> None:
    """Whatever the request's own headers say of host, scheme and port."""
    with running(public_url) as gateway:
        form = {"CallSid": SID, **INBOUND}
        body, headers = gateway.signed(WEBHOOK, form)
        headers |= {
            "X-Forwarded-Proto": "http, https",
            "X-Forwarded-Host": "inner:8081",
            "X-Forwarded-Port": "8081",
        }
        reply = gateway.ask("POST", target, headers | {"Host": "127.0.0.1:8081"}, body)
        assert reply.verbs == ["Connect", "Redirect"]
        split = urlsplit(public_url)
        scheme = {"https": "wss", "http": "ws"}[split.scheme]
        assert reply.stream[0] == f"{scheme}://{split.netloc}{split.path}/voice/stream"


def test_forwarded_headers_alone_prove_nothing(gateway: Gateway) -> None:
    form = {"CallSid": SID, **INBOUND}
    body, headers = gateway.signed(WEBHOOK, form, over=f"https://evil.example.com{WEBHOOK}")
    headers |= {"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"}
    assert gateway.ask("POST", WEBHOOK, headers, body).status == 403
    assert "the host evil.example.com" in gateway.of("signature_refused")[0]["matches"][0]


def test_a_kept_answer_is_not_given_to_who_only_knows_its_token(gateway: Gateway) -> None:
    gateway.post(retry="a-token")
    body, headers = gateway.signed(WEBHOOK, {"CallSid": SID, **INBOUND}, by="guess")
    headers["I-Twilio-Idempotency-Token"] = "a-token"
    assert gateway.ask("POST", WEBHOOK, headers, body).status == 403


def test_the_query_is_part_of_what_is_signed(gateway: Gateway) -> None:
    body, headers = gateway.signed(WEBHOOK, {"CallSid": SID, **INBOUND})
    assert gateway.ask("POST", f"{WEBHOOK}?after=stream", headers, body).status == 403


def test_a_whole_url_as_the_target_is_the_same_request(gateway: Gateway) -> None:
    body, headers = gateway.signed(WEBHOOK, {"CallSid": SID, **INBOUND})
    reply = gateway.ask("POST", f"http://voice.example.com{WEBHOOK}", headers, body)
    assert reply.verbs == ["Connect", "Redirect"]


# HTTP


@pytest.mark.parametrize("path", [WEBHOOK, STATUS, STREAM_STATUS, AMD])
def test_what_is_no_post_is_told_so(gateway: Gateway, path: str) -> None:
    reply = gateway.ask("GET", path)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert "GET is not for this path; POST is." in reply.text


def test_a_webhook_set_to_get_is_explained(gateway: Gateway) -> None:
    assert "Set the number's webhook" in gateway.ask("GET", f"{WEBHOOK}?CallSid={SID}").text


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (f"{WEBHOOK}/", "Did you mean /voice/webhook?"),
        ("/webhook", "Did you mean /voice/webhook?"),
        (f"/twilio{WEBHOOK}", "Did you mean /voice/webhook?"),
        ("/", "passed the request on to it"),
        ("/calls", "passed the request on to it"),
        ("/favicon.ico", "It answers at: /voice/webhook"),
    ],
)
def test_an_unknown_path_is_answered_with_those_there_are(
    gateway: Gateway, path: str, hint: str
) -> None:
    for method in ("GET", "POST"):
        reply = gateway.ask(method, path, {"Content-Type": FORM_TYPE}, b"")
        assert reply.status == 404
        assert hint in reply.text
        assert "/calls," not in reply.text
        assert reply.headers["content-type"].startswith("text/plain")
    assert gateway.value("hopscope_webhooks_total", path="other", status="404") == 2


def test_a_path_is_told_of_only_where_it_exists() -> None:
    with running(credentials=Credentials(calls_token="made-up-and-long-enough")) as gateway:
        assert gateway.ask("GET", "/").text.endswith("/healthz, /calls\n")


def test_the_stream_asked_without_an_upgrade_says_what_is_missing(gateway: Gateway) -> None:
    reply = gateway.ask("GET", "/voice/stream")
    assert (reply.status, reply.headers["upgrade"]) == (426, "websocket")
    assert "a proxy on the way removed the Upgrade header" in reply.text
    assert gateway.ask("POST", "/voice/stream").status == 405


def test_health_is_told_without_details(gateway: Gateway) -> None:
    reply = gateway.ask("GET", "/healthz")
    assert (reply.status, json.loads(reply.text)) == (200, {"status": "ok"})
    gateway.because = "The voice openai has no key."
    reply = gateway.ask("GET", "/healthz")
    assert (reply.status, json.loads(reply.text)) == (503, {"status": "unservable"})
    assert gateway.ask("HEAD", "/healthz").text == ""
    assert gateway.ask("POST", "/healthz").status == 405


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data"])
def test_what_is_no_form_is_refused(gateway: Gateway, content_type: str) -> None:
    reply = gateway.ask("POST", WEBHOOK, {"Content-Type": content_type}, b"{}")
    assert reply.status == 415
    assert FORM_TYPE in reply.text


def test_a_body_that_says_it_is_too_long_is_refused_unread() -> None:
    with running(limits={"body_bytes": 4096}) as gateway:
        fields = {"Content-Type": FORM_TYPE, "Content-Length": "4097"}
        reply = gateway.raw(
            b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
            + b"\r\n"
            + bytes(4097)
        )
        assert (reply.status, "4096 bytes" in reply.text) == (413, True)


CHUNKED = (
    b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)


def test_a_body_that_becomes_too_long_is_refused_as_soon_as_it_is() -> None:
    with running(limits={"body_bytes": 4096}) as gateway:
        chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
        reply = gateway.raw(CHUNKED + b"\r\n" + chunk * 2 + b"0\r\n\r\n")
        assert reply.status == 413


def test_a_body_that_unpacks_to_too_much_is_refused() -> None:
    with running(limits={"body_bytes": 4096}) as gateway:
        packed = gzip.compress(b"a" * 1_000_000)
        assert len(packed) < 4096
        headers = {"Content-Type": FORM_TYPE, "Content-Encoding": "gzip"}
        assert gateway.ask("POST", WEBHOOK, headers, packed).status == 413


def test_a_body_that_never_comes_is_not_waited_for() -> None:
    with running(limits={"body_seconds": 0.05}) as gateway:
        reply = gateway.raw(CHUNKED + b"\r\n5\r\nCallS\r\n")
        assert reply.status == 408


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Encoding: gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"\r\nxyz\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_body_that_cannot_be_read_is_refused(gateway: Gateway, rest: bytes) -> None:
    assert gateway.raw(CHUNKED + rest).status == 400
    assert gateway.of("webhook_failed") == []


@pytest.mark.parametrize(
    "data",
    [
        b"POST /voice webhook HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /voice/webhook HTTP/1.1\r\nHo st: a\r\n\r\n",
        b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_told_in_a_line(
    gateway: Gateway, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert gateway.raw(data).status == 400
    assert len(gateway.of("request_malformed")) == 1
    assert capfd.readouterr().err == ""


def test_a_form_of_too_many_fields_is_refused(gateway: Gateway) -> None:
    body = "&".join(f"a{number}=1" for number in range(201)).encode()
    reply = gateway.ask("POST", WEBHOOK, {"Content-Type": FORM_TYPE}, body)
    assert (reply.status, "200 fields" in reply.text) == (413, True)


@pytest.mark.parametrize("sid", ["", "CA1 OR 1", "CA" + "1" * 63, "../CA1"])
def test_a_form_without_a_call_is_refused(gateway: Gateway, sid: str) -> None:
    assert gateway.post(WEBHOOK, sid).status == 400


def test_a_client_that_leaves_in_its_body_is_no_failure(gateway: Gateway) -> None:
    async def leave() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(CHUNKED + b"\r\n5\r\nCallS\r\n")
        await writer.drain()
        writer.transport.abort()

    gateway.run(leave())
    assert gateway.ask("GET", "/healthz").status == 200
    assert gateway.of("webhook_failed") == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", WEBHOOK),
        ("GET", WEBHOOK),
        ("POST", STATUS),
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/voice/stream"),
        ("GET", "/nowhere"),
        ("OPTIONS", WEBHOOK),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_every_answer_ends_its_connection(
    gateway: Gateway, method: str, target: str, version: bytes
) -> None:
    """Whatever was asked: the next request on it may be an upgrade, which is not for us."""
    body, headers = gateway.signed(target, {"CallSid": SID, "CallStatus": "ringing"})
    fields = headers | {"Host": "a", "Connection": "keep-alive", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    start = f"{method} {target} HTTP/".encode() + version
    reply = gateway.raw(start + b"\r\n" + head + b"\r\n" + body)
    assert reply.headers["connection"] == "close"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["server"] == "hopscope-gateway"


def test_answers_are_counted(gateway: Gateway) -> None:
    gateway.post()
    gateway.post(STATUS, SID, CallStatus="ringing")
    gateway.ask("POST", WEBHOOK, {"Content-Type": FORM_TYPE}, b"CallSid=CA1")
    assert gateway.value("hopscope_webhooks_total", path="webhook", status="200") == 1
    assert gateway.value("hopscope_webhooks_total", path="status", status="204") == 1
    assert gateway.value("hopscope_webhooks_total", path="webhook", status="403") == 1


def test_paths_of_ones_own_are_served_and_promised() -> None:
    paths = {"webhook": "/in", "stream": "/audio", "stream_status": "/audio-status"}
    with running(paths=paths) as gateway:
        reply = gateway.post("/in")
        assert reply.stream[0] == "wss://voice.example.com/audio"
        assert f"{PUBLIC}/in?after=stream" in reply.text
        assert gateway.ask("POST", WEBHOOK).status == 404


def test_calls_of_which_nothing_more_is_heard_are_ended_and_told(gateway: Gateway) -> None:
    gateway.post()
    now = gateway.webhooks._clock()
    gateway.webhooks._clock = lambda: now + 61
    gateway.webhooks.sweep()
    assert [fields["ending"] for fields in gateway.of("call_ended")] == ["stream_never_came"]
    assert gateway.value("hopscope_calls_active") == 0


def test_nothing_secret_is_ever_told() -> None:
    with running(voice=("espeak",)) as gateway:
        gateway.settings._credentials = Credentials(auth_token=TOKEN)
        reply = gateway.post(retry="a-token")
        plan_id = gateway.plan(Plan("notify", "Ready."))
        gateway.post(f"{STATUS}?plan={plan_id}", SID, CallStatus="ringing")
        gateway.ask("POST", f"{WEBHOOK}?plan={plan_id}", {"Content-Type": FORM_TYPE}, b"a=1")
        told = json.dumps(gateway.told)
        assert len(gateway.told) == 3
        for secret in (TOKEN, reply.stream[1], plan_id, ALICE, OURS):
            assert secret not in told
