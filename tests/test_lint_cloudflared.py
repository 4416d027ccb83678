"""cloudflared's config.yml: each rule fires and stays quiet, and which rule takes what."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from doctor.linting import cloudflared
from doctor.linting.cloudflared_config import read_config
from doctor.linting.findings import Becomes, LintReport, Paths
from lint_cases import (
    Case,
    cases_of,
    check_every_rule_has_a_case,
    check_fires,
    check_no_prefix_raises,
    check_quiet,
    mangled,
)

CASES = cases_of("cloudflared")


def lint(text: str, paths: Paths | None = None) -> LintReport:
    return cloudflared.lint(text, Path("config.yml"), paths or Paths())


def fired(report: LintReport) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(cloudflared, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(cloudflared, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(cloudflared, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(cloudflared, CASES)


@settings(max_examples=60, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


def test_each_path_is_told_with_the_rule_that_takes_it() -> None:
    report = lint(
        "tunnel: voice\n"
        "ingress:\n"
        "  - hostname: www.example.com\n"
        "    service: http://127.0.0.1:3000\n"
        "  - hostname: voice.example.com\n"
        "    path: ^/voice/webhook$\n"
        "    service: http://user:secret@127.0.0.1:3334\n"
        "  - service: http_status:404\n"
    )
    assert report.paths == (
        Becomes(
            "/voice/webhook",
            "ingress rule 2 (config.yml:5)",
            "http://127.0.0.1:3334",
            "/voice/webhook",
        ),
        Becomes("/voice/stream", "ingress rule 3 (config.yml:8)", "", ""),
        Becomes("/voice/status", "ingress rule 3 (config.yml:8)", "", ""),
    )
    stream = next(finding for finding in report.findings if finding.rule == "CF01")
    assert stream.saw == (
        "/voice/webhook goes to http://127.0.0.1:3334, and /voice/stream is answered 404 by "
        "ingress rule 3 (config.yml:8) (host voice.example.com)"
    )
    assert "secret" not in str(report)


def test_the_paths_are_those_that_are_asked_for() -> None:
    text = (
        "ingress:\n  - path: ^/ws$\n    service: http://127.0.0.1:1\n  - service: http_status:404\n"
    )
    report = lint(text, Paths(webhook="/hook", stream="/ws", status="/hook"))
    assert [(each.path, each.upstream) for each in report.paths] == [
        ("/hook", ""),
        ("/ws", "http://127.0.0.1:1"),
        ("/hook", ""),
    ]
    assert fired(report) == ["CF02"]


@pytest.mark.parametrize(
    ("hostname", "host", "is_taken"),
    [
        ("*.example.com", "voice.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("VOICE.example.com", "voice.example.com", True),
        ("voice.example.com", "VOICE.example.com", False),
        ("*", "anything", True),
    ],
)
def test_hosts_match_as_cloudflared_compares_them(hostname: str, host: str, is_taken: bool) -> None:
    config = read_config(f"ingress: [{{hostname: '{hostname}'}}]", Path("config.yml"))
    assert config.rules[0].takes_host(host) is is_taken


def test_of_several_hosts_that_take_everything_only_what_all_share_counts() -> None:
    text = (
        "tunnel: voice\n"
        "ingress:\n"
        "  - hostname: ssh.example.com\n"
        "    service: ssh://127.0.0.1:22\n"
        "  - hostname: voice.example.com\n"
        "    service: http://127.0.0.1:8080\n"
        "  - service: http_status:404\n"
    )
    report = lint(text)
    assert report.findings == ()
    assert len(report.remarks) == 1
    assert report.remarks[0].startswith("Several hosts take the paths (ssh.example.com, voice")
    assert fired(lint(text, Paths(host="ssh.example.com"))) == ["CF15"]
    assert fired(lint(text, Paths(host="VOICE.example.com"))) == []
    assert fired(lint(text, Paths(host="www.example.com"))) == ["CF02"]


def test_what_the_metrics_port_or_the_dashboard_gives_is_read_as_well() -> None:
    report = lint(
        '{"version": 3, "config": {"ingress": [{"hostname": "voice.example.com", "id": "1",\n'
        '"service": "http://127.0.0.1:8080", "originRequest": {"connectTimeout": 30}},\n'
        '{"service": "http_status:404"}], "warp-routing": {}}}'
    )
    assert report.findings == ()
    assert report.paths[1].upstream == "http://127.0.0.1:8080"


def test_a_socket_is_an_error_only_where_its_transport_is_pinned() -> None:
    text = "ingress: [{service: 'unix:/run/s'}]"
    assert [(each.rule, each.level) for each in lint(text).findings] == [("CF26", "warning")]
    pinned = lint(f"protocol: http2\n{text}")
    assert [(each.rule, each.level) for each in pinned.findings] == [("CF26", "error")]


def test_a_path_that_takes_another_by_its_middle_is_told() -> None:
    report = lint(
        "ingress:\n  - path: /stream$\n    service: http://127.0.0.1:8080\n"
        "  - service: http://127.0.0.1:8080\n"
    )
    assert [finding.saw for finding in report.findings] == [
        "path: /stream$ takes /voice/stream by its middle"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a\n- b\n", "it is no configuration of cloudflared: it holds no keys"),
        ("ingress: [", "line 1: it is no YAML: expected the node content, but found"),
        ("a: 1\na: 2\n", "line 2: 'a' is there already (line 1)"),
        ("a: &a [*a]", "line 1: an alias that holds itself"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text: str, why: str) -> None:
    report = lint(text)
    assert report.unreadable.startswith(why)
    assert report.findings == ()


def test_a_missing_tunnel_is_a_remark_and_no_finding() -> None:
    report = lint("ingress: [{service: 'http://127.0.0.1:8080'}]")
    assert report.findings == ()
    assert any("names no tunnel" in remark for remark in report.remarks)


def test_a_pattern_that_is_not_modelled_is_a_remark() -> None:
    report = lint(
        "tunnel: voice\ningress: [{path: '^/\\pL', service: 'http://127.0.0.1:1'},"
        "{service: 'http://127.0.0.1:8080'}]"
    )
    assert report.findings == ()
    assert report.remarks == ("path: ^/\\pL is not modelled (\\p)",)
