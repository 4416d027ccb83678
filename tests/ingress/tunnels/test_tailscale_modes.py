"""Serve inside the tailnet, and TCP forwards with and without TLS and PROXY headers."""

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from doctor.linting.findings import Paths
from doctor.linting.tailscale import lint
from head_echo import echoing_heads
from ingress.tunnels.authority import issue
from ingress.tunnels.tailscale.callers import NAME, arrived, ask, dial
from ingress.tunnels.tailscale.tailnet import Tailnet
from peers import SWITCH, UPGRADE, RawSocket, RawUpstream
from programs import HopscopeProcess

ASKED = UPGRADE.replace(b"voice.example.com", NAME)
StartGateway = Callable[[str], int]
StartHopscope = Callable[..., HopscopeProcess]


@pytest.fixture
def upstream() -> Iterator[RawUpstream]:
    listening = RawUpstream()
    yield listening
    listening.close()


def port_of(upstream: RawUpstream) -> int:
    return int(upstream.url.rpartition(":")[2])


def terminated(tailnet: Tailnet, port: int, *options: str) -> None:
    """Funnel that ends TLS and copies bytes."""
    target = f"tcp://127.0.0.1:{port}"
    tailnet.cli("funnel", "--bg", "--yes", "--tls-terminated-tcp=443", *options, target)


def test_the_nodes_speak_to_nobody_but_this_machine(tailnet: Tailnet) -> None:
    tailnet.cli("funnel", "--bg", "--yes", "text:here")
    assert ask(tailnet, "/")[1] == b"here"
    for node in (tailnet.gateway, tailnet.edge):
        connections = psutil.Process(node.pid).net_connections("tcp")
        assert {each.raddr.ip for each in connections if each.raddr} == {"127.0.0.1"}
        (peer,) = node.status()["Peer"].values()
        places = [peer["CurAddr"], *(peer["Addrs"] or ())]  # none: through our DERP relay
        assert [place for place in places if place and not place.startswith("127.0.0.1:")] == []


def test_serve_says_who_of_the_tailnet_asks(tailnet: Tailnet) -> None:
    with echoing_heads() as address:
        tailnet.cli("serve", "--bg", "--yes", f"http://{address}")
        fields = arrived(tailnet, "/voice/stream", by_tailnet=True)["fields"]
    assert fields["tailscale-user-login"]
    assert fields["tailscale-headers-info"] == "https://tailscale.com/s/serve-headers"
    assert fields["x-forwarded-for"].startswith("100.64.0.")
    assert "tailscale-funnel-request" not in fields


def test_what_serve_serves_is_closed_to_the_public(tailnet: Tailnet) -> None:
    tailnet.cli("serve", "--bg", "--yes", "text:here")
    assert ask(tailnet, "/", by_tailnet=True)[1] == b"here"
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        ask(tailnet, "/")
    assert tailnet.relay.refusals == ["403 Forbidden: denied"]


def test_serve_on_a_port_that_had_funnel_turns_funnel_off(tailnet: Tailnet) -> None:
    tailnet.cli("funnel", "--bg", "--yes", "text:here")
    assert ask(tailnet, "/")[1] == b"here"
    tailnet.cli("serve", "--bg", "--yes", "--set-path", "/more", "text:more")
    assert "AllowFunnel" not in tailnet.serve_status()
    assert ask(tailnet, "/", by_tailnet=True)[1] == b"here"
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        ask(tailnet, "/")


def test_the_command_takes_a_port_that_no_relay_carries_and_the_linter_does_not(
    tailnet: Tailnet,
) -> None:
    tailnet.cli("funnel", "--bg", "--yes", "--https=9443", "text:here")
    report = lint(tailnet.cli("serve", "status", "--json"), Path("serve.json"), Paths())
    assert "TS12" in {finding.rule for finding in report.findings}


def test_a_terminated_forward_passes_the_callers_bytes_as_they_are(
    tailnet: Tailnet, upstream: RawUpstream
) -> None:
    terminated(tailnet, port_of(upstream))
    with dial(tailnet, alpn=()) as caller:
        caller.send(ASKED)
        with upstream.accept() as gateway:
            assert gateway.receive_head() == ASKED
            gateway.send(SWITCH)
            assert caller.receive_head() == SWITCH


def test_a_terminated_forward_passes_half_closes_on(
    tailnet: Tailnet, upstream: RawUpstream
) -> None:
    terminated(tailnet, port_of(upstream))
    with dial(tailnet, alpn=()) as caller:
        caller.send(b"first")
        with upstream.accept() as gateway:
            assert gateway.receive(5) == b"first"
            gateway.send(b"last words")
            gateway.half_close()
            assert caller.receive_all() == b"last words"


def test_a_forward_that_ends_no_tls_leaves_it_to_the_gateway(
    tailnet: Tailnet, upstream: RawUpstream, tmp_path: Path
) -> None:
    issue(tmp_path, tailnet.host, tailnet.authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / f"{tailnet.host}.crt", tmp_path / f"{tailnet.host}.key")
    tailnet.cli("funnel", "--bg", "--yes", "--tcp=443", f"tcp://127.0.0.1:{port_of(upstream)}")

    def serve() -> bytes:
        with upstream.accept() as raw:
            gateway = RawSocket(context.wrap_socket(raw.sock, server_side=True))
            head = gateway.receive_head()
            gateway.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            gateway.close()
            return head

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        with dial(tailnet, alpn=()) as caller:
            caller.send(ASKED)
            assert caller.receive_head().startswith(b"HTTP/1.1 200 OK")
        assert serving.result() == ASKED


@pytest.mark.parametrize(
    ("version", "opening"),
    [
        ("1", b"PROXY TCP4 203.0.113.7 "),
        ("2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07"),
    ],
)
def test_a_proxy_header_stands_in_front_where_it_is_asked_for(
    tailnet: Tailnet, upstream: RawUpstream, version: str, opening: bytes
) -> None:
    terminated(tailnet, port_of(upstream), f"--proxy-protocol={version}")
    tailnet.relay.source = "203.0.113.7:40000"
    with dial(tailnet, alpn=()) as caller:
        caller.send(ASKED)
        with upstream.accept() as gateway:
            assert gateway.receive(len(opening)) == opening


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_sidecar_reads_the_caller_from_either_proxy_header(
    tailnet: Tailnet,
    start_gateway: StartGateway,
    start_hopscope: StartHopscope,
    tmp_path: Path,
    version: str,
) -> None:
    settings = tmp_path / "hopscope.toml"
    settings.write_text("proxy_protocol = true\n")
    hopscope = start_hopscope(start_gateway("echo"), "--no-history", "--config", str(settings))
    terminated(tailnet, hopscope.port, f"--proxy-protocol={version}")
    tailnet.relay.source = "203.0.113.7:40000"
    with dial(tailnet, alpn=()) as caller:
        caller.send(ASKED)
        assert caller.receive_head().startswith(b"HTTP/1.1 101 ")
    assert hopscope.line("handshake", outcome="upgraded")["client"] == "203.0.113.7"
