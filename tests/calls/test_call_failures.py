"""Each way in which a call fails, and the code that Twilio raises for it."""

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from calls.certificates import EXPIRED, OURS, trusting
from calls.twilio_peers import (
    QUICK,
    TOKEN,
    Arrived,
    Gateway,
    RawServe,
    answering,
    call,
    connect_twiml,
    options,
    place,
    raw_server,
    raw_stream_call,
    read_head,
    running,
    switch,
    xml,
)
from doctor.addresses import Address
from doctor.caller.call import CallOptions
from doctor.caller.outcome import CallReport


def closed_port() -> int:
    """A port that nothing listens on: it was ours a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the connection and say nothing."""
    await reader.read(-1)


def saying(*replies: bytes) -> RawServe:
    """Answer the first request with bytes, and end the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.writelines(replies)
        writer.write_eof()
        await reader.read(-1)

    return serve


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with RST."""
    await read_head(reader)
    linger = b"\1\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def webhook_call(serve: RawServe, **options_of_server: ssl.SSLContext) -> CallReport:
    """A call to a raw server in the place of a webhook."""
    scheme = "https" if options_of_server else "http"

    async def run() -> CallReport:
        async with raw_server(serve, **options_of_server) as port:
            url = f"{scheme}://127.0.0.1:{port}/voice/webhook"
            return await place(CallOptions(url, auth_token=TOKEN, patience=QUICK))

    return asyncio.run(run())


def response(status: str, body: bytes = b"", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


# The webhook


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "502 Bad"])
def test_a_webhook_that_answers_an_error_status_is_11200(status: str) -> None:
    body = b"<h1>no</h1>\x1b[2J"
    report = webhook_call(saying(response(status, body, "Server: made-up/1.0", "X-Other: no")))
    assert report.twilio_error == 11200
    assert report.error_saw == f"{status}: <h1>no</h1>\x1b[2J"
    assert report.webhook is not None
    assert report.webhook.status == int(status[:3])
    assert report.webhook.answered_by == {"server": "made-up/1.0"}
    assert report.ended_by == "error"
    assert report.stream is None


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        pytest.param(never, 11203, id="never answers"),
        pytest.param(saying(b""), 11205, id="closes"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<Re"), 11205, id="cut"),
        pytest.param(reset, 11205, id="resets"),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), 11206, id="is no HTTP"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 11206, id="framing"),
        pytest.param(saying(b"HTTP/1.1 200 OK\n\n"), 11206, id="bare LF"),
        pytest.param(saying(b"A" * 40_000), 11206, id="a head without end"),
        pytest.param(saying(response("302 Found")), 11216, id="redirects nowhere"),
        pytest.param(
            saying(response("302 Found", b"", "Location: ftp://a/")), 11216, id="redirects to FTP"
        ),
        pytest.param(saying(response("200 OK", b"<Response/>")), 11200, id="untyped"),
        pytest.param(
            saying(response("200 OK", b"<html>", "Content-Type: text/html")), 12300, id="HTML"
        ),
        pytest.param(
            saying(response("200 OK", b"<p>Hi<br>", "Content-Type: text/xml")), 12100, id="as XML"
        ),
        pytest.param(
            saying(response("200 OK", b" " * 70_000, "Content-Type: text/xml")), 11750, id="large"
        ),
        pytest.param(saying(b"HTTP/1.1 204 No Content\r\n\r\n"), 11770, id="empty"),
    ],
)
def test_a_webhook_that_gives_no_twiml_has_its_code(serve: RawServe, code: int) -> None:
    report = webhook_call(serve)
    assert report.twilio_error == code
    assert report.error_saw
    assert report.webhook is not None
    assert report.duration_s < 3


def test_a_body_that_ends_with_the_connection_or_in_chunks_is_whole() -> None:
    typed = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
    for reply in (
        typed + b"\r\n<Response/>",
        typed + b"Transfer-Encoding: chunked\r\n\r\n4\r\n<Res\r\n7\r\nponse/>\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + typed + b"\r\n<Response/>",
    ):
        report = webhook_call(saying(reply))
        assert (report.twilio_error, report.twiml) == (None, "<Response/>")


