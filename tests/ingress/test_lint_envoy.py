"""Envoy and its linter agree: what is a configuration, which route takes what, what arrives."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls.certificates import OURS
from doctor.linting.findings import Paths
from doctor.linting.ways import requests_of
from edge_snippets import MATCHES, REWRITES
from head_echo import echoing_heads
from lint_cases import Case, cases_of
from programs import PATIENCE_S, end, free_port, require, wait_for_port

CASES = cases_of("envoy")
# The rules that say that Envoy refuses the file, and how it says so itself.
REFUSED = {"EN22": "route: unknown cluster 'web'"}
OPTIONS = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "error")
HTTP = "type.googleapis.com/envoy.extensions.filters"
WEBHOOK, STREAM, _ = requests_of(Paths(), "voice.example.com")
# What the linter can tell of; the program is not asked what it leaves open.
TOLD = [(match, taken) for match, *taken in MATCHES if None not in taken]
ARRIVING = [(route, arrives) for route, arrives in REWRITES if arrives]


def validated(text: str, folder: Path) -> str:
    """Why Envoy refuses a configuration; "" where it takes it."""
    (folder / "voice.pem").write_text(OURS)
    file = folder / "envoy.yaml"
    file.write_text(re.sub(r"/etc/envoy/\w+\.pem", str(folder / "voice.pem"), text))
    command = [require("envoy"), "--mode", "validate", "-c", str(file), *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_envoy_takes_a_healthy_file(case: Case, tmp_path: Path) -> None:
    assert validated(case.quiet, tmp_path) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_envoy_refuses_the_files_of_which_a_rule_says_so(case: Case, tmp_path: Path) -> None:
    refusal = validated(case.fires, tmp_path)
    if case.rule in REFUSED:
        assert REFUSED[case.rule] in refusal
    else:
        assert refusal == ""


def configuration(port: int, upstream: str) -> dict[str, Any]:
    """A virtual host for each match (m0.test) and for each rewriting (r0.test)."""
    hosts = {
        f"m{number}.test": {"match": match, "direct_response": {"status": 200}}
        for number, (match, _) in enumerate(TOLD)
    }
    for number, (route, _) in enumerate(ARRIVING):
        changed = {"cluster": "gateway", **route["route"]}
        hosts[f"r{number}.test"] = {**route, "route": {**changed, "cluster": "gateway"}}
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "voice",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": name, "domains": [name], "routes": [route]}
                for name, route in hosts.items()
            ]
        },
    }
    host, _, upstream_port = upstream.rpartition(":")
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": at("127.0.0.1", port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "gateway",
                    "load_assignment": {
                        "cluster_name": "gateway",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {"endpoint": {"address": at(host, int(upstream_port))}}
                                ]
                            }
                        ],
                    },
                }
            ],
        }
    }


def at(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port."""
    port, folder = free_port(), tmp_path_factory.mktemp("envoy")
    with echoing_heads() as address:
        file = folder / "envoy.json"
        file.write_text(json.dumps(configuration(port, address)))
        command = [require("envoy"), "-c", str(file), *OPTIONS, "--drain-time-s", "0"]
        process = subprocess.Popen(command)
        try:
            wait_for_port(port)
            yield port
        finally:
            end(process)


def asked(port: int, host: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    sent = {name: value for name, value in headers.items() if value}
    connection.request(method, path, headers=sent | {"host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("number", range(len(TOLD)), ids=[str(match) for match, _ in TOLD])
def test_a_route_takes_what_the_linter_says(number: int, envoy: int) -> None:
    for request, is_taken in zip((WEBHOOK, STREAM), TOLD[number][1], strict=True):
        given = (request.method, request.path, dict(request.headers))
        status, _ = asked(envoy, f"m{number}.test", *given)
        assert status == (200 if is_taken else 404)


@pytest.mark.parametrize("number", range(len(ARRIVING)))
def test_a_path_arrives_as_the_linter_says(number: int, envoy: int) -> None:
    status, body = asked(envoy, f"r{number}.test", "GET", "/voice/stream", {})
    assert status == 200
    assert json.loads(body)["target"] == ARRIVING[number][1]
