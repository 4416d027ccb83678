"""Traefik and its linter agree: which routers it drops, which it matches, what arrives behind."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from doctor.linting.findings import Paths
from doctor.linting.ways import Request, requests_of
from edge_snippets import MIDDLEWARES, REFUSED_RULES, RULES
from head_echo import echoing_heads
from lint_cases import Case, cases_of
from programs import PATIENCE_S, end, require

CASES = cases_of("traefik")
# What the file provider reads; all else of a case is the static configuration.
DYNAMIC = ("http", "tcp", "udp", "tls")
# The rules that say that Traefik drops a router, and how it says so itself.
DROPPED = {
    "TR10": 'the service "website@file" does not exist',
    "TR11": "error while parsing rule Host(`www.example.com`) && Path(/x)",
    "TR12": 'entryPoint "web" doesn\'t exist',
}
ATTEMPTS = 5
ADMIN = "traefik"  # the entry point of its API
ECHO = {"loadBalancer": {"servers": [{"url": "http://@"}]}}
WEBHOOK, STREAM, _ = requests_of(Paths(), "voice.example.com")


@contextmanager
def traefik(
    folder: Path, dynamic: dict[str, Any], static: dict[str, Any], points: list[str]
) -> Iterator[dict[str, int]]:
    """A Traefik on loopback that says nothing to its makers: the port of each entry point."""
    count = len(dynamic.get("http", {}).get("routers", {}))
    for _ in range(ATTEMPTS):
        ports = dict(zip((*points, ADMIN), free_ports(len(points) + 1), strict=True))
        main = written(folder, dynamic, static, ports)
        with (folder / "traefik.log").open("w") as log:
            command = [require("traefik"), f"--configFile={main}"]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if has_routers(process, ports[ADMIN], count):
                yield ports
                return
        finally:
            end(process)
    raise AssertionError((folder / "traefik.log").read_text())


def free_ports(count: int) -> list[int]:
    """Ports that differ; another program may take one before Traefik does."""
    with ExitStack() as bound:
        servers = [
            bound.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [int(server.getsockname()[1]) for server in servers]


def written(
    folder: Path, dynamic: dict[str, Any], static: dict[str, Any], ports: dict[str, int]
) -> Path:
    """The configuration's main file."""
    file = folder / "dynamic.yml"
    file.write_text(yaml.safe_dump(dynamic))
    given = static.get("entryPoints", {})
    entry_points = {
        name: {**given.get(name, {}), "address": f"127.0.0.1:{port}"}
        for name, port in ports.items()
    }
    everything = {
        **static,
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "api": {"insecure": True},
        "entryPoints": entry_points,
        "providers": {
            "providersThrottleDuration": "10ms",
            "file": {"filename": str(file), "watch": False},
        },
    }
    main = folder / "traefik.yml"
    main.write_text(yaml.safe_dump(everything))
    return main


def has_routers(process: "subprocess.Popen[bytes]", admin: int, count: int) -> bool:
    """Wait until it has read its file, after it listens; False where it ended instead."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        try:
            if len(routers_of(admin)) >= count:
                return True
        except OSError:
            pass
        assert time.monotonic() < deadline, f"{count} routers are not there"
        time.sleep(0.02)
    return False


def routers_of(admin: int) -> dict[str, dict[str, Any]]:
    """As Traefik lists them: name, status, error. None before it has an API."""
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/api/http/routers?per_page=1000")
        answer = connection.getresponse()
        listed = json.loads(answer.read()) if answer.status == 200 else []
    finally:
        connection.close()
    return {each["name"].partition("@")[0]: each for each in listed if each["provider"] == "file"}


def dropped(text: str, folder: Path) -> dict[str, list[str]]:
    """The routers of a file that Traefik does not take, with its reasons."""
    parts = yaml.safe_load(text)
    dynamic = {name: part for name, part in parts.items() if name in DYNAMIC}
    static = {name: part for name, part in parts.items() if name not in DYNAMIC}
    points = list(static.get("entryPoints", {"web": {}}))
    with traefik(folder, dynamic, static, points) as ports:
        routers = routers_of(ports[ADMIN])
    return {name: each["error"] for name, each in routers.items() if each["status"] != "enabled"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_traefik_takes_every_router_of_a_healthy_file(case: Case, tmp_path: Path) -> None:
    reasons = dropped(case.quiet, tmp_path)
    # What another provider has is not there without it.
    assert not [each for reason in reasons.values() for each in reason if "@docker" not in each]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_traefik_drops_the_routers_of_which_a_rule_says_so(case: Case, tmp_path: Path) -> None:
    reasons = [each for reason in dropped(case.fires, tmp_path).values() for each in reason]
    wanted = DROPPED.get(case.rule)
    assert any(each.startswith(wanted) for each in reasons) if wanted else reasons == []


def named(prefix: str, number: int) -> str:
    return f"{prefix}{number}"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """One Traefik that has each rule and each middleware on an entry point of its own."""
    routers: dict[str, Any] = {}
    middlewares: dict[str, Any] = {}
    for number, (rule, _, _) in enumerate(RULES):
        routers[named("rule", number)] = {"rule": rule}
    for number, (rule, _) in enumerate(REFUSED_RULES):
        routers[named("refused", number)] = {"rule": rule}
    for number, (kind, options, _, _) in enumerate(MIDDLEWARES):
        name = named("change", number)
        middlewares[name] = {kind: yaml.safe_load(options)}
        routers[name] = {"rule": "PathPrefix(`/`)", "middlewares": [name]}
    for name, router in routers.items():
        router |= {"entryPoints": [name], "service": "echo"}
    with echoing_heads() as address:
        echo = json.loads(json.dumps(ECHO).replace("@", address))
        dynamic = {
            "http": {"routers": routers, "middlewares": middlewares, "services": {"echo": echo}}
        }
        with traefik(tmp_path_factory.mktemp("traefik"), dynamic, {}, list(routers)) as ports:
            yield ports


def asked(port: int, request: Request, path: str = "") -> tuple[int, bytes]:
    """Status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {name: value for name, value in request.headers.items() if value}
    connection.request("GET" if path else request.method, path or request.path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("number", range(len(RULES)), ids=[rule for rule, _, _ in RULES])
def test_a_rule_takes_what_the_linter_says(number: int, edge: dict[str, int]) -> None:
    _, *expected = RULES[number]
    for request, is_taken in zip((WEBHOOK, STREAM), expected, strict=True):
        status, _ = asked(edge[named("rule", number)], request)
        if is_taken is not None:
            # The echo knows no POST: 501.
            assert status == ((501 if request is WEBHOOK else 200) if is_taken else 404)


@pytest.mark.parametrize(
    "number", range(len(REFUSED_RULES)), ids=[rule for rule, _ in REFUSED_RULES]
)
def test_a_rule_that_the_linter_refuses_is_dropped(number: int, edge: dict[str, int]) -> None:
    router = routers_of(edge[ADMIN])[named("refused", number)]
    assert router["status"] == "disabled", router


@pytest.mark.parametrize("number", range(len(MIDDLEWARES)))
def test_a_path_arrives_as_the_linter_says(number: int, edge: dict[str, int]) -> None:
    _, _, path, arrives = MIDDLEWARES[number]
    status, body = asked(edge[named("change", number)], WEBHOOK, path)
    assert status == 200
    if arrives:
        assert json.loads(body)["target"] == arrives
