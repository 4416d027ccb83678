"""Captures of running streams: begun at once or later, told as lines, no byte changed."""

import base64
import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from websockets.frames import Frame, Opcode

from hopscope import app
from peers import RawUpstream, RunningSidecar, StartSidecar
from proxy.redact import HIDDEN


def _ask(sidecar: RunningSidecar, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.admin_port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def _lines(sidecar: RunningSidecar, session_id: str) -> list[dict[str, Any]]:
    status, body = _ask(sidecar, "GET", f"/api/captures/{session_id}")
    assert status == 200, body
    return [json.loads(line) for line in body.splitlines()]


def _until_captured(sidecar: RunningSidecar, session_id: str, frames: int) -> list[dict[str, Any]]:
    found: list[list[dict[str, Any]]] = []

    def is_there() -> bool:
        found.append(_lines(sidecar, session_id))
        return len(found[-1]) > frames

    sidecar.wait_until(is_there, f"{frames} frames")
    return found[-1]


START = json.dumps(
    {"event": "start", "start": {"callSid": "CA1", "customParameters": {"token": "s3cret"}}}
).encode()


def test_a_route_that_captures_keeps_each_frame_and_no_secret(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "voice", "upstream": upstream.url, "capture": True}
    sidecar = start_sidecar(upstream=None, route=[route])
    client, server = sidecar.upgrade(upstream)
    masked = Frame(Opcode.TEXT, START).serialize(mask=True)
    client.send(masked)
    assert server.receive(len(masked)) == masked
    server.send(b"\x82\x03abc")
    assert client.receive(5) == b"\x82\x03abc"
    session_id = sidecar.event("handshake")["id"]
    head, first, second = _until_captured(sidecar, session_id, 2)
    assert head["hopscope"] == "capture"
    assert head["handshake"]["id"] == session_id
    assert (first["sender"], first["length"]) == ("client", len(START))
    assert json.loads(first["text"])["start"]["customParameters"] == {"token": HIDDEN}
    assert (second["sender"], second["base64"]) == ("server", "YWJj")
    assert "s3cret" not in json.dumps([head, first, second])
    client.close()
    server.close()
    sidecar.event("session")
    assert len(_lines(sidecar, session_id)) == 3  # an ended one is kept for a while
    listed = json.loads(_ask(sidecar, "GET", "/api/captures")[1])["captures"]
    assert [(each["id"], each["frames"], each["is_running"]) for each in listed] == [
        (session_id, 2, False)
    ]


def test_a_running_stream_is_captured_from_the_next_frame_on(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    session_id = sidecar.event("handshake")["id"]
    assert _ask(sidecar, "GET", f"/api/captures/{session_id}")[0] == 404
    long = Frame(Opcode.BINARY, b"x" * 1000).serialize(mask=False)
    server.send(long[:500])
    assert client.receive(500) == long[:500]
    sidecar.wait_until(
        lambda: sidecar.sidecar.relay.pairs[session_id].session.readers["server"].wire_bytes == 500,
        "the first half",
    )
    assert _ask(sidecar, "POST", f"/api/captures/{session_id}")[0] == 201
    server.send(long[500:] + b"\x82\x02hi")
    assert client.receive(len(long) - 500 + 4) == long[500:] + b"\x82\x02hi"
    [_, frame] = _until_captured(sidecar, session_id, 1)
    assert frame["base64"] == "aGk="
    client.close()


def test_what_does_not_run_cannot_be_captured(sidecar: RunningSidecar) -> None:
    assert _ask(sidecar, "POST", "/api/captures/nobody")[0] == 404
    assert json.loads(_ask(sidecar, "GET", "/api/captures")[1]) == {"captures": []}


def test_a_capture_of_many_frames_is_told_whole(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    route = {"name": "voice", "upstream": upstream.url, "capture": True}
    sidecar = start_sidecar(upstream=None, route=[route])
    client, server = sidecar.upgrade(upstream)
    frames = [Frame(Opcode.BINARY, bytes([n]) * 20_000).serialize(mask=False) for n in range(20)]
    server.send(b"".join(frames))
    assert client.receive(sum(map(len, frames))) == b"".join(frames)
    session_id = sidecar.event("handshake")["id"]
    lines = _until_captured(sidecar, session_id, 20)[1:]
    told = [base64.b64decode(line["base64"]) for line in lines]
    assert told == [bytes([n]) * 20_000 for n in range(20)]
    client.close()


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [("--har", 0, "wrote "), ("--wav", 1, "hopscope: ")],
)
def test_export_of_a_stream_that_was_not_captured_says_how_to_capture(
    sidecar: RunningSidecar, upstream: RawUpstream, tmp_path: Path, kind: str, code: int, said: str
) -> None:
    client, _ = sidecar.upgrade(upstream)
    session_id = sidecar.event("handshake")["id"]
    file = tmp_path / "call"
    admin = f"http://127.0.0.1:{sidecar.admin_port}"
    done = CliRunner().invoke(app, ["export", session_id, kind, str(file), "--admin", admin])
    assert (done.exit_code, file.exists()) == (code, code == 0)
    assert done.output.startswith(f"{said}{file}")
    assert "no frame was captured: run `hopscope capture ID` while the stream runs" in done.output
    client.close()
