"""What is wrong with the URL of a <Stream>, and how it is written down."""

import pytest

from proxy.http1 import parse_request_head
from proxy.routes import Route, Upstream
from proxy.stream_url import UrlFact, hosts_of, parse_stream_url

HOST = "voice.example.com"
URL = f"wss://{HOST}/voice/stream"
OTHER = f"wss://{HOST}/other"
ANY = (Route("default", Upstream("127.0.0.1", 8081)),)
HOSTED = Route("hosted", Upstream("h", 1), host="other.example.com")
EXACT = Route("exact", Upstream("h", 1), path="/voice/stream")
STRIPPED = Route("stripped", Upstream("h", 1), path="/stream")
ADDED = Route("added", Upstream("h", 1), path="/gateway/voice/stream")
UNDER = Route("under", Upstream("h", 1), prefix="/voice")
WEBHOOK = Route("webhook", Upstream("h", 1), path="/voice/webhook")


@pytest.mark.parametrize(
    ("url", "hosts", "routes", "because"),
    [
        pytest.param(URL, [HOST], ANY, [], id="nothing is wrong that we could see"),
        pytest.param("ws" + URL[3:], [HOST], ANY, ["not_wss"], id="ws"),
        pytest.param("https" + URL[3:], [HOST], ANY, ["not_wss"], id="https"),
        pytest.param(URL + "?token=x", [HOST], ANY, ["has_query"], id="query"),
        pytest.param(URL, ["www.example.com"], ANY, ["host_elsewhere"], id="another host"),
        pytest.param(URL, ["VOICE.example.COM"], ANY, ["host_elsewhere"], id="hosts come bare"),
        pytest.param(URL.upper().replace("WSS", "wss"), [HOST], ANY, [], id="case"),
        pytest.param(URL.replace(".com", ".com.:443"), [HOST], ANY, [], id="dot, port"),
        pytest.param(URL, ["gateway", HOST], ANY, [], id="one of its hosts"),
        pytest.param(URL, ["127.0.0.1"], ANY, [], id="Host was rewritten to loopback"),
        pytest.param(URL, ["gateway"], ANY, [], id="Host was rewritten to a short name"),
        pytest.param(URL, ["gw.default.svc"], ANY, [], id="Host was rewritten in a pod"),
        pytest.param(URL, [], ANY, [], id="no Host at all"),
        pytest.param(
            "wss://localhost/voice/stream",
            [HOST],
            ANY,
            ["host_not_public", "host_elsewhere"],
            id="localhost",
        ),
        pytest.param("wss://192.168.0.7:80/a", ["::1"], ANY, ["host_not_public"], id="private"),
        pytest.param("wss://[fd00::1]/a", [], ANY, ["host_not_public"], id="private IPv6"),
        pytest.param(
            "ws://10.0.0.1/a?b",
            [HOST],
            (WEBHOOK,),
            ["not_wss", "has_query", "host_not_public", "host_elsewhere", "path_not_routed_here"],
            id="everything at once",
        ),
        pytest.param(URL, [HOST], (WEBHOOK, EXACT), [], id="routed"),
        pytest.param(URL, [HOST], (WEBHOOK, UNDER), [], id="routed by prefix"),
        pytest.param(URL, [HOST], (STRIPPED,), [], id="routed once it is stripped"),
        pytest.param(URL, [HOST], (ADDED,), [], id="routed with a prefix before it"),
        pytest.param(URL, [HOST], (WEBHOOK,), ["path_not_routed_here"], id="not routed"),
        pytest.param(OTHER, [HOST], (UNDER, EXACT), ["path_not_routed_here"], id="elsewhere"),
        pytest.param(URL, [HOST], (), ["path_not_routed_here"], id="no routes"),
        pytest.param(URL, [HOST], (HOSTED,), ["path_not_routed_here"], id="route of another host"),
        pytest.param(URL, [HOST, "other.example.com"], (HOSTED,), [], id="route of its webhook"),
        pytest.param("wss://[::1/stream", [HOST], ANY, ["malformed_url"], id="half a bracket"),
        pytest.param("wss:///stream", [HOST], ANY, ["malformed_url"], id="no host"),
        pytest.param("/voice/stream", [HOST], ANY, ["malformed_url"], id="relative"),
        pytest.param("wss://a.example:x/", [HOST], ANY, ["malformed_url"], id="port"),
        pytest.param("", [HOST], ANY, ["malformed_url"], id="empty"),
    ],
)
def test_what_the_url_itself_tells_is_told(
    url: str, hosts: list[str], routes: tuple[Route, ...], because: list[UrlFact]
) -> None:
    assert parse_stream_url(url).facts(hosts, routes) == because


def test_a_path_without_end_is_looked_at_within_bounds() -> None:
    url = parse_stream_url(URL + "/a" * 20_000)
    assert url.facts([HOST], (WEBHOOK,) * 50) == ["path_not_routed_here"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        (f"wss://{HOST}:8443/a", f"wss://{HOST}:8443/a"),
        (f"wss://user:s3cret@{HOST}/a", f"wss://{HOST}/a"),
        (URL + "?token=s3cret&v=1", URL + "?token=[hidden]&v=[hidden]"),
        (f"wss://{HOST}/s/0123456789abcdefs3cret", f"wss://{HOST}/s/[hidden]"),
        (
            "wss://a1234567890-b1234567890.example.com/",
            "wss://a1234567890-b1234567890.example.com/",
        ),
        ("wss://[2001:db8::1]:1/a", "wss://[2001:db8::1]:1/a"),
        ("wss://user:s3cret@/a?s3cret", "wss://[hidden]@/a?[hidden]"),
    ],
)
def test_the_url_is_told_without_its_secrets(url: str, shown: str) -> None:
    assert parse_stream_url(url).shown() == shown


@pytest.mark.parametrize(
    ("head", "hosts"),
    [
        ("POST /a HTTP/1.1\r\nHost: Voice.Example.COM.:443\r\n", ("voice.example.com",)),
        ("POST /a HTTP/1.1\r\nHost: [::1]:80\r\n", ("::1",)),
        ("POST http://b:1/a HTTP/1.1\r\nHost: b:1\r\n", ("b",)),
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b, c:443\r\nX-Forwarded-Host: a\r\n",
            ("a", "b", "c"),
        ),
        (
            'POST /a HTTP/1.1\r\nHost: a\r\nForwarded: for=x;host="b:443";proto=https, host=c\r\n',
            ("a", "b", "c"),
        ),
        ("POST /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: user:s3cret@b, <c>, \r\n", ("a",)),
        ("POST /a HTTP/1.0\r\n", ()),
        ("POST /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: b, c, d, e, f, g, h, i\r\n", 8),
    ],
)
def test_a_request_came_in_under_every_name_that_a_hop_tells(
    head: str, hosts: tuple[str, ...] | int
) -> None:
    found = hosts_of(parse_request_head(f"{head}\r\n".encode()))
    assert (found if isinstance(hosts, tuple) else len(found)) == hosts
