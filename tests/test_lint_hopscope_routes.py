"""hopscope.toml: which route takes a path, and what arrives at the gateway."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting.findings import Paths
from doctor.linting.hopscope_config import read_config
from doctor.linting.hopscope_ways import find, taker_of
from proxy.http1 import parse_request_head
from proxy.routes import find_route
from test_lint_hopscope import GATEWAY, fired, lint, route


def saw(text: str, paths: Paths | None = None) -> str:
    [finding] = lint(text, paths).findings
    return finding.saw


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (('prefix = "/voice"',), []),
        (('prefix = "/voice/"', 'host = "*.example.com"'), []),
        (('prefix = "/voice"', 'strip_prefix = "/voice"'), ["HO04"]),
        (('prefix = "/voice"', 'add_prefix = "/v1"'), ["HO04"]),
        (('prefix = "/voice"', 'rewrite = "/x"'), ["HO04"]),
        (('prefix = "/x"', 'strip_prefix = "/x"'), ["HO02"]),
        (('path = "/stream"', 'add_prefix = "/voice"'), []),
        (('path = "/"', 'rewrite = "/voice/stream"'), []),
        (('path = "/Voice/webhook"',), ["HO02"]),
    ],
)
def test_what_becomes_of_the_paths_is_told_by_the_route(
    lines: tuple[str, ...], rules: list[str]
) -> None:
    assert fired(route("voice", *lines)) == rules


def test_a_route_that_changes_all_of_them_is_told_of_once() -> None:
    text = route("voice", 'prefix = "/voice"', 'strip_prefix = "/voice"')
    assert saw(text) == (
        "/voice/webhook goes to http://127.0.0.1:3334 as /webhook; "
        "/voice/stream goes to http://127.0.0.1:3334 as /stream; "
        "/voice/status goes to http://127.0.0.1:3334 as /status"
    )


def test_a_path_that_no_route_takes_is_named_with_what_takes_the_webhook() -> None:
    text = route("webhook", 'path = "/voice/webhook"') + route("s", 'path = "/voice/status"')
    report = lint(text)
    assert [finding.rule for finding in report.findings] == ["HO01"]
    assert report.findings[0].saw == (
        "/voice/webhook goes to http://127.0.0.1:3334, and nothing takes /voice/stream: "
        "404 by the sidecar"
    )
    assert [(each.path, each.upstream, each.target) for each in report.paths] == [
        ("/voice/webhook", GATEWAY, "/voice/webhook"),
        ("/voice/stream", "", ""),
        ("/voice/status", GATEWAY, "/voice/status"),
    ]
    assert report.remarks[0].startswith("The file names no upstream: --upstream,")


def test_a_default_upstream_is_missed_only_where_a_path_is_left_over() -> None:
    assert lint(route("voice", 'prefix = "/voice"')).remarks == ()
    [remark] = lint('listen = "127.0.0.1:8000"').remarks
    assert remark.startswith("The file names no upstream: --upstream,")


def test_what_an_ingress_cut_may_be_given_back() -> None:
    text = f'upstream = "{GATEWAY}"\n' + route("s", 'path = "/x"', 'rewrite = "/voice/stream"')
    assert fired(text) == []
    [_, stream, _] = lint(route("s", 'path = "/stream"', 'add_prefix = "/voice"')).paths
    assert stream.place == (
        "route 's' (hopscope.toml:1), if /stream is what an ingress leaves of it,"
    )
    assert (stream.path, stream.target) == ("/voice/stream", "/voice/stream")


def test_without_any_route_nothing_is_said_of_paths() -> None:
    report = lint('listen = "127.0.0.1:8000"')
    assert (report.findings, report.paths) == ((), ())


def test_the_paths_of_the_files_own_gateway_are_asked_for() -> None:
    own = '[gateway.paths]\nstream = "/media"\n'
    voice = route("voice", 'prefix = "/voice"', upstream="http://127.0.0.1:8081")
    assert fired(own + voice) == ["HO01"]
    media = route("media", 'path = "/media"', upstream="http://localhost:8081")
    assert fired(own + voice + media) == ["HO05"]
    assert fired(own + voice + media.replace("localhost", "127.0.0.1")) == []


def test_a_stream_path_that_the_gateway_does_not_serve_is_an_error() -> None:
    text = 'upstream = "http://127.0.0.1:8081"\n[gateway]\n'
    assert fired(text) == []
    assert saw(text, Paths(stream="/media")) == (
        "/media goes to http://127.0.0.1:8081, and gateway.paths.stream is /voice/stream"
    )


def test_a_gateway_elsewhere_may_know_what_it_is_called() -> None:
    lines = ('path = "/voice/stream"', 'rewrite = "/ws"')
    text = f'upstream = "{GATEWAY}"\n' + route("stream", *lines)
    [finding] = lint(text).findings
    assert (finding.rule, finding.level) == ("HO04", "warning")


@pytest.mark.parametrize("has_prefix", [True, False])
def test_an_ingress_may_strip_the_prefix_of_the_public_url_or_not(has_prefix: bool) -> None:
    prefix = "/bot/voice" if has_prefix else "/voice"
    text = route("voice", f'prefix = "{prefix}"', upstream="http://127.0.0.1:8081")
    assert fired(text + '[gateway]\npublic_url = "https://voice.example.com/bot"\n') == []


def test_the_public_name_decides_which_routes_are_judged() -> None:
    other = route("other", 'host = "other.example.com"', 'path = "/voice/webhook"')
    ours = route("ours", 'host = "voice.example.com"')
    url = '[gateway]\npublic_url = "https://voice.example.com"\n'
    assert fired(other + ours + url) == []
    assert fired(other + ours, Paths(host="other.example.com")) == ["HO01", "HO06"]


def test_a_refused_route_leaves_the_others_unjudged() -> None:
    text = route("a", 'path = "/voice/webhook"') + route("b", "path = 5")
    assert fired(text) == ["HO11"]


def test_an_admin_address_for_others_is_remarked_on() -> None:
    report = lint(f'upstream = "{GATEWAY}"\nadmin = "0.0.0.0:9101"')
    assert report.findings == ()
    [remark] = report.remarks
    assert remark.startswith("admin is 0.0.0.0:9101: the sidecar starts only with HOPSCOPE_ADMIN_")


# The linter's routing is the sidecar's


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_route_that_is_found_is_the_one_that_the_sidecar_takes(data: st.DataObject) -> None:
    paths = st.sampled_from(("/", "/voice", "/voice/", "/voice/stream", "/stream", "/voices"))
    hosts = st.sampled_from((None, "a.example.com", "*.example.com", "A.EXAMPLE.com"))
    routes = []
    for number in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(("path", "prefix", "host")))
        lines = [f'{kind} = "{data.draw(paths)}"'] if kind != "host" else []
        host = data.draw(hosts)
        lines += [f'host = "{host}"'] if host else []
        change = data.draw(st.sampled_from((None, "strip_prefix", "add_prefix", "rewrite")))
        lines += [f'{change} = "{data.draw(paths)}"'] if change else []
        routes.append(route(f"r{number}", *lines))
    config = read_config("".join(routes), Path("hopscope.toml"))
    host, path = data.draw(st.sampled_from(("a.example.com", "b.test"))), data.draw(paths)
    head = parse_request_head(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    taken = find_route([placed.route for placed in config.routes], head)
    placed = taker_of(config, host, path)
    assert (placed.route if placed else None) == taken
    way = find(config, host, "stream", path).way
    if taken is not None and taken.rewritten(path) == path:
        assert (way.target, way.upstream) == (path, str(taken.upstream))
    if not way.is_served:
        assert taken is None or path == "/"
