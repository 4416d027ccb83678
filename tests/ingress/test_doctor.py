"""`hopscope doctor` as it is used: a real gateway, the real sidecar, real nginx, one command."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from programs import NGINX_PROPER, ROOT, HopscopeProcess

VOID = ("meta",)


class Chain:
    """The hops of a test, and the doctor's answer about them."""

    def __init__(self, folder: Path, admin_port: int, **ports: int) -> None:
        self.folder, self.admin = folder, f"http://127.0.0.1:{admin_port}"
        self.file = folder / "hops.toml"
        kinds = {"gateway": "gateway", "sidecar": "sidecar", "front": "nginx"}
        self.file.write_text(
            "".join(
                f'[[hop]]\nname = "{name}"\nkind = "{kinds[name]}"\n'
                f'url = "http://127.0.0.1:{port}"\n'
                for name, port in ports.items()
            )
        )

    def examine(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return doctor("--hops", str(self.file), "--admin", self.admin, *options)

    def told(self, *options: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.examine("--json", *options).stdout)
        return told


def doctor(*arguments: str, verb: str = "doctor") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hopscope", verb, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


@pytest.fixture
def chain(
    start_gateway: Callable[[str], int],
    start_hopscope: Callable[..., HopscopeProcess],
    start_nginx: Callable[[int, str], int],
    tmp_path: Path,
) -> Callable[[str], Chain]:
    """Gateway, sidecar, and nginx with these directives."""

    def make(directives: str) -> Chain:
        gateway = start_gateway("echo")
        hopscope = start_hopscope(gateway)
        front = start_nginx(hopscope.port, directives)
        return Chain(
            tmp_path, hopscope.admin_port, gateway=gateway, sidecar=hopscope.port, front=front
        )

    return make


def test_a_healthy_chain_is_healthy_and_soon_examined(chain: Callable[[str], Chain]) -> None:
    told = chain(NGINX_PROPER).told()
    assert (told["verdict"], told["hop"], told["rule"]) == ("healthy", None, None)
    assert [each for each in told["findings"] if each["level"] == "error"] == []
    assert [probe["hop"]["name"] for probe in told["probes"]] == ["gateway", "sidecar", "front"]
    assert told["elapsed_s"] < 10
    echoes = {echo["name"]: echo["fault"] for echo in told["probes"][2]["echoes"]}
    assert len(echoes) > 5
    assert set(echoes.values()) == {""}


def test_good_health_says_what_was_not_looked_at_and_how_to_ask_from_outside(
    chain: Callable[[str], Chain],
) -> None:
    healthy = chain(NGINX_PROPER)
    shown = healthy.examine().stdout.splitlines()
    assert shown[0].startswith("Healthy: all 3 hops are good (gateway, sidecar, front)")
    assert shown[0].endswith(
        f". Only what runs here was looked at: add the public URL to {healthy.file} as the last hop"
        " to test the way from outside."
    )
    [line] = [line for line in shown if line.startswith(("not ", "skipped"))]
    options = "silence (--idle SECONDS), media (--soak SECONDS), a call (hopscope call WEBHOOK_URL)"
    assert line == f"not looked at: {options}"


def test_the_guilty_hop_is_named_with_evidence_and_a_fix(chain: Callable[[str], Chain]) -> None:
    broken = chain("")
    ended = broken.examine("--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert set(told) >= {
        *("verdict", "hop", "between", "phase", "rule", "sentence", "findings", "skipped"),
        *("probes", "elapsed_s"),
    }
    assert (told["verdict"], told["hop"], told["rule"]) == ("broken", "front", "HS01")
    finding = told["findings"][0]
    assert {"rule", "slug", "hop", "saw", "fix", "evidence"} <= set(finding)
    assert "proxy_set_header Upgrade $http_upgrade;" in finding["fix"]
    removed = {"sent": "Upgrade: websocket", "arrived": "", "change": "removed"}
    assert removed in finding["evidence"]["differences"]


def test_the_report_is_a_sentence_a_picture_and_two_heads(chain: Callable[[str], Chain]) -> None:
    broken = chain("")
    html = broken.folder / "report.html"
    ended = broken.examine("--html", str(html))
    first, *rest = ended.stdout.splitlines()
    assert first.startswith("front removed the Upgrade header")
    assert "──✗ sidecar" in ended.stdout
    assert any(re.match(r"-\s+Upgrade: websocket", line) for line in rest)
    assert "not looked at: " not in ended.stdout, "what is broken is mended first"

    text = html.read_text()
    unclosed: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            assert not {name for name, _ in attrs} & {"src", "href", "onclick"}
            if tag not in VOID:
                unclosed.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert unclosed.pop() == tag

    Reader().feed(text)
    assert not unclosed
    assert "<script" not in text
    assert "front removed the Upgrade header" in text


def test_without_the_admin_address_the_stamp_still_tells_front_from_behind(
    chain: Callable[[str], Chain],
) -> None:
    broken = chain("return 404;")
    told = json.loads(doctor("--hops", str(broken.file), "--admin", "127.0.0.1:1", "--json").stdout)
    assert (told["verdict"], told["hop"]) == ("broken", "front")


def test_bad_input_is_said_plainly_and_ends_with_64(tmp_path: Path) -> None:
    hops = tmp_path / "hops.toml"
    hops.write_text('[[hop]]\nname = "a"\nkind = "ngnix"\nurl = "http://127.0.0.1:1"\n')
    half = tmp_path / "half.toml"
    half.write_text('[[hop]]\nname = "a')
    for arguments, word in (
        (("--hops", str(hops)), "nginx"),
        (("--hops", str(half)), "TOML"),
        (("--hops", str(tmp_path / "none.toml")), "there is no such file"),
        (("voice.example.com",), "https://voice.example.com"),
        (("wss://voice.example.com",), "https://voice.example.com"),
    ):
        ended = doctor(*arguments)
        assert (ended.returncode, ended.stdout) == (64, ""), arguments
        assert ended.stderr.startswith("hopscope: ")
        assert word in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_name_without_address_is_a_finding_and_no_error_of_ours() -> None:
    ended = doctor("https://nowhere.invalid", "--admin", "127.0.0.1:1", "--json")
    told = json.loads(ended.stdout)
    assert told["verdict"] in ("broken", "cannot_tell")
    assert "NE01" in [finding["rule"] for finding in told["findings"]]


def test_rules_are_listed_and_explained() -> None:
    listed = doctor(verb="rules").stdout.splitlines()
    ids = [line.split()[0] for line in listed]
    assert len(ids) == len(set(ids)) > 40
    told = doctor("upgrade-stripped", verb="explain")
    assert told.stdout.startswith("HS01 upgrade-stripped (error)\n")
    for section in ("Why:", "Evidence:", "Fix nginx:", "Fix:"):
        assert f"\n{section}\n" in told.stdout
    assert doctor("HS01", verb="explain").stdout == told.stdout
    wrong = doctor("upgrade-striped", verb="explain")
    assert wrong.returncode == 64
    assert "upgrade-stripped" in wrong.stderr
