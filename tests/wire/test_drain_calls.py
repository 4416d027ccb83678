"""A drain lets calls end with all that they still ask: refused, they say "application error"."""

import pytest

from peers import UPGRADE, RawSocket, RawUpstream, RunningSidecar, StartSidecar
from wire.twilio_requests import CALL_SID, ask, fetch_twiml, form_post, twiml

START = b'{"event":"start","sequenceNumber":"1","start":{"callSid":"%s"}}' % CALL_SID.encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def begin_drain(sidecar: RunningSidecar) -> None:
    sidecar.begin(sidecar.sidecar.drain)
    sidecar.event("draining")


def begin_stream(client: RawSocket, server: RawSocket) -> None:
    frame = bytes((0x81, 0x80 | len(START), 0, 0, 0, 0)) + START
    client.send(frame)
    assert server.receive(len(frame)) == frame


def is_answered(sidecar: RunningSidecar, upstream: RawUpstream, path: str) -> bool:
    client, server = ask(sidecar, upstream, form_post(path))
    server.send(OK)
    answer: bytes = client.receive_all()
    return answer.endswith(b"\r\n\r\nok")


def test_status_callbacks_and_the_webhook_behind_the_stream_pass(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    begin_stream(client, server)
    begin_drain(sidecar)
    assert is_answered(sidecar, upstream, "/voice/status")
    client.close()
    server.close()
    sidecar.event("session", call_sid=CALL_SID)
    assert is_answered(sidecar, upstream, "/voice/next")
    assert sidecar.event("drained")["sessions"] == 0
    with pytest.raises(ConnectionRefusedError):
        sidecar.connect()


def test_a_call_that_outlasts_the_drain_may_ask_what_comes_next(
    start_sidecar: StartSidecar, upstream: RawUpstream
) -> None:
    sidecar = start_sidecar(drain_seconds=0)
    client, server = sidecar.upgrade(upstream)
    begin_stream(client, server)
    begin_drain(sidecar)
    for side in (client, server):
        side.receive_all()
        side.close()
    sidecar.event("session", call_sid=CALL_SID, ending="drain")
    assert is_answered(sidecar, upstream, "/voice/next")
    sidecar.event("drained")


def test_the_webhook_behind_a_stream_that_the_gateway_has_just_ended_passes(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, server = sidecar.upgrade(upstream)
    begin_stream(client, server)
    server.send(b"\x88\x02\x03\xe8")
    client.receive(4)
    client.send(b"\x88\x82\0\0\0\0\x03\xe8")
    client.close()
    server.close()
    sidecar.event("session", call_sid=CALL_SID, ended_by="server")
    begin_drain(sidecar)
    assert is_answered(sidecar, upstream, "/voice/next")
    sidecar.event("drained")


def test_a_promised_stream_is_taken_and_no_other(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml())
    begin_drain(sidecar)
    with sidecar.connect() as stranger:
        stranger.send(UPGRADE.replace(b"/voice/stream", b"/elsewhere"))
        assert stranger.receive_all().startswith(b"HTTP/1.1 503 ")
    client, server = sidecar.upgrade(upstream)
    with sidecar.connect() as again:
        again.send(UPGRADE)
        assert again.receive_all().startswith(b"HTTP/1.1 503 ")
    client.close()
    server.close()
    sidecar.event("drained")


def test_a_promised_stream_is_waited_for_a_moment(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    fetch_twiml(sidecar, upstream, twiml())
    begin_drain(sidecar)
    sidecar.event("drained")
    assert len(sidecar.sidecar.promises) == 1


def test_with_no_call_there_is_nothing_to_wait_for(sidecar: RunningSidecar) -> None:
    idle = sidecar.connect()
    begin_drain(sidecar)
    sidecar.event("drained")
    assert idle.receive_all() == b""
    with pytest.raises(ConnectionRefusedError):
        sidecar.connect()
