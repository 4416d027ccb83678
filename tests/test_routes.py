"""Routes: which one takes a request, and that its path arrives as the bytes that it was."""

from urllib.parse import urlsplit

import pytest

from proxy.http1 import RequestHead, parse_request_head, parse_response_head
from proxy.routes import (
    HeaderEdits,
    Route,
    Upstream,
    find_route,
    has_dot_segment,
    has_prefix,
    split_target,
)

GATEWAY = Upstream("127.0.0.1", 8081)
EVERYTHING = Route("r", GATEWAY)


def route(*, host: str | None = None, path: str | None = None, prefix: str | None = None) -> Route:
    return Route("r", GATEWAY, host=host, path=path, prefix=prefix)


def request(target: str = "/", host: str = "voice.example.com") -> RequestHead:
    """A request; an absolute target brings its own Host, since both must agree."""
    host = urlsplit(target).netloc or host
    raw = f"GET {target} HTTP/1.1\r\nhOsT: {host}\r\nx-Odd:  1 \r\nX-Odd: 2\r\n\r\n"
    return parse_request_head(raw.encode("latin-1"))


def takes(target: str, *, path: str | None = None, prefix: str | None = None) -> bool:
    return find_route([route(path=path, prefix=prefix)], request(target)) is not None


def host_takes(pattern: str, host: str) -> bool:
    return find_route([route(host=pattern)], request(host=host)) is not None


# Targets


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/a/b?c=/d?e", ("", "/a/b", "?c=/d?e")),
        ("/a?", ("", "/a", "?")),
        ("/", ("", "/", "")),
        ("//a/b", ("", "//a/b", "")),
        ("/http://a/b", ("", "/http://a/b", "")),
        ("/a?u=http://b", ("", "/a", "?u=http://b")),
        ("http://h:1/a?b", ("http://h:1", "/a", "?b")),
        ("http://h?b/c", ("http://h", "", "?b/c")),
        ("https://h", ("https://h", "", "")),
        ("http://h//http://x", ("http://h", "//http://x", "")),
        ("*", ("", "*", "")),
    ],
)
def test_a_target_is_split_and_nothing_is_lost(target: str, parts: tuple[str, str, str]) -> None:
    assert split_target(target) == parts
    assert "".join(parts) == target


# Paths


@pytest.mark.parametrize(
    ("path", "prefix", "lies_under"),
    [
        ("/voice", "/voice", True),
        ("/voice/", "/voice", True),
        ("/voice/a", "/voice", True),
        ("/voice//a", "/voice", True),
        ("/voice", "/voice/", True),
        ("/voice/a", "/voice/", True),
        ("/voices", "/voice", False),
        ("/voice%2Fa", "/voice", False),
        ("/voice;a", "/voice", False),
        ("/Voice/a", "/voice", False),
        ("//voice/a", "/voice", False),
        ("/voic", "/voice", False),
        ("/", "/voice", False),
        ("/anything", "/", True),
        ("/", "/", True),
        ("", "/", True),
        ("*", "/", False),
    ],
)
def test_a_prefix_holds_whole_segments(path: str, prefix: str, lies_under: bool) -> None:
    assert has_prefix(path, prefix) is lies_under


@pytest.mark.parametrize(
    ("path", "has_one"),
    [
        ("/voice/../admin", True),
        ("/voice/./admin", True),
        ("/voice/..", True),
        ("/voice/%2e%2e/admin", True),
        ("/voice/%2E./admin", True),
        ("/voice/.%2e", True),
        ("/voice/%2e", True),
        ("/voice/..%2fadmin", True),
        ("/voice%2F..%2Fadmin", True),
        ("/voice\\..\\admin", True),
        ("/voice/..%5Cadmin", True),
        ("/voice/%2e%2e%5cadmin", True),
        ("/voice/...", False),
        ("/voice/..a/b", False),
        ("/voice/a..", False),
        ("/voice/.well-known", False),
        ("/voice//a", False),
        ("/voice/%2f/a", False),
        ("/", False),
    ],
)
def test_a_dot_segment_is_seen_in_every_spelling(path: str, has_one: bool) -> None:
    assert has_dot_segment(path) is has_one
    assert takes(path, prefix="/") is not has_one
    assert takes(path, path=path) is not has_one
    assert takes(path), "a route for everything has nothing to be escaped from"


def test_dots_in_the_query_are_no_segments() -> None:
    assert takes("/voice?next=/../admin", prefix="/voice")


