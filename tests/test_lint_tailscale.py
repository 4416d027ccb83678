"""Tailscale Serve and Funnel: each rule fires and stays quiet, and which mount takes what."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from doctor.linting import tailscale
from doctor.linting.findings import LintReport, Paths
from doctor.linting.nodes import mapping, scalar
from doctor.linting.tailscale_config import mount_of, rewritten, target_of
from lint_cases import (
    Case,
    cases_of,
    check_every_rule_has_a_case,
    check_fires,
    check_no_prefix_raises,
    check_quiet,
    mangled,
)

CASES = cases_of("tailscale")


def lint(text: str, paths: Paths | None = None) -> LintReport:
    return tailscale.lint(text, Path("serve.json"), paths or Paths())


def fired(report: LintReport) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(tailscale, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(tailscale, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(tailscale, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(tailscale, CASES)


@settings(max_examples=60, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


@pytest.mark.parametrize(
    ("mount", "proxy", "path", "arrives"),
    [
        ("/", "http://127.0.0.1:1", "/voice/stream", "/voice/stream"),
        ("/voice", "http://127.0.0.1:1", "/voice/stream", "/stream"),
        ("/voice/", "http://127.0.0.1:1", "/voice/stream", "/stream"),
        ("/voice/", "http://127.0.0.1:1", "/voice", "/"),
        ("/exact/stream", "http://127.0.0.1:1", "/exact/stream", "/"),
        ("/exact/stream", "http://127.0.0.1:1", "/exact/stream/tok", "/tok"),
        ("/sym/stream", "http://127.0.0.1:1/sym/stream", "/sym/stream", "/sym/stream"),
        ("/sym/stream", "http://127.0.0.1:1/sym/stream", "/sym/stream/", "/sym/stream/"),
        ("/sym/stream", "http://127.0.0.1:1/sym/stream", "/sym/stream/a", "/sym/stream/a"),
        ("/voice", "http://127.0.0.1:1", "/voicestream", None),
        ("/voice", "http://127.0.0.1:1", "//voice/stream", None),
        ("/", "http://127.0.0.1:1", "//voice/stream", "//voice/stream"),
        ("/", "http://127.0.0.1:1/voice/webhook", "/voice/stream", "/voice/webhook/voice/stream"),
        ("/voice", "http://127.0.0.1:1", "/voice//stream", "//stream"),
    ],
)
def test_a_mount_is_taken_away_and_the_targets_path_put_in_front(
    mount: str, proxy: str, path: str, arrives: str | None
) -> None:
    found = mount_of(mapping({mount: scalar("x", 1)}, 1), path)
    assert (rewritten(path, found, target_of(proxy)[1]) if found else None) == arrives


def test_the_nearest_mount_is_taken_and_of_twins_the_one_with_a_slash() -> None:
    mounts = mapping({name: scalar("x", 1) for name in ("/", "/a", "/a/", "/a/b")}, 1)
    assert mount_of(mounts, "/a/b/c") == "/a/b"
    assert mount_of(mounts, "/a/x") == "/a/"
    assert mount_of(mounts, "/a") == "/a"
    assert mount_of(mounts, "/b") == "/"


def test_the_founding_failure_is_told_with_both_paths() -> None:
    report = lint(
        '{"TCP": {"443": {"HTTPS": true}},\n'
        ' "Web": {"mac.tail1.ts.net:443": {"Handlers": {\n'
        '   "/voice/webhook": {"Proxy": "http://127.0.0.1:3334/voice/webhook"}}}},\n'
        ' "AllowFunnel": {"mac.tail1.ts.net:443": true}}'
    )
    assert fired(report) == ["TS01", "TS06"]
    assert report.findings[0].saw == (
        "/voice/webhook goes to http://127.0.0.1:3334, and nothing takes /voice/stream: "
        "404 by tailscaled (host mac.tail1.ts.net:443)"
    )
    assert [(each.path, each.upstream, each.target) for each in report.paths] == [
        ("/voice/webhook", "http://127.0.0.1:3334", "/voice/webhook"),
        ("/voice/stream", "", ""),
        ("/voice/status", "", ""),
    ]


def test_a_root_mount_with_a_path_sends_the_stream_below_the_webhook() -> None:
    report = lint(
        '{"TCP": {"443": {"HTTPS": true}}, "AllowFunnel": {"mac.tail1.ts.net:443": true},\n'
        ' "Web": {"mac.tail1.ts.net:443": {"Handlers": {\n'
        '   "/": {"Proxy": "http://127.0.0.1:3334/voice/webhook"}}}}}'
    )
    assert fired(report) == ["TS03"]
    assert "/voice/stream goes to http://127.0.0.1:3334 as /voice/webhook/voice/stream" in (
        report.findings[0].saw
    )


def test_nothing_served_is_a_webhook_unserved() -> None:
    assert fired(lint("{}")) == ["TS02"]


def test_only_the_host_that_is_asked_for_is_judged() -> None:
    text = (
        '{"TCP": {"443": {"HTTPS": true}}, "AllowFunnel": {"a.tail1.ts.net:443": true},\n'
        ' "Web": {"a.tail1.ts.net:443": {"Handlers": {"/": {"Proxy": "8080"}}}}}'
    )
    assert fired(lint(text, Paths(host="A.tail1.ts.net"))) == []
    assert fired(lint(text, Paths(host="b.tail1.ts.net"))) == ["TS02"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# Funnel on:\nhttps://mac.tail1.ts.net (Funnel on)\n|-- / proxy", "it is no JSON; save"),
        ("No serve config\n", "it is no JSON; save it with --json"),
        ('{"BackendState": "Running"}', "it is what `tailscale status` prints"),
        ('{"apps": {}}', "it has none of AllowFunnel, Foreground, Services, TCP, Web"),
        ('{"TCP": {"443": ', "line 1: it is no JSON: the end where a value should be"),
    ],
)
def test_what_is_no_serve_configuration_is_refused_with_advice(text: str, why: str) -> None:
    report = lint(text)
    assert report.unreadable.startswith(why)
    assert report.findings == ()


def test_credentials_in_a_target_are_not_shown() -> None:
    report = lint(
        '{"TCP": {"443": {"HTTPS": true}},\n'
        ' "Web": {"a.ts.net:443": {"Handlers": {"/": {"Proxy": "ftp://u:hunter2@h:1/?k=hunter2"}}}}}'
    )
    assert "TS15" in fired(report)
    assert "hunter2" not in str(report)
