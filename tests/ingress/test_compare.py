"""`hopscope compare` as it is used: real nginx and HAProxy in front of one sidecar, one command."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from doctor.comparing.entries import read_entries
from doctor.comparing.running import compare
from doctor.probing import ProbeOptions
from ingress.faults.fault_cases import Case, Expected
from ingress.faults.fault_chains import Laboratory
from ingress.faults.fault_programs import HAPROXY_PROPER
from programs import ROOT

NAME = "voice.example.com"
NGINX_BARE = "server { listen @listen@; location / { proxy_pass http://@upstream@; } }\n"


class Ingresses:
    """Running ingresses by name, in front of one sidecar."""

    def __init__(self, admin: str) -> None:
        self.admin = admin
        self.addresses: dict[str, str] = {}

    def compare(self, *names: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Exit code, what was printed, and what was said beside."""
        urls = [f"{name}=http://{NAME}" for name in names]
        detours = [f"--connect-to={name}={self.addresses[name]}" for name in names]
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "hopscope", "compare", *urls, *detours),
                *(f"--admin={self.admin}", "--calls=2", "--seconds=0.4", *options),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def told(self, *names: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.compare(*names, options=("--json",))
        assert out, err
        return code, json.loads(out)


def _case(program: str, text: str = "") -> Case:
    files = {"": text} if text else {}
    return Case(program, "healthy", "", "", (program,), files, Expected("healthy"))


@pytest.fixture(scope="module")
def ingresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingresses]:
    """Proper nginx and HAProxy, and an nginx that was never told of WebSockets."""
    cases = {
        "nginx": _case("nginx"),
        "haproxy": _case("haproxy"),
        "bare": _case("nginx", NGINX_BARE),
    }
    with ExitStack() as stack:
        laboratory = stack.enter_context(Laboratory(tmp_path_factory.mktemp("compare")))
        chains = {
            name: stack.enter_context(laboratory.running(case)) for name, case in cases.items()
        }
        running = Ingresses(chains["nginx"].admin)
        for name, chain in chains.items():
            running.addresses[name] = chain.hops[-1].url.partition("://")[2]
        yield running


def cells(told: dict[str, Any], title: str) -> dict[str, str]:
    """A row of the table by the name of the ingress."""
    [row] = [row for row in told["table"]["rows"] if row["title"] == title]
    return dict(zip(told["table"]["columns"], row["cells"], strict=True))


def test_two_proper_ingresses_are_healthy_and_told_apart(ingresses: Ingresses) -> None:
    code, told = ingresses.told("nginx", "haproxy")
    assert (code, told["verdict"]) == (0, "healthy"), told["ingresses"]
    assert told["table"]["columns"] == ["direct", "nginx", "haproxy"]
    assert cells(told, "upgrade") == {"direct": "101", "nginx": "101", "haproxy": "101"}
    assert cells(told, "request: changed") == {
        "direct": "nothing",
        "nginx": "Connection: Upgrade → upgrade",
        "haproxy": "nothing",
    }
    assert cells(told, "request: names spelled")["haproxy"] == "lower case"
    assert "X-Forwarded-Proto: https" in cells(told, "request: added")["nginx"]
    assert set(cells(told, "close codes").values()) == {"as sent"}
    assert set(cells(told, "ping by the client").values()) == {"passed"}
    for each in told["ingresses"]:
        assert [call["round"] for call in each["calls"]] == [1, 2]
        assert [call["received"] for call in each["calls"]] == [20, 20]
        assert {seen["fate"] for seen in each["targets"]} == {"kept"}
    assert told["ingresses"][0]["added_ms"] is None
    assert all(each["ratio"] > 0 for each in told["ingresses"][1:])


def test_one_broken_ingress_beside_a_good_one_ends_with_1(ingresses: Ingresses) -> None:
    code, told = ingresses.told("haproxy", "bare")
    assert (code, told["verdict"]) == (1, "broken")
    verdicts = {each["name"]: (each["verdict"], each["rule"]) for each in told["ingresses"]}
    assert verdicts["haproxy"] == ("healthy", None)
    assert verdicts["bare"] == ("broken", "HS01")
    assert cells(told, "upgrade")["bare"].endswith("from behind the ingress")
    assert "Upgrade: websocket" in cells(told, "request: dropped")["bare"]
    assert cells(told, "arrives as")["bare"] == "GET HTTP/1.0"


def test_the_table_is_printed_for_people_and_as_markdown(ingresses: Ingresses) -> None:
    code, out, err = ingresses.compare("nginx", options=("--idle=0.5",))
    assert (code, err) == (0, "")
    assert out.startswith("direct  Healthy")
    assert "added to the direct way" in out
    assert "alive after 0.5 s" in out
    code, out, _ = ingresses.compare("nginx", options=("--markdown",))
    assert out.startswith("## The upgrade\n\n|  | upgrade |")
    assert "| nginx | 101 | healthy |" in out


def test_a_half_close_is_told_over_tls_as_well(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """By the TLS alert: HAProxy passes it on as an end of TCP, and the last words come back."""
    text = HAPROXY_PROPER.replace("bind @listen@", "bind @listen@ ssl crt @certs@/voice-bundle.pem")
    case = replace(_case("haproxy", text), secure=True)
    with (
        Laboratory(tmp_path_factory.mktemp("compare")) as laboratory,
        laboratory.running(case) as chain,
    ):
        address = chain.hops[-1].url.partition("://")[2]
        entries = read_entries([f"haproxy=https://{NAME}"], [f"haproxy={address}"])
        options = ProbeOptions(admin=chain.admin, ca=chain.ca)
        seen = asyncio.run(compare(entries, options, 0, 0, lambda _: None)).passages[-1]
    assert seen.diagnosis.verdict == "healthy", seen.diagnosis.sentence
    assert seen.manners is not None
    assert (seen.manners.half_close, seen.manners.early) == ("passed", "passed")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["voice.example.com"], "https://voice.example.com"),
        (["http://a.example.com", "http://a.example.com"], "NAME=URL"),
        (["http://a.example.com", "--connect-to", "b=127.0.0.1:1"], "there is no ingress 'b'"),
        (["https://a.example.com", "--ca", "/nonexistent.pem"], "/nonexistent.pem"),
        (["http://a.example.com", "--calls", "0"], "calls"),
        ([], "URL"),
    ],
)
def test_bad_input_is_said_plainly_and_ends_with_64(
    tmp_path: Path, arguments: list[str], word: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "hopscope", "compare", "--admin=127.0.0.1:1", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stdout) == (64, "")
    assert word in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_sidecar_answers_are_compared_and_nothing_is_guessed(
    ingresses: Ingresses,
) -> None:
    urls = [f"nginx=http://{NAME}", f"--connect-to=nginx={ingresses.addresses['nginx']}"]
    ended = subprocess.run(
        [sys.executable, "-m", "hopscope", "compare", *urls, "--admin=127.0.0.1:1", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    told = json.loads(ended.stdout)
    assert (told["direct"], told["table"]["columns"]) == (None, ["nginx"])
    assert cells(told, "upgrade") == {"nginx": "101"}
    assert told["ingresses"][0]["calls"] == []
    assert told["notes"][0].startswith("the sidecar's admin address gave nothing")