def test_a_path_is_matched_exactly_and_without_its_query() -> None:
    assert takes("/voice/stream", path="/voice/stream")
    assert takes("/voice/stream?a=b", path="/voice/stream")
    assert takes("http://voice.example.com/voice/stream?a", path="/voice/stream")
    for other in ("/voice/stream/", "/voice/strea%6d", "/voice//stream", "/voice/Stream", "/"):
        assert not takes(other, path="/voice/stream")


def test_the_asterisk_lies_under_no_path() -> None:
    options = parse_request_head(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    everything = Route("all", GATEWAY, add_prefix="/x")
    assert find_route([Route("root", GATEWAY, prefix="/"), everything], options) is everything
    assert everything.forwarded_request(options) == options


# Hosts


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("voice.example.com", "voice.example.com", True),
        ("voice.example.com", "VOICE.Example.com", True),
        ("Voice.Example.COM", "voice.example.com", True),
        ("voice.example.com", "voice.example.com:8080", True),
        ("voice.example.com", "voice.example.com:", True),
        ("voice.example.com", "voice.example.com.", True),
        ("voice.example.com", "voice.example.com.:443", True),
        ("voice.example.com", "evil-voice.example.com", False),
        ("voice.example.com", "voice.example.com.evil.org", False),
        ("voice.example.com", "", False),
        ("*.example.com", "a.example.com:1", True),
        ("*.Example.com", "a.b.EXAMPLE.com.", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("[::1]", "[::1]:8080", True),
        ("[::1]", "[::1]", True),
        ("[::1]", "[::2]", False),
        ("127.0.0.1", "127.0.0.1:80", True),
    ],
)
def test_a_host_is_compared_without_case_port_and_final_dot(
    pattern: str, host: str, matches: bool
) -> None:
    assert host_takes(pattern, host) is matches


def test_the_authority_of_an_absolute_target_stands_in_for_host() -> None:
    routes = [route(host="a.org"), route(host="b.org")]
    found = find_route(routes, request("http://B.org:80/voice"))
    assert found is routes[1]


def test_a_request_without_host_matches_no_host() -> None:
    head = parse_request_head(b"GET / HTTP/1.0\r\n\r\n")
    assert find_route([route(host="a.org")], head) is None
    assert find_route([EVERYTHING], head) is EVERYTHING


def test_host_and_path_must_both_match() -> None:
    routes = [route(host="voice.example.com", prefix="/voice")]
    assert find_route(routes, request("/voice/a")) is routes[0]
    assert find_route(routes, request("/other")) is None
    assert find_route(routes, request("/voice/a", host="b.org")) is None


# Order


def test_the_first_route_that_matches_wins() -> None:
    stream = Route("stream", GATEWAY, path="/voice/stream")
    voice = Route("voice", GATEWAY, prefix="/voice")
    rest = Route("rest", GATEWAY)
    routes = [stream, voice, rest]
    assert find_route(routes, request("/voice/stream")) is stream
    assert find_route(routes, request("/voice/webhook")) is voice
    assert find_route(routes, request("/voice/../voice/stream")) is rest
    assert find_route([voice, stream], request("/voice/stream")) is voice
    assert find_route([stream], request("/nowhere")) is None
    assert find_route([], request("/")) is None


@pytest.mark.parametrize(
    ("earlier", "later", "hides_it"),
    [
        (EVERYTHING, EVERYTHING, True),
        (EVERYTHING, route(path="/a"), True),
        (EVERYTHING, route(host="a.org", prefix="/a"), True),
        (route(path="/a"), EVERYTHING, False),
        (route(path="/a"), route(path="/a"), True),
        (route(path="/a"), route(path="/b"), False),
        (route(path="/a"), route(prefix="/a"), False),
        (route(prefix="/a"), route(path="/a/b"), True),
        (route(prefix="/a"), route(prefix="/a/"), True),
        (route(prefix="/a"), route(prefix="/ab"), False),
        (route(prefix="/a/b"), route(prefix="/a"), False),
        (route(prefix="/a"), EVERYTHING, False),
        (route(host="a.org"), EVERYTHING, False),
        (route(host="a.org"), route(host="A.Org"), True),
        (route(host="a.org"), route(host="b.org"), False),
        (route(host="*.org"), route(host="A.ORG"), True),
        (route(host="*.org"), route(host="*.a.org"), True),
        (route(host="*.a.org"), route(host="*.org"), False),
        (route(host="a.org"), route(host="*.org"), False),
        (route(host="a.org", path="/a"), route(host="a.org", path="/b"), False),
        (route(host="a.org", path="/a"), route(host="a.org", path="/a"), True),
    ],
)
def test_a_route_that_can_never_be_reached_is_known(
    earlier: Route, later: Route, hides_it: bool
) -> None:
    assert earlier.takes_all_of(later) is hides_it


# Rewriting


