"""Drain and reload: new connections end, running sessions are told, settings change in place."""

import json
import urllib.error
import urllib.request

import pytest

from peers import SWITCH, UPGRADE, RawUpstream, RunningSidecar, StartSidecar
from proxy.process import reload
from proxy.settings import Settings, SettingsError

CLOSE_TEXT = b"the sidecar is restarting"
GOODBYE = bytes((0x88, 2 + len(CLOSE_TEXT))) + b"\x03\xe9" + CLOSE_TEXT


def _status(sidecar: RunningSidecar, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.admin_port}{path}") as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _unmask(frame: bytes) -> bytes:
    assert frame[1] & 0x80, "frames towards the server are masked"
    mask, payload = frame[2:6], frame[6:]
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def test_draining_refuses_new_streams_and_lets_sessions_end(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    idle = sidecar.connect()
    assert _status(sidecar, "/readyz") == 200
    sidecar.begin(sidecar.sidecar.drain)
    sidecar.event("draining")
    assert _status(sidecar, "/readyz") == 503
    assert _status(sidecar, "/healthz") == 200
    assert idle.receive_all() == b""
    with sidecar.connect() as late:
        late.send(UPGRADE)
        answer = late.receive_all()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Proxy-Status: hopscope; error=proxy_internal_response" in answer
    assert sidecar.event("handshake", outcome="refused")["reason"].startswith("the sidecar is sto")
    server.send(b"\x81\x05still")
    assert client.receive(7) == b"\x81\x05still"
    client.close()
    server.close()
    assert sidecar.event("drained")["sessions"] == 0
    assert sidecar.event("session")["ending"] == "eof_without_close"


def test_sessions_that_outlast_the_drain_get_1001_on_both_sides(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(drain_seconds=0)
    client, server = sidecar.upgrade(upstream)
    sidecar.begin(sidecar.sidecar.drain)
    assert client.receive(len(GOODBYE)) == GOODBYE
    assert _unmask(server.receive(len(GOODBYE) + 4)) == GOODBYE[2:]
    client.send(b"\x88\x82\0\0\0\0\x03\xe9")
    server.send(b"\x88\x02\x03\xe9")
    assert client.receive_all() == b""
    assert server.receive_all() == b""
    client.close()
    server.close()
    session = sidecar.event("session")
    assert (session["ending"], session["ended_by"]) == ("drain", "sidecar")
    sidecar.event("drained")


@pytest.mark.parametrize(
    ("sent", "rest"),
    [
        (b"\x81\x05he", b"llo"),
        (b"\x81", b"\x03abc"),
        (b"\x82\x7e\x01", b"\x00" + bytes(256)),
        (b"\x01\x02ab", b""),
    ],
    ids=["within a payload", "within a header", "within a length", "between fragments"],
)
def test_the_close_waits_for_the_end_of_the_frame_that_is_under_way(
    sent: bytes, rest: bytes, start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(drain_seconds=0)
    client, server = sidecar.upgrade(upstream)
    server.send(sent)
    assert client.receive(len(sent)) == sent
    sidecar.begin(sidecar.sidecar.drain)
    sidecar.event("draining")
    assert server.receive(6)[0] == 0x88
    server.send(rest + b"\x81\x08not sent")
    assert client.receive(len(rest) + len(GOODBYE)) == rest + GOODBYE
    client.send(b"\x88\x80\0\0\0\0")
    server.send(b"\x88\x00")
    assert client.receive_all() == b""
    session = sidecar.event("session")
    assert session["ending"] == "drain"


def test_a_request_under_way_is_answered_before_its_connection_ends(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    with sidecar.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server = upstream.accept()
        server.receive_head()
        sidecar.begin(sidecar.sidecar.drain)
        sidecar.event("draining")
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        client.receive_head()
        assert client.receive_all() == b"ok"
    sidecar.event("drained")


def test_a_reload_changes_routes_and_limits_and_leaves_sessions_alone(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    other = RawUpstream()
    new = Settings(upstream=other.url, limits={"connections_per_client": 7})  # type: ignore[arg-type]
    sidecar.call(lambda: reload(sidecar.sidecar, lambda: new))
    sidecar.event("reloaded")
    server.send(b"\x81\x02hi")
    assert client.receive(4) == b"\x81\x02hi"
    sidecar.upgrade(other)
    assert sidecar.sidecar.settings.limits.connections_per_client == 7
    assert sidecar.sidecar.settings.listen.port == 0  # the listening address stays
    other.close()


def test_a_refused_file_is_reported_and_the_old_settings_stay(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    def load() -> Settings:
        raise SettingsError("limits.head_bytes = 'x': should be a number")

    sidecar.call(lambda: reload(sidecar.sidecar, load))
    assert sidecar.event("reload_refused")["reasons"] == [
        "limits.head_bytes = 'x': should be a number"
    ]
    client, _ = sidecar.upgrade(upstream)
    client.close()


def test_every_waiting_handshake_gets_its_answer_while_draining(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(drain_seconds=1)
    with sidecar.connect() as client:
        client.send(UPGRADE)
        server = upstream.accept()
        server.receive_head()
        sidecar.begin(sidecar.sidecar.drain)
        sidecar.event("draining")
        server.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        assert client.receive_head().startswith(b"HTTP/1.1 503 Busy")
    assert json.dumps(sidecar.event("handshake"))


def test_a_session_that_begins_after_the_goodbye_is_told_at_once(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(drain_seconds=0)
    with sidecar.connect() as client:
        client.send(UPGRADE)
        server = upstream.accept()
        server.receive_head()
        sidecar.begin(sidecar.sidecar.drain)
        sidecar.wait_until(lambda: sidecar.sidecar.is_draining, "the drain")
        sidecar.call(lambda: None)
        server.send(SWITCH + b"\x81\x02hi")
        client.receive_head()
        assert client.receive(4 + len(GOODBYE)) == b"\x81\x02hi" + GOODBYE
        assert _unmask(server.receive(len(GOODBYE) + 4)) == GOODBYE[2:]
    sidecar.event("session", ending="drain")
