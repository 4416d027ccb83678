"""A whole call by Twilio's stand-in: Funnel -> tailscaled -> hopscope -> the gateway, and what may
happen to it: other modes, a new configuration, a restart of the daemon."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from calls.gateways_at_work import Heard, at_work, run, simple_cast
from doctor.addresses import Address
from ingress.conftest import running_gateway
from ingress.tunnels.tailscale.callers import trusting
from ingress.tunnels.tailscale.tailnet import Tailnet
from programs import PATIENCE_S, HopscopeProcess

pytestmark = pytest.mark.timeout(120)  # a restart may take its time on a busy machine
StartHopscope = Callable[..., HopscopeProcess]
# How Funnel and Serve may be told to lead to a port, and what the sidecar takes them for.
WAYS = {
    "one mount": (("funnel", "--bg", "--yes", "{port}"), "tailscale-funnel"),
    "TLS ended": (
        ("funnel", "--bg", "--yes", "--tls-terminated-tcp=443", "tcp://127.0.0.1:{port}"),
        "twilio-direct",
    ),
    "serve": (("serve", "--bg", "--yes", "http://127.0.0.1:{port}"), "tailscale-serve"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_call_goes_through_with_its_signatures_whole(
    tailnet: Tailnet, start_hopscope: StartHopscope, way: str
) -> None:
    command, ingress = WAYS[way]

    async def work() -> None:
        public = f"https://{tailnet.host}"
        cast = simple_cast("one", "two")
        async with at_work(greeting="Hi.", public_url=public, **cast) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            await _tell(tailnet, *(word.format(port=hopscope.port) for word in command))
            door = tailnet.door if way == "serve" else tailnet.relay
            heard: Heard = await at.call(
                "words",
                "words",
                connect_to=Address("127.0.0.1", door.port),
                plain=False,
                tls=trusting(tailnet),
            )
            assert heard.text == "Hi.1 one.2 two."
            assert heard.report.twilio_error is None
            assert heard.report.warnings == []
            assert at.of("signature_refused") == []
            handshake = await asyncio.to_thread(hopscope.line, "handshake")
            assert (handshake["ingress"], handshake["outcome"]) == (ingress, "upgraded")
            assert handshake["violations"] == []
            session = await asyncio.to_thread(hopscope.line, "session")
            assert session["call_sid"] == heard.report.call_sid
            assert session["ending"] == "close_handshake"
            assert (session["underruns"], session["marks_unanswered"]) == (0, 0)
            assert session["sequence_gaps"] == 0

    run(work)


async def _tell(tailnet: Tailnet, *command: str) -> None:
    await asyncio.to_thread(tailnet.cli, *command)


def stream_to(tailnet: Tailnet) -> ClientConnection:
    """A stream to a path of its own, by which its record is found."""
    return connect(
        f"wss://{tailnet.host}/voice/{secrets.token_hex(8)}",
        sock=socket.create_connection(("127.0.0.1", tailnet.relay.port), PATIENCE_S),
        ssl=trusting(tailnet),
        server_hostname=tailnet.host,
        compression=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        proxy=None,
    )


def record_of(stream: ClientConnection, sidecar: HopscopeProcess) -> dict[str, Any]:
    """What the sidecar tells of a stream that has ended."""
    assert stream.request is not None
    handshake = sidecar.line("handshake", target=stream.request.path)
    return sidecar.line("session", id=handshake["id"])


def says(stream: ClientConnection, text: str) -> None:
    stream.send(text)
    assert stream.recv(PATIENCE_S) == text


def stream_media(stream: ClientConnection) -> None:
    """Until it ends. Raises ConnectionClosed."""
    while True:
        says(stream, "media")


@pytest.fixture(scope="module")
def echoing_sidecar() -> Iterator[HopscopeProcess]:
    """An echo of the `websockets` library behind the sidecar."""
    with running_gateway("echo") as port:
        hopscope = HopscopeProcess(port, "--no-history")
        yield hopscope
        assert hopscope.close() == 0


@pytest.fixture
def sidecar(tailnet: Tailnet, echoing_sidecar: HopscopeProcess) -> HopscopeProcess:
    """The same behind Funnel."""
    tailnet.cli("funnel", "--bg", "--yes", str(echoing_sidecar.port))
    return echoing_sidecar


def test_a_stream_outlives_a_new_configuration_that_has_no_place_for_it(
    tailnet: Tailnet, sidecar: HopscopeProcess
) -> None:
    with stream_to(tailnet) as stream:
        says(stream, "before")
        tailnet.cli("funnel", "--bg", "--yes", "--set-path", "/else", "text:here")
        tailnet.cli("funnel", "--bg", "--yes", "--set-path", "/", "off")
        with pytest.raises(InvalidStatus) as refused:
            stream_to(tailnet)
        assert refused.value.response.status_code == 404
        says(stream, "after")
    assert record_of(stream, sidecar)["ending"] == "close_handshake"


def test_a_stream_outlives_funnel_itself(tailnet: Tailnet, sidecar: HopscopeProcess) -> None:
    with stream_to(tailnet) as stream:
        tailnet.reset()
        says(stream, "after")


def test_a_restart_of_the_daemon_ends_streams_without_a_close_and_keeps_the_mounts(
    tailnet: Tailnet, sidecar: HopscopeProcess
) -> None:
    """The gateway's side ends at once. The caller's does when it next sends: to the relay, a daemon
    that is gone is only silent."""
    with stream_to(tailnet) as stream:
        says(stream, "before")
        tailnet.restart()
        session = record_of(stream, sidecar)
        assert (session["ended_by"], session["ending"]) == ("client", "eof_without_close")
        with pytest.raises(ConnectionClosed) as closed:
            stream_media(stream)
    assert closed.value.rcvd is None
    with stream_to(tailnet) as stream:
        says(stream, "again")


def test_pings_are_answered_by_the_other_end_and_by_nobody_between(
    tailnet: Tailnet, sidecar: HopscopeProcess
) -> None:
    with stream_to(tailnet) as stream:
        assert stream.ping().wait(PATIENCE_S)
    frames = record_of(stream, sidecar)["frames"]
    assert frames["client"]["ping"] == 1
    assert frames["server"]["pong"] == 1


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "broken"), (4001, "moved")])
def test_close_codes_pass_whoever_sends_them(
    tailnet: Tailnet, sidecar: HopscopeProcess, code: int, reason: str
) -> None:
    with stream_to(tailnet) as stream:
        stream.send(f"close {code} {reason}")
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)
    session = record_of(stream, sidecar)
    assert (session["close_code"], session["ending"]) == (code, "close_handshake")
    with stream_to(tailnet) as stream:
        stream.close(code, reason)
    assert record_of(stream, sidecar)["close_code"] == code
