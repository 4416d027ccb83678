"""Caddy's JSON: what its matchers match, which handler answers, where a directive stands.

Caddyfiles need caddy itself: tests/ingress/test_lint_caddyfile.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from doctor.linting import caddy, caddy_adapt
from doctor.linting.caddy_matchers import Asked, matches
from doctor.linting.caddy_source import Source
from doctor.linting.findings import LintReport, Paths
from doctor.linting.json_lines import read_json
from lint_cases import CONFIGS, Case, mangled

ADAPTED = (CONFIGS / "caddy" / "adapted.json").read_text()
SITE = [{"host": ["voice.example.com"]}]


def lint(text: str, paths: Paths | None = None) -> LintReport:
    return caddy.lint(text, Path("caddy.json"), paths or Paths())


def config(*routes: dict[str, Any], listen: str = ":443") -> str:
    return json.dumps(
        {"apps": {"http": {"servers": {"srv0": {"listen": [listen], "routes": routes}}}}}
    )


def proxy(dial: str = "127.0.0.1:8080", **options: Any) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": dial}],
        "stream_close_delay": 14400000000000,
        **options,
    }


def fired(report: LintReport) -> list[str]:
    return [finding.rule for finding in report.findings]


def told(report: LintReport) -> list[tuple[str, str]]:
    return [(each.upstream, each.target) for each in report.paths]


def test_a_file_of_many_parts_is_read_with_its_lines() -> None:
    report = lint(ADAPTED)
    lines = ADAPTED.split("\n")
    found = {finding.rule: finding for finding in report.findings}
    assert set(found) == {"CA04", "CA05", "CA10", "CA14", "CA15"}
    assert '"Upgrade"' in lines[found["CA10"].line - 1]
    assert '"stream_timeout"' in lines[found["CA15"].line - 1]
    assert found["CA14"].level == "error"  # 30 s of silence are nothing
    assert told(report) == [
        ("http://127.0.0.1:3334", "/calls/webhook"),
        ("http://127.0.0.1:8080", "/voice/stream"),
        ("http://127.0.0.1:3334", "/calls/status"),
    ]
    assert "$2a$" not in str(report)


def test_what_every_caddyfile_does_at_a_reload_is_a_remark_and_no_finding() -> None:
    usual = lint(config({"match": SITE, "handle": [proxy(stream_close_delay=0)]}))
    assert fired(usual) == []
    [remark] = usual.remarks
    assert remark.endswith(" has no stream_close_delay: a reload of Caddy ends all calls.")
    assert lint(config({"match": SITE, "handle": [proxy()]})).remarks == ()


def test_a_status_path_that_nobody_asks_for_may_go_nowhere() -> None:
    voice = [{"path": ["/voice/webhook", "/voice/stream"]}]
    text = config({"match": voice, "handle": [proxy()]})
    assert fired(lint(text)) == ["CA06"]
    assert fired(lint(text, Paths(status=""))) == []


@settings(max_examples=80, deadline=None)
@given(mangled([Case("CA10", Path("caddy.json"), ADAPTED, ADAPTED)]))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


def test_a_file_may_end_anywhere() -> None:
    for end in range(0, len(ADAPTED), 97):
        assert lint(ADAPTED[:end]).unreadable


@pytest.mark.parametrize(
    ("matcher", "is_taken"),
    [
        ({"path": ["/voice/*"]}, True),
        ({"path": ["/voice"]}, False),
        ({"path": ["/VOICE/Stream"]}, True),
        ({"path": ["*/stream"]}, True),
        ({"path": ["*oice*"]}, True),
        ({"path": ["/*/stream"]}, True),
        ({"path": ["/v*m"]}, False),
        ({"path": ["/voice/s*m"]}, True),
        ({"path": ["/a", "/voice/stream"]}, True),
        ({"path_regexp": {"pattern": "^/VOICE"}}, False),
        ({"path_regexp": {"pattern": "(?i)^/VOICE"}}, True),
        ({"path_regexp": {"pattern": "("}}, None),
        ({"host": ["voice.example.com"]}, True),
        ({"host": ["*.example.com"]}, True),
        ({"host": ["*.com"]}, False),
        ({"host": ["{env.HOST}"]}, None),
        ({"method": ["GET"]}, True),
        ({"method": ["POST"]}, False),
        ({"header": {"Connection": ["*Upgrade*"], "Upgrade": ["websocket"]}}, True),
        ({"header": {"Upgrade": ["WebSocket"]}}, False),
        ({"header": {"Upgrade": ["web*"]}}, True),
        ({"header": {"Cookie": None}}, True),
        ({"header": {"Upgrade": None}}, False),
        ({"header": {"Host": ["voice.example.com"]}}, True),
        ({"header_regexp": {"Upgrade": {"pattern": "^web"}}}, True),
        ({"header_regexp": {"Cookie": {"pattern": "."}}}, False),
        ({"protocol": "https"}, True),
        ({"query": {"token": ["*"]}}, False),
        ({"remote_ip": {"ranges": ["10.0.0.0/8"]}}, None),
        ({"remote_ip": {"ranges": ["10.0.0.0/8"]}, "path": ["/a"]}, False),
        ({"not": [{"path": ["/voice/*"]}]}, False),
        ({"not": [{"remote_ip": {}}]}, None),
        ({"expression": "true"}, None),
    ],
)
def test_a_matcher_matches_as_caddys(matcher: dict[str, Any], is_taken: bool | None) -> None:
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    asked = Asked("GET", "voice.example.com", "/voice/stream", headers, is_tls=True)
    assert matches(read_json(json.dumps([matcher])), asked) is is_taken


def test_of_a_group_only_the_first_route_that_matches_is_passed() -> None:
    routes: list[dict[str, Any]] = [
        {"group": "g", "match": [{"path": ["/voice/*"]}], "handle": []},
        {"group": "g", "handle": [{"handler": "static_response", "status_code": 404}]},
        {"handle": [proxy()]},
    ]
    assert fired(lint(config(*routes))) == []


def test_what_nothing_answers_is_an_empty_200() -> None:
    report = lint(config({"match": [{"path": ["/calls"]}], "handle": [proxy()]}))
    assert fired(report) == ["CA02"]
    assert "200 and an empty body" in report.findings[0].saw


def test_a_terminal_route_ends_the_way() -> None:
    routes: list[dict[str, Any]] = [
        {"match": SITE, "handle": [], "terminal": True},
        {"handle": [proxy()]},
    ]
    assert fired(lint(config(*routes), Paths(host="voice.example.com"))) == ["CA02"]
    assert fired(lint(config(*routes), Paths(host="www.example.com"))) == []


@pytest.mark.parametrize(
    ("rewrite", "arrives"),
    [
        ({"strip_path_prefix": "/voice"}, "/stream"),
        ({"strip_path_prefix": "/VOICE"}, "/stream"),
        ({"strip_path_suffix": "/stream"}, "/voice"),
        ({"uri": "/a{http.request.uri.path}"}, "/a/voice/stream"),
        ({"uri": "/a?x={http.request.uri.query}"}, "/a"),
        ({"uri": "/{http.regexp.x.1}"}, ""),
        ({"uri_substring": [{"find": "voice", "replace": "v"}]}, "/v/stream"),
        ({"path_regexp": [{"find": "^/(\\w+)/", "replace": "/$1-"}]}, "/voice-stream"),
        ({"path_regexp": [{"find": "(", "replace": ""}]}, ""),
    ],
)
def test_rewrites_change_what_arrives(rewrite: dict[str, Any], arrives: str) -> None:
    report = lint(config({"handle": [{"handler": "rewrite", **rewrite}, proxy()]}))
    assert report.paths[1].target == arrives


def test_forward_auth_is_a_login_and_no_gateway() -> None:
    asking = {
        **proxy("127.0.0.1:9091"),
        "rewrite": {"method": "GET", "uri": "/verify"},
        "handle_response": [{"match": {"status_code": [2]}, "routes": []}],
    }
    report = lint(config({"handle": [asking, proxy()]}))
    assert fired(report) == ["CA18"]
    assert told(report)[0][0] == "http://127.0.0.1:8080"


def test_a_matcher_that_is_not_modelled_is_a_remark() -> None:
    report = lint(config({"match": [{"expression": "true"}], "handle": []}, {"handle": [proxy()]}))
    assert fired(report) == []
    assert report.remarks == ("Not modelled, and taken for no match: expression.",)


@pytest.mark.parametrize(
    ("transport", "dial", "upstream"),
    [
        ({"protocol": "http", "tls": {}}, "gw.internal:443", "https://gw.internal:443"),
        ({"protocol": "http", "versions": ["h2c", "2"]}, "gw:80", "h2c://gw:80"),
        ({"protocol": "fastcgi"}, "gw:9000", "fastcgi://gw:9000"),
        ({}, "unix//run/gw.sock", "unix:/run/gw.sock"),
    ],
)
def test_an_upstream_is_told_with_its_scheme(
    transport: dict[str, Any], dial: str, upstream: str
) -> None:
    report = lint(config({"handle": [proxy(dial, transport=transport)]}))
    assert report.paths[0].upstream == upstream


def test_a_directive_is_found_where_most_of_what_is_known_stands() -> None:
    source = Source(
        "a.example.com {\n"
        "\treverse_proxy 127.0.0.1:8080\n"
        "}\n"
        "voice.example.com {\n"
        "\t@calls path /voice/*  # a comment with 127.0.0.1:8080\n"
        "\thandle @calls {\n"
        "\t\treverse_proxy https://127.0.0.1:8080 {\n"
        "\t\t\theader_up Connection Upgrade\n"
        "\t\t\theader_up Upgrade websocket\n"
        "\t\t}\n"
        "\t}\n"
        "\treverse_proxy 127.0.0.1:8080\n"
        "}\n"
    )
    words = ["reverse_proxy", "127.0.0.1:8080"]
    assert source.find(words) == 2
    assert source.find(words, ["a.example.com"]) == 2
    assert source.find(words, ["voice.example.com", "/voice/*"]) == 7
    assert source.find(["header_up", "Upgrade"]) == 9
    assert source.find(["header_up", "-Upgrade"]) == 0


def test_without_caddy_a_caddyfile_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy_adapt, "find_caddy", lambda: None)
    report = caddy.lint(":80 {\n}\n", Path("Caddyfile"), Paths())
    assert report.unreadable.startswith("a Caddyfile is read by caddy itself, which is not inst")
    assert lint("{").unreadable.startswith("line 1: it is no JSON")
    assert lint("{}").unreadable == "it configures no HTTP server"
