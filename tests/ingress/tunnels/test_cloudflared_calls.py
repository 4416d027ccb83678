"""A whole call by Twilio's stand-in: edge -> cloudflared -> hopscope -> the gateway, and what ends
it: a restart of the edge or of cloudflared, silence, other rules."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from calls.gateways_at_work import at_work, run, simple_cast
from doctor.addresses import Address
from ingress.tunnels.cloudflare.callers import echoes, stream, trusting
from ingress.tunnels.cloudflare.front import Switches
from ingress.tunnels.cloudflare.required import cloudflared, tunnel_to
from ingress.tunnels.cloudflare.tunnel import GRACE_S, CloudflareTunnel
from programs import PATIENCE_S, HopscopeProcess

StartHopscope = Callable[..., HopscopeProcess]
StartGateway = Callable[[str], int]


ANOTHER_HOST = """\
ingress:
  - service: http://@upstream@
    originRequest:
      httpHostHeader: gateway.internal
"""


@pytest.mark.parametrize("protocol", ["http2", "quic"])
def test_a_call_goes_through_the_tunnel_and_the_sidecar_with_its_signatures_whole(
    start_hopscope: StartHopscope, protocol: str
) -> None:
    """cloudflared itself speaks plain HTTP behind; the gateway checks what Twilio was given."""
    cloudflared()

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast("one", "two")) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            with tunnel_to(hopscope.port, protocol=protocol) as tunnel:
                await asyncio.to_thread(tunnel.wait_until_connected)
                heard = await at.call(
                    "words",
                    "words",
                    connect_to=Address("127.0.0.1", tunnel.port),
                    plain=False,
                    tls=trusting(tunnel),
                )
            assert heard.text == "Hi.1 one.2 two."
            assert heard.report.twilio_error is None
            assert heard.report.warnings == []
            assert at.of("signature_refused") == []
            handshake = await asyncio.to_thread(hopscope.line, "handshake")
            assert (handshake["ingress"], handshake["outcome"]) == ("cloudflare", "upgraded")
            assert handshake["violations"] == []
            session = await asyncio.to_thread(hopscope.line, "session")
            assert session["call_sid"] == heard.report.call_sid
            assert session["ending"] == "close_handshake"
            assert (session["underruns"], session["marks_unanswered"]) == (0, 0)
            assert session["sequence_gaps"] == 0

    run(work)


def test_another_host_behind_the_tunnel_is_no_matter(start_hopscope: StartHopscope) -> None:
    """httpHostHeader: the public name is left in X-Forwarded-Host."""
    cloudflared()

    async def work() -> None:
        async with at_work(greeting="Hi.", **simple_cast()) as at:
            hopscope = await asyncio.to_thread(start_hopscope, at.address.port)
            with tunnel_to(hopscope.port, ANOTHER_HOST) as tunnel:
                await asyncio.to_thread(tunnel.wait_until_connected)
                through = Address("127.0.0.1", tunnel.port)
                heard = await at.call(connect_to=through, plain=False, tls=trusting(tunnel))
            assert heard.text == "Hi."
            assert at.of("signature_refused") == []
            handshake = await asyncio.to_thread(hopscope.line, "handshake")
            assert handshake["host"] == "gateway.internal"

    run(work)


def test_a_gateway_that_is_gone_is_a_503_with_its_stamp_through_the_edge(
    start_hopscope: StartHopscope,
) -> None:
    """The edge would replace the body of a 502, and the reason with it."""
    hopscope = start_hopscope(1)  # nothing listens on port 1
    with tunnel_to(hopscope.port) as tunnel:
        tunnel.wait_until_connected()
        with pytest.raises(InvalidStatus) as refused:
            stream(tunnel)
    response = refused.value.response
    assert response.status_code == 503
    assert "error=connection_refused" in response.headers["Proxy-Status"]
    assert (response.headers["Server"], bool(response.body)) == ("cloudflare", True)
    assert hopscope.line("handshake")["outcome"] == "unreachable"


# One stream, and what ends it.


@pytest.fixture
def hopscope(start_gateway: StartGateway, start_hopscope: StartHopscope) -> HopscopeProcess:
    cloudflared()
    return start_hopscope(start_gateway("echo"))


@pytest.fixture
def tunnel(hopscope: HopscopeProcess) -> Iterator[CloudflareTunnel]:
    with tunnel_to(hopscope.port) as running:
        running.wait_until_connected()
        yield running


def test_pings_and_closes_arrive_with_code_and_reason(
    tunnel: CloudflareTunnel, hopscope: HopscopeProcess
) -> None:
    with stream(tunnel) as caller:
        assert caller.ping("are you there").wait(PATIENCE_S)
        caller.close(4001, "enough")
    session = hopscope.line("session")
    assert (session["close_code"], session["close_reason"]) == (4001, "enough")
    assert (session["close_sender"], session["ending"]) == ("client", "close_handshake")
    assert session["frames"]["client"]["ping"] == 1
    with stream(tunnel) as caller:
        caller.send("close 4000 token expired")
        with pytest.raises(ConnectionClosedError) as closed:
            caller.recv(PATIENCE_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "token expired")
    assert hopscope.line("session")["close_sender"] == "server"


def test_a_restart_of_the_edge_ends_the_stream_on_both_sides_without_a_close(
    tunnel: CloudflareTunnel, hopscope: HopscopeProcess
) -> None:
    with stream(tunnel) as caller:
        assert echoes(caller, "before")
        tunnel.restart_edge()
        with pytest.raises(ConnectionClosedError) as closed:
            caller.recv(PATIENCE_S)
        assert closed.value.rcvd is None  # 1006 (RFC 6455 section 7.1.5)
    session = hopscope.line("session")
    assert (session["ended_by"], session["close_code"]) == ("client", None)
    assert session["ending"] in ("eof_without_close", "reset")
    tunnel.wait_until_connected()  # cloudflared dials again by itself, after up to 20 s
    with stream(tunnel) as caller:
        assert echoes(caller, "after")


def test_silence_is_ended_by_the_edge_and_a_ping_prevents_it(
    hopscope: HopscopeProcess,
) -> None:
    with tunnel_to(hopscope.port, switches=Switches(idle_s=1.0)) as tunnel:
        tunnel.wait_until_connected()
        with stream(tunnel) as caller:
            for _ in range(4):
                time.sleep(0.4)
                assert caller.ping().wait(PATIENCE_S)
            with pytest.raises(ConnectionClosedError) as closed:
                caller.recv(PATIENCE_S)
        assert closed.value.rcvd is None
    assert hopscope.line("session")["ended_by"] == "client"


def test_sigterm_lets_an_open_stream_live_past_the_grace_period_and_takes_no_other(
    tunnel: CloudflareTunnel,
) -> None:
    """Over HTTP/2 cloudflared ends with its last stream, whatever --grace-period says."""
    with stream(tunnel) as caller:
        assert echoes(caller, "before")
        link = tunnel.edge.live
        assert link is not None
        tunnel.terminate()
        tunnel.await_(link.unregistered.wait())
        time.sleep(2 * GRACE_S)
        assert echoes(caller, "long after")
        with pytest.raises(InvalidStatus) as refused:
            stream(tunnel)
        assert refused.value.response.status_code == 530
        assert refused.value.response.body == b"error code: 1033"
        assert tunnel.process.poll() is None
    assert tunnel.process.wait(PATIENCE_S) == 0


def test_sigterm_ends_an_open_stream_over_quic_when_the_grace_period_is_over(
    hopscope: HopscopeProcess,
) -> None:
    with tunnel_to(hopscope.port, protocol="quic") as tunnel:
        tunnel.wait_until_connected()
        with stream(tunnel) as caller:
            assert echoes(caller, "before")
            tunnel.terminate()
            with pytest.raises(ConnectionClosedError) as closed:
                caller.recv(PATIENCE_S)
            assert closed.value.rcvd is None
        assert tunnel.process.wait(PATIENCE_S) == 0
    assert hopscope.line("session")["ended_by"] == "client"


def test_rules_that_are_pushed_hold_for_new_streams_and_leave_open_ones_alone(
    hopscope: HopscopeProcess,
) -> None:
    with tunnel_to(hopscope.port, switches=Switches(is_remote=True)) as tunnel:
        tunnel.wait_until_connected()
        ours = {"hostname": tunnel.host, "service": f"http://127.0.0.1:{hopscope.port}"}
        other = {"service": "http_status:418"}
        assert tunnel.push(1, [ours, other]) == {"lastAppliedVersion": 1, "err": None}
        with stream(tunnel) as caller:
            assert echoes(caller, "before")
            assert tunnel.push(2, [other])["lastAppliedVersion"] == 2
            with pytest.raises(InvalidStatus) as refused:
                stream(tunnel)
            assert (refused.value.response.status_code, refused.value.response.body) == (418, b"")
            assert echoes(caller, "after")
        assert '"version":2' in tunnel.ask_metrics("/config")


def test_rules_that_cloudflared_refuses_are_not_applied(hopscope: HopscopeProcess) -> None:
    with tunnel_to(hopscope.port, switches=Switches(is_remote=True)) as tunnel:
        tunnel.wait_until_connected()
        ours = {"service": f"http://127.0.0.1:{hopscope.port}"}
        assert tunnel.push(1, [ours])["lastAppliedVersion"] == 1
        with_a_path = {"service": f"http://127.0.0.1:{hopscope.port}/voice"}
        said = tunnel.push(2, [with_a_path])
        # The reason is an error of Go's, of which JSON makes nothing; the log has it.
        assert said == {"lastAppliedVersion": 1, "err": {}}
        assert "ingress rules don't support proxying to a different path" in tunnel.log()
        with stream(tunnel) as caller:
            assert echoes(caller, "still there")


def test_without_a_registered_tunnel_the_edge_says_1033_and_cloudflared_is_not_ready(
    hopscope: HopscopeProcess,
) -> None:
    refusing = Switches(refuses="Unauthorized: Invalid tunnel secret")
    with tunnel_to(hopscope.port, switches=refusing) as tunnel:
        tunnel.await_(tunnel.edge.registrar.refused.wait())
        with pytest.raises(InvalidStatus) as refused:
            stream(tunnel)
        assert refused.value.response.status_code == 530
        assert refused.value.response.headers["Retry-After"] == "120"
        assert '"readyConnections":0' in tunnel.ask_metrics("/ready")
        assert tunnel.process.poll() is None