def test_nobody_there_is_told_by_the_phase_that_failed() -> None:
    def report(url: str) -> CallReport:
        return asyncio.run(place(CallOptions(url, patience=QUICK)))

    assert report(f"http://127.0.0.1:{closed_port()}/").twilio_error == 11202
    assert report("http://nowhere..example/").twilio_error == 11210
    assert report("not a url").twilio_error == 11100


def test_a_connection_that_nobody_answers_is_tried_twice() -> None:
    """A listener whose queue is full drops the SYN, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        report = asyncio.run(place(CallOptions(f"http://127.0.0.1:{address[1]}/", patience=QUICK)))
        for sock in waiting:
            sock.close()
    assert report.twilio_error == 11201
    assert report.webhook is not None
    assert 550 < report.webhook.ms < 1500


def test_a_redirect_is_followed_by_get_without_the_form() -> None:
    def hook(gateway: Gateway, request: Arrived) -> web.StreamResponse:
        if request.method == "POST":
            return web.Response(status=307, headers={"Location": "moved?a=1"})
        return xml("<Response/>")

    async def run() -> tuple[CallReport, Gateway]:
        async with running(hook) as gateway:
            return await place(options(gateway)), gateway

    report, gateway = asyncio.run(run())
    assert report.twilio_error is None
    assert [(told.method, told.path, bool(told.form)) for told in gateway.requests] == [
        ("POST", "/voice/webhook", True),
        ("GET", "/voice/moved?a=1", False),
    ]
    tokens = {told.value("I-Twilio-Idempotency-Token") for told in gateway.requests}
    assert len(tokens) == 1


def test_redirects_without_end_are_11215() -> None:
    def hook(_gateway: Gateway, request: Arrived) -> web.StreamResponse:
        slash = request.path.removesuffix("/") if request.path.endswith("/") else request.path + "/"
        return web.Response(status=301, headers={"Location": slash})

    report = call(hook)
    assert report.twilio_error == 11215
    assert report.webhook is not None
    assert report.webhook.status == 301


# The stream's handshake


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "502 Bad", "426 Upgrade"])
def test_anything_but_101_is_31920_and_tells_who_answered(status: str) -> None:
    fields = ("Server: made-up/1.0", "Proxy-Status: hopscope; received-status=404", "X-Other: no")
    report = raw_stream_call(saying(response(status, b"<h1>no</h1>", *fields)))
    assert report.twilio_error == 31920
    assert report.stream is not None
    assert report.stream.status == int(status[:3])
    assert report.stream.saw == f"{status}: <h1>no</h1>"
    assert report.stream.answered_by == {
        "server": "made-up/1.0",
        "proxy-status": "hopscope; received-status=404",
    }
    assert report.ended_by == "agent"  # the document goes on behind a stream that failed


def test_a_redirected_handshake_is_not_followed() -> None:
    report = raw_stream_call(saying(response("301 Moved", b"", "Location: wss://127.0.0.1/x")))
    assert report.twilio_error == 31920
    assert report.stream is not None
    assert report.stream.answered_by == {"location": "wss://127.0.0.1/x"}


@pytest.mark.parametrize(
    "line",
    [
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec-WebSocket-Protocol: audio.twilio.com",
        b"Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==",
        b"Upgrade: h2c",
    ],
)
def test_a_101_that_breaks_rfc_6455_is_31920(line: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        class Bending:
            def write(self, data: bytes) -> None:
                name = line.partition(b":")[0] + b":"
                kept = [old for old in data.split(b"\r\n") if not old.startswith(name)]
                writer.write(b"\r\n".join([kept[0], line, *kept[1:]]))

        await switch(reader, Bending())  # type: ignore[arg-type]
        await reader.read(-1)

    report = raw_stream_call(serve)
    assert report.twilio_error == 31920
    assert report.error_saw.startswith("101 Switching Protocols, but ")


@pytest.mark.parametrize(
    ("serve", "code"),
    [
        pytest.param(never, 31901, id="never answers"),
        pytest.param(saying(b""), 31901, id="closes"),
        pytest.param(reset, 31903, id="resets"),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), 31920, id="is no HTTP"),
    ],
)
def test_a_handshake_without_an_http_answer_has_its_code(serve: RawServe, code: int) -> None:
    report = raw_stream_call(serve)
    assert report.twilio_error == code
    assert report.stream is not None
    assert report.stream.status is None
    assert report.duration_s < 3


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://127.0.0.1:CLOSED/voice/stream", 31902),
        ("ws://nowhere..example/voice/stream", 31904),
        ("https://127.0.0.1/voice/stream", 31922),
        ("wss:///voice/stream", 31923),
        ("", 31923),
    ],
)
def test_a_stream_url_that_leads_nowhere_has_its_code(url: str, code: int) -> None:
    twiml = connect_twiml(url.replace("CLOSED", str(closed_port())))
    assert call(answering(twiml)).twilio_error == code


def test_a_plain_stream_is_31922_where_the_webhook_was_not_plain_on_loopback() -> None:
    async def run() -> CallReport:
        async with running() as gateway:
            elsewhere = f"http://voice.example.com:{gateway.port}/voice/webhook"
            here = Address("127.0.0.1", gateway.port)
            return await place(options(gateway, webhook_url=elsewhere, connect_to=here))

    report = asyncio.run(run())
    assert report.webhook is not None
    assert report.webhook.status == 200
    assert report.twilio_error == 31922


def test_a_two_way_stream_of_both_tracks_is_31941() -> None:
    twiml = connect_twiml('STREAM" track="both_tracks')
    assert call(answering(twiml)).twilio_error == 31941


# TLS


@pytest.mark.parametrize(
    ("pem", "is_trusted", "host", "code"),
    [
        pytest.param(OURS, True, "voice.example.com", None, id="good"),
        pytest.param(OURS, True, "other.example.com", 11235, id="another's name"),
        pytest.param(EXPIRED, True, "voice.example.com", 11236, id="expired"),
        pytest.param(OURS, False, "voice.example.com", 11237, id="untrusted"),
    ],
)
def test_a_certificate_that_twilio_refuses_has_its_code(
    pem: str, is_trusted: bool, host: str, code: int | None, tmp_path: Path
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_text(pem)
    server.load_cert_chain(tmp_path / "server.pem")
    chosen = CallOptions(
        f"https://{host}/voice/webhook",
        tls=trusting(pem if is_trusted else None),
        patience=QUICK,
    )
    body = response("200 OK", b"<Response/>", "Content-Type: text/xml")

    async def run(twiml: str | None) -> int | None:
        async with raw_server(saying(body), ssl=server) as port:
            here = Address("127.0.0.1", port)
            return (await place(replace(chosen, twiml=twiml, connect_to=here))).twilio_error

    assert asyncio.run(run(None)) == code
    # The same certificate in front of a stream; behind the good one is a 200.
    stream = connect_twiml(f"wss://{host}/voice/stream")
    assert asyncio.run(run(stream)) == (31920 if code is None else 31910)


def test_tls_to_a_plain_port_is_11220() -> None:
    async def run() -> CallReport:
        async with running() as gateway:
            return await place(options(gateway, webhook_url=gateway.url.replace("http", "https")))

    assert asyncio.run(run()).twilio_error == 11220


def test_a_port_that_never_finishes_tls_is_11220() -> None:
    async def run() -> CallReport:
        async with raw_server(never) as port:
            return await place(CallOptions(f"https://127.0.0.1:{port}/", patience=QUICK))

    report = asyncio.run(run())
    assert report.twilio_error == 11220
    assert "never finished" in report.error_saw
