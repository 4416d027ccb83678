"""Traefik's configuration: each rule fires and stays quiet, and which router takes what."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from doctor.linting import traefik
from doctor.linting.findings import Becomes, LintReport, Paths
from doctor.linting.nodes import Node
from doctor.linting.traefik_middlewares import Middleware, arrived
from doctor.linting.traefik_rule import RuleRefused, parse_rule
from doctor.linting.ways import requests_of
from doctor.linting.yaml_lines import read_yaml
from edge_snippets import MIDDLEWARES, REFUSED_RULES, RULES
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

CASES = cases_of("traefik")
VOICE = requests_of(Paths(), "voice.example.com")


def lint(text: str, paths: Paths | None = None, name: str = "dynamic.yml") -> LintReport:
    return traefik.lint(text, Path(name), paths or Paths())


def fired(report: LintReport) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(traefik, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(traefik, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(traefik, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(traefik, CASES)


@settings(max_examples=60, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


@pytest.mark.parametrize(
    ("rule", "webhook", "stream"),
    RULES,
)
def test_a_rule_matches_as_traefik_reads_it(
    rule: str, webhook: bool | None, stream: bool | None
) -> None:
    parsed = parse_rule(rule)
    assert [parsed.matches(request) for request in VOICE[:2]] == [webhook, stream]


@pytest.mark.parametrize(
    ("rule", "why"),
    [*REFUSED_RULES, ("!" * 40 + "Path(`/a`)", "it is nested too deeply")],
)
def test_a_rule_that_traefik_refuses_is_refused_with_the_reason(rule: str, why: str) -> None:
    with pytest.raises(RuleRefused) as refused:
        parse_rule(rule)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    ("kind", "options", "path", "arrives"),
    MIDDLEWARES,
)
def test_middlewares_change_paths(kind: str, options: str, path: str, arrives: str) -> None:
    middleware = Middleware("m", kind, read_yaml(f"o: {options}")["o"])
    assert arrived([middleware], path) == arrives


def test_a_chain_is_what_it_is_made_of_and_may_hold_itself() -> None:
    report = lint(
        "http:\n"
        "  routers: {voice: {rule: PathPrefix(`/`), service: gw, middlewares: [all]}}\n"
        "  middlewares:\n"
        "    all: {chain: {middlewares: [strip, all]}}\n"
        "    strip: {stripPrefix: {prefixes: [/voice]}}\n"
        "  services: {gw: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}\n"
    )
    assert fired(report) == ["TR04"]
    assert report.paths[1].target == "/stream"


def test_each_path_is_told_with_the_router_that_takes_it() -> None:
    text = (CONFIGS / "traefik" / "TR05.yml").read_text().split("# quiet")[0]
    assert lint(text).paths[:2] == (
        Becomes(
            "/voice/webhook",
            "router voice (dynamic.yml:3)",
            "http://127.0.0.1:8080",
            "/voice/webhook",
        ),
        Becomes(
            "/voice/stream", "router web (dynamic.yml:6)", "http://127.0.0.1:3000", "/voice/stream"
        ),
    )


def test_a_redirecting_entry_point_is_told_where_nothing_else_serves() -> None:
    text = (
        "entryPoints:\n"
        "  web: {address: ':80', http: {redirections: {entryPoint: {to: websecure}}}}\n"
        "http:\n"
        "  routers: {voice: {rule: PathPrefix(`/`), service: gw, entryPoints: [web]}}\n"
        "  services: {gw: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}\n"
    )
    report = lint(text)
    assert fired(report) == ["TR02"]
    assert "with a redirect to entry point websecure" in report.findings[0].saw


def test_a_redirect_to_https_is_none_where_it_is_spoken() -> None:
    text = (
        "http:\n"
        "  routers: {voice: {rule: PathPrefix(`/`), service: gw, middlewares: [s]%s}}\n"
        "  middlewares: {s: {redirectScheme: {scheme: https}}}\n"
        "  services: {gw: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}\n"
    )
    assert fired(lint(text % "")) == ["TR02"]
    assert fired(lint(text % ", tls: {}")) == []


def test_a_service_without_servers_answers_503() -> None:
    report = lint(
        "http:\n  routers: {v: {rule: PathPrefix(`/`), service: gw}}\n"
        "  services: {gw: {loadBalancer: {servers: []}}}\n"
    )
    assert "answered 503 by router v" in report.findings[0].saw


def test_behind_a_weighted_service_the_servers_are_looked_at() -> None:
    report = lint(
        "http:\n  routers: {v: {rule: PathPrefix(`/`), service: both}}\n"
        "  services:\n"
        "    both: {weighted: {services: [{name: a}, {name: both}]}}\n"
        "    a: {loadBalancer: {servers: [{url: 'h2c://127.0.0.1:1'}]}}\n"
    )
    assert fired(report) == ["TR14"]
    assert report.paths[0].upstream == "h2c://127.0.0.1:1"


def test_a_static_configuration_alone_has_remarks_and_no_finding() -> None:
    report = lint("entryPoints:\n  web:\n    address: ':8080'\n", name="traefik.yml")
    assert report.findings == ()
    assert any("no http.routers" in remark for remark in report.remarks)
    assert any("entryPoints.web has no forwardedHeaders" in remark for remark in report.remarks)


def test_toml_is_read_as_well() -> None:
    report = lint(
        "[http.routers.voice]\n"
        'rule = "Host(`voice.example.com`)"\n'
        'service = "gateway"\n'
        "[[http.services.gateway.loadBalancer.servers]]\n"
        'url = "h2c://127.0.0.1:8080"\n',
        name="dynamic.toml",
    )
    assert [(each.rule, each.line) for each in report.findings] == [("TR14", 5)]


def test_what_is_no_configuration_of_traefik_is_refused() -> None:
    assert lint("a: 1").unreadable.startswith("it is no configuration of Traefik")
    assert lint("http: [").unreadable.startswith("line 1: it is no YAML")
    assert lint("http = ", name="t.toml").unreadable.startswith("it is no TOML")


def test_middlewares_of_an_entry_point_count_for_all_its_routers() -> None:
    report = lint(
        "entryPoints: {web: {address: ':443', http: {middlewares: [login@file]}}}\n"
        "http:\n"
        "  routers: {v: {rule: PathPrefix(`/`), service: gw, entryPoints: [web]}}\n"
        "  middlewares: {login: {basicAuth: {users: ['secret-hash']}}}\n"
        "  services: {gw: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}\n"
    )
    assert fired(report) == ["TR16"]
    assert "secret-hash" not in str(report)


def test_an_absent_value_is_a_node_like_any_other() -> None:
    assert not Node()["a"]["b"]
    assert Node(3)["a"].line == 3
