"""What is refused is refused with a reason, recorded, and never reaches the upstream."""

import json
import threading
from contextlib import suppress

import pytest

from peers import UPGRADE, RawUpstream, RunningSidecar, StartSidecar

HEAD = b"POST /voice/webhook HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "both lengths": (
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "both Content-Length and Transfer-Encoding",
    ),
    "repeated length": (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "repeated"),
    "list of lengths": (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", "not a number"),
    "negative length": (HEAD + b"Content-Length: -3\r\n\r\n", "not a number"),
    "length with a plus": (HEAD + b"Content-Length: +3\r\n\r\nabc", "not a number"),
    "hexadecimal length": (HEAD + b"Content-Length: 0x3\r\n\r\nabc", "not a number"),
    "endless length": (HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", "not a number"),
    "chunked is not last": (HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n", "ends in chunked"),
    "chunked twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n", "ends in chunked"),
    "unknown coding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", "ends in chunked"),
    "repeated coding": (
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "repeated",
    ),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0",
    ),
    "bad chunk size": (CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", "chunk size"),
    "signed chunk size": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", "chunk size"),
    "prefixed chunk size": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", "chunk size"),
    "endless chunk size": (CHUNKED + b"f" * 17 + b"\r\n", "chunk size"),
    "endless chunk line": (CHUNKED + b"3;" + b"x" * 2000, "too long"),
    "chunk without CRLF": (CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n", "followed by CRLF"),
    "bare LF chunk line": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", "CRLF"),
    "second chunk is bad": (CHUNKED + b"3\r\nabc\r\nxyz\r\n", "chunk size"),
    "bad trailer": (CHUNKED + b"0\r\nno colon\r\n\r\n", "trailer"),
    "folded header": (HEAD + b"X-A: b\r\n c\r\n\r\n", "folded"),
    "bare CR": (HEAD + b"X-A: b\rc\r\n\r\n", "bare CR"),
    "bare LF": (HEAD + b"X-A: b\nX-C: d\r\n\r\n", "bare LF"),
    "NUL": (HEAD + b"X-A: b\0c\r\n\r\n", "NUL"),
    "space before the colon": (HEAD + b"Content-Length : 3\r\n\r\nabc", "before the colon"),
    "no colon": (HEAD + b"X-A\r\n\r\n", "no colon"),
    "empty name": (HEAD + b": b\r\n\r\n", "not a token"),
    "two hosts": (HEAD + b"Host: b\r\n\r\n", "more than one Host"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", "without Host"),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "reverse proxy"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "HTTP/0.9"),
    "HTTP/3.0": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/3.0"),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
    "two authorities": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "different authorities"),
    "a response": (b"HTTP/1.1 200 OK\r\n\r\n", "a response arrived"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 preface"),
    "PROXY v1": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + UPGRADE, "proxy_protocol = true"),
    "PROXY v2": (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + UPGRADE,
        "proxy_protocol = true",
    ),
}


@pytest.mark.parametrize(("request_bytes", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_recorded_and_not_forwarded(
    request_bytes: bytes, reason: str, sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(request_bytes)
        answer = client.receive_all()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nProxy-Status: hopscope; error=http_request_error;" in head
    told = json.loads(body)
    assert reason in told["reason"]
    recorded = next(event for event in sidecar.events if event.get("outcome") == "malformed")
    assert (recorded["id"], recorded["status"]) == (told["id"], 400)
    assert reason in recorded["reason"]
    assert upstream.is_untouched


@pytest.mark.parametrize("stranger", ["HTTP/2 preface", "PROXY v1", "PROXY v2"])
def test_a_stranger_is_recognised_even_byte_by_byte(stranger: str, sidecar: RunningSidecar) -> None:
    with sidecar.connect() as client:
        for byte in MALFORMED[stranger][0][:24]:
            client.send(bytes([byte]))
        assert (
            MALFORMED[stranger][1]
            in json.loads(client.receive_all().partition(b"\r\n\r\n")[2])["reason"]
        )


def test_a_tls_hello_is_explained_in_the_log_and_closed(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
        assert client.receive_all() == b""
    recorded = sidecar.event("handshake", outcome="malformed")
    assert "TLS" in recorded["reason"]
    assert recorded["raw_head"].startswith("16 03 01")
    assert upstream.is_untouched


def test_a_refused_head_is_recorded_without_its_secrets(sidecar: RunningSidecar) -> None:
    with sidecar.connect() as client:
        client.send(
            b"GET /voice/stream?token=s3cret HTTP/1.1\r\nHost: a\r\nHost: b\r\n"
            b"Authorization: Bearer s3cret\r\nCookie: id=s3cret\r\nUpgrade: websocket\r\n\r\n"
        )
        client.receive_all()
    recorded = sidecar.event("handshake", outcome="malformed")
    assert "s3cret" not in json.dumps(recorded)
    assert "Host: b" in recorded["raw_head"]
    assert "Upgrade: websocket" in recorded["raw_head"]


def test_a_head_that_is_too_long_is_refused(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"head_bytes": 2048})
    with sidecar.connect() as client:
        client.send(HEAD + b"X-A: " + b"x" * 3000 + b"\r\n\r\n")
        assert b"longer than 2048 bytes" in client.receive_all()
    sidecar.event("handshake", outcome="malformed")
    assert upstream.is_untouched


def test_a_head_that_does_not_end_in_time_is_refused(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(limits={"head_seconds": 0.3})
    with sidecar.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow")
        assert client.receive_all().startswith(b"HTTP/1.1 408 ")
    assert "0.3 s" in sidecar.event("handshake", outcome="timeout")["reason"]
    assert upstream.is_untouched


def test_a_connection_that_says_nothing_is_closed_without_a_word(
    start_sidecar: StartSidecar,
) -> None:
    sidecar = start_sidecar(limits={"head_seconds": 0.3})
    with sidecar.connect() as client:
        assert client.receive_all() == b""
    assert [event["event"] for event in sidecar.events] == ["listening"]


def test_a_later_bad_chunk_breaks_the_body_off_and_never_ends_it(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(CHUNKED + b"3\r\nabc\r\n")
        server = upstream.accept()
        server.receive_head()
        assert server.receive(8) == b"3\r\nabc\r\n"
        client.send(b"-1\r\n")
        assert client.receive_all().startswith(b"HTTP/1.1 400 ")
        assert server.receive_all() == b""
    sidecar.event("request", outcome="malformed")


def test_an_unmatched_path_is_answered_with_the_names_of_the_routes(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "stream", "prefix": "/voice", "upstream": upstream.url}
    sidecar = start_sidecar(upstream=None, route=[route])
    with sidecar.connect() as client:
        client.send(UPGRADE.replace(b"/voice/stream", b"/stream"))
        head, _, body = client.receive_all().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"error=destination_not_found" in head
    assert json.loads(body)["routes"] == ["stream"]
    recorded = sidecar.event("handshake", outcome="refused")
    assert (recorded["status"], recorded["error"]) == (404, "destination_not_found")
    assert upstream.is_untouched


def test_pipelined_garbage_behind_a_good_request_is_refused_after_its_response(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\n")
        server = upstream.accept()
        assert server.receive_head().startswith(b"GET /one ")
        server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.receive_head().startswith(b"HTTP/1.1 204 ")
        assert client.receive_all().startswith(b"HTTP/1.1 400 ")
    assert upstream.is_untouched


def test_a_flood_of_empty_lines_is_not_served_for_ever(start_sidecar: StartSidecar) -> None:
    sidecar = start_sidecar(limits={"head_seconds": 0.3})
    client = sidecar.connect()

    def flood() -> None:
        with suppress(OSError):
            while True:
                client.send(b"\r\n" * 8192)

    flooding = threading.Thread(target=flood)
    flooding.start()
    assert "0.3 s" in sidecar.event("handshake", outcome="timeout")["reason"]
    flooding.join()
