"""What people read: a table, one handshake in full, events as they come."""

import asyncio
import io
import json
from typing import Any, get_args

import pytest
from rich.console import Console

from proxy.exchange import Exchange
from proxy.http1 import parse_request_head, parse_response_head
from proxy.media import Sampling
from proxy.promises import ArrivalFact
from proxy.report import event_line, follow, print_row, print_rows
from proxy.session import Session
from proxy.stream_url import UrlFact
from proxy.telemetry import as_server_sent_event

UPGRADE = (
    b"GET /voice/stream HTTP/1.1\r\nHost: voice.example.com\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nUser-Agent: Twilio.TmeWs/1.0\r\nX-Twilio-Signature: c2VjcmV0\r\n\r\n"
)
STARTED = b'{"event":"start","streamSid":"MZ1","start":{"callSid":"%s"}}'


def row(
    request: bytes | None = UPGRADE,
    response: bytes | None = b"HTTP/1.1 101 Switching Protocols\r\nX-Made-Up: 1\r\n\r\n",
    session: Session | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A row as the history gives it back."""
    record = Exchange("01m83jyaf0ew4yqxhm", 1e9, "127.0.0.1", "192.0.2.1")
    record.request = None if request is None else parse_request_head(request)
    record.ingress, record.route, record.upstream = "nginx", "voice", "http://127.0.0.1:8081"
    record.phases = {"head": 0.25, "total": 12.5}
    for name, value in fields.items():
        setattr(record, name, value)
    if response is not None:
        record.answer(parse_response_head(response))
    line = session.line(9.0) if session is not None else None
    told = record.line() | record.detail() | {"session": line}
    return dict(json.loads(json.dumps(told)))


def call(call_sid: bytes = b"CA1", sampling: Sampling | None = None) -> Session:
    """A Twilio stream of 7 s that the server closed."""
    session = Session("01m83jyaf0ew4yqxhm", "voice", "nginx", 0.0, sampling=sampling)
    for message in (b'{"event":"connected"}', STARTED % call_sid):
        data = bytes((0x81, 0x80 | len(message), 0, 0, 0, 0)) + message
        session.receive_data("client", data, 0.5)
    session.receive_data("server", b"\x88\x05\x03\xf3bye", 7.0)
    session.end_quietly(7.0)
    return session


def printed(*rows: dict[str, Any], in_full: bool = False, width: int = 300) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    if in_full:
        print_row(console, rows[0])
    else:
        print_rows(console, list(rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_no_rows_are_nothing() -> None:
    assert printed() == ""


def test_each_row_is_one_line_in_the_order_given() -> None:
    other = row(client="", response=b"HTTP/1.1 403 Forbidden\r\n\r\n") | {"id": "b", "at": "then"}
    first, second = printed(row(session=call()), other, width=40).splitlines()
    assert first.startswith("2001-09-09T01:46:40.000Z  01m83jyaf0ew4yqxhm  upgraded 101 ")
    assert (
        "  nginx             192.0.2.1        GET /voice/stream  violates: Sec-WebSocket-Key"
        in first
    )
    assert first.endswith("; 7.0 s, 2 / 1 frames, close_handshake 1011 by server")
    assert second.startswith("then  b  refused 403 ")
    assert " unix " in second


def test_a_row_without_a_head_shows_what_is_wrong_with_it() -> None:
    malformed = row(
        request=None,
        response=None,
        outcome="malformed",
        reason="a bare CR stands in the head",
        raw=b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    )
    assert "? ?" in printed(malformed)
    assert "a bare CR stands in the head" in printed(malformed)
    assert "as received" in printed(malformed, in_full=True)


def test_a_row_in_full_shows_its_way_its_phases_and_its_violations() -> None:
    text = printed(row(), in_full=True)
    assert text.splitlines()[:3] == [
        "nginx 192.0.2.1 ──▶ hopscope ──▶ voice http://127.0.0.1:8081   upgraded 101",
        "GET /voice/stream",
        "2001-09-09T01:46:40.000Z  01m83jyaf0ew4yqxhm",
    ]
    assert "phases: head 0.2 ms, total 12.5 ms" in text
    assert "Sec-WebSocket-Version: absent, wanted 13 (RFC 6455 4.2.1)" in text


def test_a_failure_is_crossed_out_and_says_why() -> None:
    failed = row(
        response=None,
        outcome="unreachable",
        error="connection_refused",
        reason="nothing listens on http://127.0.0.1:8081",
    )
    text = printed(failed, in_full=True)
    assert "nginx 192.0.2.1 ──▶ hopscope ──✗ voice http" in text
    assert "connection_refused: nothing listens on http://127.0.0.1:8081" in text


@pytest.mark.parametrize(
    ("outcome", "upstream", "ways"),
    [
        ("refused", "http://127.0.0.1:8081", "──▶ hopscope ──✗"),
        ("not_an_upgrade", "http://127.0.0.1:8081", "──✗ hopscope ──▶"),
        ("client_left", "http://127.0.0.1:8081", "──✗ hopscope ──▶"),
        ("malformed", "http://127.0.0.1:8081", "──▶ hopscope ──✗"),
        ("malformed", None, "──✗ hopscope ···"),
    ],
)
def test_the_picture_breaks_where_the_way_did(
    outcome: str, upstream: str | None, ways: str
) -> None:
    broken = row() | {"outcome": outcome, "upstream": upstream}
    assert ways in printed(broken, in_full=True).splitlines()[0]


def test_a_lost_upgrade_comes_with_what_to_do() -> None:
    lost = row() | {"outcome": "not_an_upgrade", "status": 426}
    text = printed(lost, in_full=True)
    assert "A hop in front took Upgrade away" in text
    assert "proxy_set_header Upgrade $http_upgrade;" in text


def test_a_refusal_of_the_gateway_names_the_path_it_saw() -> None:
    refused = row() | {"outcome": "refused", "status": 404, "forwarded_target": "/stream"}
    assert "The gateway itself answered 404 to /stream" in printed(refused, in_full=True)


def test_both_heads_are_shown_in_order_without_their_secrets() -> None:
    text = printed(row(), in_full=True)
    places = [
        text.index(shown)
        for shown in (
            "request",
            "Host: voice.example.com",
            "Connection: Upgrade",
            "User-Agent: Twilio.TmeWs/1.0",
            "X-Twilio-Signature: present",
            "response",
            "X-Made-Up: present",
        )
    ]
    assert places == sorted(places)
    assert "c2VjcmV0" not in text


def test_a_session_is_shown_by_opcode_and_sender() -> None:
    lines = [
        " ".join(line.split()) for line in printed(row(session=call()), in_full=True).split("\n")
    ]
    for line in (
        "session: 7.0 s, 2 / 1 frames, close_handshake 1011 by server",
        "call CA1",
        "stream MZ1",
        "client server",
        "close reason: bye",
        "close frames 0 (0 B) 1 (5 B)",
        f"text frames 2 ({21 + len(STARTED % b'CA1')} B) 0 (0 B)",
        "longest silence 6.5 s 7.0 s",
        "media frames 0 0",
        "sequence gaps 0, jitter ms 0.0, underruns 0, marks unanswered 0",
    ):
        assert line in lines


def test_a_stream_that_was_not_read_says_so_in_place_of_numbers() -> None:
    text = printed(row(session=call(sampling=Sampling("off"))), in_full=True)
    assert "call CA1" in text
    assert "its messages were not read ([media] read: off)" in text
    assert "sequence gaps" not in text
    assert "media frames" not in text


def test_messages_that_could_not_be_read_are_counted_in_place_of_numbers() -> None:
    session = call()
    session.receive_data("server", b"\xc1\x02{}", 7.0)
    session.receive_data("client", b"\x81\xff" + b"\xff" * 12, 7.0)
    text = printed(row(session=session), in_full=True)
    assert "messages that could not be read: ? of the client's, 1 of the server's" in text


def test_a_running_session_is_open() -> None:
    assert "0 / 0 frames, open" in printed(row(session=Session("a", "voice", "nginx", 0.0)))


@pytest.mark.parametrize("in_full", [False, True])
def test_what_would_steer_a_terminal_is_spelled_out(in_full: bool) -> None:
    request = UPGRADE.replace(b"/voice/stream", b"/\x9b2J").replace(b"Twilio.", b"\x1b]0;x\x07")
    text = printed(row(request, reason="\x1b[2J\u202e"), in_full=in_full)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert r"GET /\x9b2J" in text
    assert r"\x1b[2J\u202e" in text
    if in_full:
        assert r"User-Agent: \x1b]0;x\x07TmeWs/1.0" in text


@pytest.mark.parametrize("name", ["[/]", "[red]CA1", ":smile:"])
def test_markup_of_strangers_is_text(name: str) -> None:
    session = call(name.encode())
    assert name in printed(row(session=session), in_full=True)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def followed(*answer: bytes, as_json: bool = False) -> tuple[str, bytes]:
    """What is printed of an admin address that answers so, and the request it was asked with."""
    console = Console(file=io.StringIO(), width=300, color_system=None)
    asked = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"".join(answer))
        writer.close()
        await writer.wait_closed()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await follow(f"http://127.0.0.1:{port}/", console, as_json=as_json)

    asyncio.run(run())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), bytes(asked)


def event(name: str, fields: dict[str, Any]) -> bytes:
    return chunk(as_server_sent_event(name, fields))


def test_events_are_printed_as_they_come() -> None:
    text, asked = followed(
        OK,
        event("handshake", row()),
        chunk(b":\n\n"),
        event("session", call().line(7.0)),
        event("draining", {"sessions": 0}),
        END,
    )
    first, second, third = text.splitlines()
    assert first.startswith("handshake  2001-09-09T01:46:40.000Z  01m83jyaf0ew4yqxhm  upgraded 101")
    assert "GET /voice/stream" in first
    assert second == (
        "session    01m83jyaf0ew4yqxhm  7.0 s, 2 / 1 frames, close_handshake 1011 by server"
    )
    assert third == "draining  sessions=0"
    assert asked.startswith(b"GET /api/events HTTP/1.1\r\n")


def test_an_event_of_the_gateway_is_told_in_pairs_and_what_is_not_known_is_left_out() -> None:
    turn = {"call_sid": "CA1", "agent": "Of course.", "ms": {"reply": 9}, "error": None, "was": ""}
    assert event_line("turn", turn).plain == (
        'turn  call_sid=CA1 agent="Of course." ms={"reply": 9} was='
    )


MISSING = {
    "exchange": "01m83jyaf0ew4yqxhm",
    "call_sid": "CA1",
    "url": "wss://voice.example.com/voice/stream",
    "waited_s": 10.2,
    "because": ["unknown"],
    "arrived": None,
    "webhook_hosts": ["a.example.com", "b"],
    "call_ended_s": None,
    "twilio_error": None,
}


def test_a_stream_that_never_arrived_is_told_in_words() -> None:
    assert event_line("stream_never_arrived", MISSING).plain == (
        "stream_never_arrived  wss://voice.example.com/voice/stream after 10.2 s "
        "(call CA1, webhook 01m83jyaf0ew4yqxhm): "
        "nothing came: a hop in front answered it, or Twilio never asked"
    )
    because = {"because": ["host_elsewhere", "arrived_elsewhere"], "arrived": "/{media}"}
    text = event_line("stream_never_arrived", MISSING | because | {"call_sid": None}).plain
    assert "(webhook 01m83jyaf0ew4yqxhm): the webhook came in under a.example.com, b; " in text
    assert text.endswith("an upgrade came for /{media}")


def test_every_fact_has_its_words() -> None:
    for fact in (*get_args(UrlFact), *get_args(ArrivalFact)):
        told = MISSING | {"because": [fact]}
        assert not event_line("stream_never_arrived", told).plain.endswith("): ")


def test_events_for_machines_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    followed(OK, event("handshake", row()), event("draining", {"a": "\x1b"}), END, as_json=True)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == row() | {"event": "handshake"}
    assert second == {"event": "draining", "a": "\x1b"}


def test_the_token_is_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSCOPE_ADMIN_TOKEN", "made-up")
    assert b"Authorization: Bearer made-up\r\n" in followed(OK, END)[1]


def test_events_that_break_off_end_the_watching() -> None:
    text, _ = followed(OK, event("draining", {"a": 1}), b"ff\r\ncut")
    assert text == "draining  a=1\n"


def test_a_refusal_is_told_with_its_reason() -> None:
    with pytest.raises(ValueError, match=r"^401: wants a token$"):
        followed(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 14\r\n\r\nwants a token\n")


@pytest.mark.parametrize(
    ("answer", "because"),
    [(b"", "Server disconnected"), (b"SSH-2.0-OpenSSH_9.2\r\n", "Bad status line")],
    ids=repr,
)
def test_what_is_no_admin_address_is_an_os_error(answer: bytes, because: str) -> None:
    with pytest.raises(OSError, match=because):
        followed(answer)
