"""nginx -> hopscope -> a `websockets` server: what a WebSocket is made of passes unchanged."""

import http.client
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from programs import NGINX_PROPER, HopscopeProcess

StartNginx = Callable[[int, str], int]
StartHopscope = Callable[..., HopscopeProcess]


@pytest.fixture
def hopscope(start_gateway: Callable[[str], int], start_hopscope: StartHopscope) -> HopscopeProcess:
    return start_hopscope(start_gateway("echo"))


@pytest.fixture
def call(hopscope: HopscopeProcess, start_nginx: StartNginx) -> Iterator[ClientConnection]:
    """A WebSocket through nginx and hopscope, compression offered."""
    port = start_nginx(hopscope.port, NGINX_PROPER)
    with connect(f"ws://127.0.0.1:{port}/voice/stream", max_size=4 << 20) as connection:
        yield connection


def test_the_handshake_line_names_nginx_and_its_client(
    call: ClientConnection, hopscope: HopscopeProcess
) -> None:
    line = hopscope.line("handshake")
    assert (line["outcome"], line["status"], line["ingress"]) == ("upgraded", 101, "nginx")
    assert (line["client"], line["http_version"]) == ("127.0.0.1", "1.1")
    assert (line["upgrade"], line["connection"]) == ("websocket", "upgrade")
    assert line["violations"] == []
    assert line["headers"]["X-Forwarded-Proto"] == "http"


def test_text_binary_fragments_and_pings_come_back_unchanged(
    call: ClientConnection, hopscope: HopscopeProcess
) -> None:
    call.send("straße")
    assert call.recv() == "straße"
    call.send(b"\0bin\0" + bytes(range(256)))
    assert call.recv() == b"\0bin\0" + bytes(range(256))
    call.send(iter(["frag", "men", "ted"]))
    assert call.recv() == "fragmented"
    assert call.ping("are you there").wait(10)
    call.close(4001, "enough")
    session = hopscope.line("session")
    frames = session["frames"]["client"]
    # websockets ends a fragmented message with an empty continuation frame.
    assert (frames["text"], frames["binary"], frames["continuation"]) == (2, 1, 3)
    assert (frames["ping"], session["frames"]["server"]["pong"]) == (1, 1)
    assert (session["close_code"], session["close_reason"]) == (4001, "enough")
    assert (session["close_sender"], session["ended_by"]) == ("client", "client")
    assert session["ending"] == "close_handshake"


def test_a_close_of_the_gateway_arrives_with_its_code_and_reason(
    call: ClientConnection, hopscope: HopscopeProcess
) -> None:
    call.send("close 4000 token expired")
    with pytest.raises(ConnectionClosedError) as closed:
        call.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "token expired")
    session = hopscope.line("session")
    assert (session["close_code"], session["close_reason"]) == (4000, "token expired")
    assert (session["close_sender"], session["ended_by"]) == ("server", "server")


def test_a_message_of_one_mebibyte_passes_whole(
    call: ClientConnection, hopscope: HopscopeProcess
) -> None:
    message = b"\0bin\0" + bytes(range(256)) * 4096
    call.send(message)
    assert call.recv() == message
    call.close()
    assert hopscope.line("session")["wire_bytes"]["client"] > 1000


def test_compression_is_negotiated_end_to_end(
    call: ClientConnection, hopscope: HopscopeProcess
) -> None:
    assert [extension.name for extension in call.protocol.extensions] == ["permessage-deflate"]
    call.send("a" * 100_000)
    assert call.recv() == "a" * 100_000
    call.close()
    assert "permessage-deflate" in hopscope.line("handshake")["extensions"]
    session = hopscope.line("session")
    assert session["bytes"]["client"]["text"] < 2000  # what passed was compressed


def test_an_upgrade_is_the_second_request_of_a_reused_connection(
    hopscope: HopscopeProcess, start_nginx: StartNginx
) -> None:
    port = start_nginx(hopscope.port, NGINX_PROPER)
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    plain.request("GET", "/plain")
    answer = plain.getresponse()
    assert (answer.status, answer.read()) == (200, b"plain\n")
    assert "received-status=200" in (answer.headers["Proxy-Status"] or "")
    plain.close()
    # nginx keeps its connection to hopscope and asks for the upgrade on it.
    with connect(f"ws://127.0.0.1:{port}/voice/stream") as connection:
        connection.send("hello")
        assert connection.recv() == "hello"
    assert hopscope.line("request")["request_number"] == 1
    assert hopscope.line("handshake")["request_number"] == 2


HTTP_1_1 = "proxy_http_version 1.1;"
UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = "proxy_set_header Connection upgrade;"
# Rows H01 to H05 of the fault catalogue: directives, then what arrives behind them.
LOST_HEADERS = {
    "H01 nothing set": ("", "1.0", None, "close"),
    "H02 only HTTP/1.1": (HTTP_1_1, "1.1", None, "close"),
    "H03 no Connection": (HTTP_1_1 + UPGRADE, "1.1", "websocket", "close"),
    "H04 no Upgrade": (HTTP_1_1 + CONNECTION, "1.1", None, "upgrade"),
    "H05 no HTTP/1.1": (UPGRADE + CONNECTION, "1.0", "websocket", "upgrade"),
}


@pytest.mark.parametrize(
    ("directives", "version", "upgrade", "connection"), LOST_HEADERS.values(), ids=LOST_HEADERS
)
def test_what_nginx_lost_is_what_the_handshake_line_shows(
    directives: str,
    version: str,
    upgrade: str | None,
    connection: str,
    hopscope: HopscopeProcess,
    start_nginx: StartNginx,
) -> None:
    port = start_nginx(hopscope.port, directives)
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port}/voice/stream"):
        pass
    line = hopscope.line("handshake")
    assert line["ingress"] == "nginx"
    assert (line["http_version"], line["upgrade"], line["connection"]) == (
        version,
        upgrade,
        connection,
    )
    assert line["ws_key_present"] is True
    assert line["outcome"] == ("refused" if upgrade else "not_an_upgrade")
    wrong = {
        "HTTP version": version != "1.1",
        "Upgrade": upgrade is None,
        "Connection": connection != "upgrade",
    }
    assert [violation["field"] for violation in line["violations"]] == [
        field for field, is_wrong in wrong.items() if is_wrong
    ]


def test_a_dead_gateway_is_a_503_that_nginx_passes_on(
    start_hopscope: StartHopscope, start_nginx: StartNginx
) -> None:
    hopscope = start_hopscope(1)  # nothing listens on port 1
    port = start_nginx(hopscope.port, NGINX_PROPER)
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{port}/voice/stream"),
    ):
        pass
    assert refused.value.response.status_code == 503
    assert "error=connection_refused" in refused.value.response.headers["Proxy-Status"]
    assert hopscope.line("handshake")["outcome"] == "unreachable"