@pytest.mark.parametrize(
    ("changes", "target", "wanted"),
    [
        pytest.param({}, "/a%2Fb//c;d=%zz/?e=%2f&f", "/a%2Fb//c;d=%zz/?e=%2f&f", id="nothing"),
        pytest.param({"strip_prefix": "/gw"}, "/gw/a%2Fb//c;d", "/a%2Fb//c;d", id="strip"),
        pytest.param({"strip_prefix": "/gw"}, "/gw?x=/gw", "/?x=/gw", id="strip all"),
        pytest.param({"strip_prefix": "/gw/"}, "/gw/a", "/a", id="strip with a final slash"),
        pytest.param({"strip_prefix": "/gw"}, "/gw//a", "//a", id="strip keeps //"),
        pytest.param({"strip_prefix": "/gw"}, "/gw/gw/a", "/gw/a", id="strip once"),
        pytest.param({"strip_prefix": "/gw"}, "/gws/a", "/gws/a", id="strip not within a segment"),
        pytest.param({"strip_prefix": "/gw"}, "/gw%2Fa", "/gw%2Fa", id="strip not at %2F"),
        pytest.param({"strip_prefix": "/"}, "/a", "/a", id="strip nothing"),
        pytest.param({"add_prefix": "/in"}, "/a//b%2f?c", "/in/a//b%2f?c", id="add"),
        pytest.param({"add_prefix": "/in/"}, "/a", "/in/a", id="add with a final slash"),
        pytest.param({"add_prefix": "/in"}, "/", "/in/", id="add to the root"),
        pytest.param({"add_prefix": "/"}, "/a", "/a", id="add nothing"),
        pytest.param(
            {"strip_prefix": "/gw", "add_prefix": "/in"}, "/gw/a?b", "/in/a?b", id="strip and add"
        ),
        pytest.param(
            {"strip_prefix": "/gw", "add_prefix": "/in"}, "/gw", "/in/", id="strip all and add"
        ),
        pytest.param({"rewrite": "/new"}, "/old/a?b=c?d&%20", "/new?b=c?d&%20", id="rewrite"),
        pytest.param({"rewrite": "/new"}, "/old?", "/new?", id="rewrite keeps a bare ?"),
        pytest.param(
            {"strip_prefix": "/gw"}, "http://h:1/gw/a?b", "http://h:1/a?b", id="absolute, strip"
        ),
        pytest.param({"add_prefix": "/in"}, "http://h?b", "http://h/in?b", id="absolute, no path"),
        pytest.param({"rewrite": "/new"}, "http://h/a?b", "http://h/new?b", id="absolute, rewrite"),
    ],
)
def test_a_path_is_rewritten_as_raw_bytes_and_its_query_never(
    changes: dict[str, str], target: str, wanted: str
) -> None:
    edited = Route(
        "r",
        GATEWAY,
        strip_prefix=changes.get("strip_prefix"),
        add_prefix=changes.get("add_prefix"),
        rewrite=changes.get("rewrite"),
    )
    head = request(target)
    forwarded = edited.forwarded_request(head)
    assert forwarded.target == edited.rewritten(target) == wanted
    assert forwarded.raw == head.raw.replace(target.encode(), wanted.encode(), 1)


def test_a_route_without_edits_passes_both_heads_unchanged() -> None:
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nserver:  x \r\n\r\n")
    assert EVERYTHING.forwarded_request(request("/a")) == request("/a")
    assert EVERYTHING.forwarded_response(response) == response


def test_a_route_edits_each_head_by_its_own_list() -> None:
    both = Route(
        "r",
        GATEWAY,
        request_headers=HeaderEdits(set=(("X-Odd", "3"),), remove=("Host",)),
        response_headers=HeaderEdits(set=(("Vary", "*"),), remove=("Server",)),
    )
    assert both.forwarded_request(request("/a")).raw == b"GET /a HTTP/1.1\r\nX-Odd: 3\r\n\r\n"
    response = parse_response_head(b"HTTP/1.1 200 OK\r\nserver: x\r\nX-Odd: 1\r\n\r\n")
    edited = both.forwarded_response(response)
    assert edited.raw == b"HTTP/1.1 200 OK\r\nX-Odd: 1\r\nVary: *\r\n\r\n"


@pytest.mark.parametrize(
    ("upstream", "text"),
    [
        (GATEWAY, "http://127.0.0.1:8081"),
        (Upstream("::1", 80), "http://[::1]:80"),
        (Upstream(unix_path="/run/gateway.sock"), "unix:/run/gateway.sock"),
    ],
)
def test_an_upstream_is_written_as_in_the_settings(upstream: Upstream, text: str) -> None:
    assert str(upstream) == text
