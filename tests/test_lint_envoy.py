"""Envoy's static configuration: each rule fires and stays quiet, and which route takes what."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from doctor.linting import envoy
from doctor.linting.envoy_match import matches, rewritten, virtual_host_of
from doctor.linting.findings import Becomes, LintReport, Paths
from doctor.linting.json_lines import read_json
from doctor.linting.ways import requests_of
from edge_snippets import MATCHES, REWRITES
from lint_cases import (
    CONFIGS,
    Case,
    cases_of,
    check_every_rule_has_a_case,
    check_fires,
    check_no_prefix_raises,
    check_quiet,
    mangled,
)

CASES = cases_of("envoy")
WEBHOOK, STREAM, _ = requests_of(Paths(), "voice.example.com")


def lint(text: str, paths: Paths | None = None) -> LintReport:
    return envoy.lint(text, Path("envoy.yaml"), paths or Paths())


def quiet(rule: str) -> str:
    return (CONFIGS / "envoy" / f"{rule}.yaml").read_text().split("# quiet\n")[1]


def fired(report: LintReport) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(envoy, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(envoy, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(envoy, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(envoy, CASES[::3])


@settings(max_examples=50, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


@pytest.mark.parametrize(
    ("match", "webhook", "stream"),
    MATCHES,
)
def test_a_match_is_read_as_envoy_reads_it(
    match: dict[str, Any], webhook: bool | None, stream: bool | None
) -> None:
    node = read_json(json.dumps(match))
    assert [matches(node, each) for each in (WEBHOOK, STREAM)] == [webhook, stream]


@pytest.mark.parametrize(
    ("route", "arrives"),
    REWRITES,
)
def test_a_path_arrives_as_envoy_rewrites_it(route: dict[str, Any], arrives: str) -> None:
    assert rewritten(read_json(json.dumps(route)), "/voice/stream") == arrives


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("voice.example.com", "exact"),
        ("a.example.com", "long suffix"),
        ("a.other.com", "short suffix"),
        ("voice.org", "prefix"),
        ("other.org", "all"),
    ],
)
def test_the_narrowest_domain_has_the_host(host: str, name: str) -> None:
    domains = {
        "all": "*",
        "prefix": "voice.*",
        "short suffix": "*.com",
        "long suffix": "*.example.com",
        "exact": "Voice.example.com",
    }
    hosts = [{"name": name, "domains": [domain]} for name, domain in domains.items()]
    config = read_json(json.dumps({"virtual_hosts": hosts}))
    assert virtual_host_of(config, host)["name"].text == name


def test_each_path_is_told_with_the_route_that_takes_it() -> None:
    text = (CONFIGS / "envoy" / "EN01.yaml").read_text().split("# quiet")[0]
    place = "route {} of virtual host voice (envoy.yaml:{})"
    assert lint(text).paths == (
        Becomes(
            "/voice/webhook",
            place.format("path /voice/webhook", 22),
            "http://127.0.0.1:8080",
            "/voice/webhook",
        ),
        Becomes("/voice/stream", place.format("prefix /", 26), "", ""),
        Becomes(
            "/voice/status",
            place.format("path /voice/status", 24),
            "http://127.0.0.1:8080",
            "/voice/status",
        ),
    )


def test_what_comes_from_a_control_plane_is_a_remark() -> None:
    text = quiet("EN02").replace(
        "route_config:", "rds: {route_config_name: r}\n                old:"
    )
    report = lint(text)
    assert "Routes come from a control plane (rds): they are not in this file." in report.remarks


def test_clusters_of_a_control_plane_are_not_missed() -> None:
    text = quiet("EN22").split("  clusters:")[0] + "dynamic_resources: {cds_config: {ads: {}}}\n"
    report = lint(text)
    assert fired(report) == []
    assert report.paths[0].upstream == "cluster gateway"


def test_filters_of_the_upgrade_alone_count_for_the_stream() -> None:
    text = (CONFIGS / "envoy" / "EN15.yaml").read_text().split("# quiet")[0]
    assert fired(lint(text)) == ["EN15"]
    own = "upgrade_type: websocket, filters: [{name: envoy.filters.http.router}]"
    text = text.replace("- upgrade_type: websocket", f"- {{{own}}}")
    assert fired(lint(text)) == []


def test_a_wrong_chain_is_not_judged_where_the_host_is_known() -> None:
    text = quiet("EN23").replace(
        "- filters:", "- filter_chain_match: {server_names: ['*.example.com']}\n          filters:"
    )
    assert lint(text, Paths(host="voice.example.com")).paths != ()
    assert lint(text, Paths(host="voice.example.org")).paths == ()


def test_json_is_read_as_well_and_other_files_are_refused() -> None:
    assert lint('{"static_resources": {}}').unreadable == ""
    assert lint("a: 1").unreadable == "it is no configuration of Envoy: it has no static_resources"
    assert lint("{").unreadable.startswith("line 1: it is no JSON")
