"""deploy/ holds what `hopscope ingress` writes from deploy/hopscope.toml, and it is sound."""

import json
import os
import plistlib
import re
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import NamedTuple

import pytest

import hopscope
from deployment.catalogue import INGRESSES, hopscope_files, ingress_files
from deployment.command import KNOWN, ingress
from deployment.files import File
from deployment.reading import read_site
from doctor.linting import engine
from doctor.linting.findings import Paths
from doctor.probing import load_hops
from gateway.settings import read_settings
from programs import ROOT, require
from proxy.settings import load_settings

DEPLOY = ROOT / "deploy"
SETTINGS = DEPLOY / "hopscope.toml"
# Funnel serves no name but its own.
PUBLIC_URLS = {"tailscale": "https://voice.tailnet-name.ts.net"}
PATHS = Paths(host="voice.example.com")


class Ended(NamedTuple):
    code: int | str | None
    out: str
    err: str


Run = Callable[..., Ended]
UNITS = sorted(DEPLOY.glob("*/*.service"))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in [name for name in os.environ if name.startswith("HOPSCOPE_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")


def written(name: str) -> tuple[File, ...]:
    site = read_site(SETTINGS, public_url=PUBLIC_URLS.get(name))
    return ingress_files(INGRESSES[name], site)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the console script within this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hopscope", *arguments])
        with pytest.raises(SystemExit) as ended:
            hopscope.main()
        printed = capsys.readouterr()
        return Ended(ended.value.code, printed.out, printed.err)

    return run


@pytest.mark.parametrize("name", INGRESSES)
def test_a_folder_is_what_is_written_and_no_more(name: str) -> None:
    files = {file.path: file.text for file in written(name)}
    there = [path for path in (DEPLOY / name).rglob("*") if path.is_file()]
    assert {str(path.relative_to(DEPLOY)): path.read_text() for path in there} == files


def test_so_are_the_units_of_hopscope_itself() -> None:
    files = {file.path: file.text for file in hopscope_files()}
    there = [path for name in ("systemd", "launchd") for path in (DEPLOY / name).iterdir()]
    assert {str(path.relative_to(DEPLOY)): path.read_text() for path in there} == files


def test_the_settings_are_taken_by_sidecar_and_gateway() -> None:
    sidecar, gateway = load_settings(SETTINGS), read_settings(SETTINGS)
    assert [str(route.upstream) for route in sidecar.routes()] == [f"http://{gateway.listen}"]
    for path in gateway.paths.model_dump().values():
        assert sidecar.routes()[0].matches("voice.example.com", path)


@pytest.mark.parametrize("name", INGRESSES)
def test_the_linter_finds_nothing_in_any_file_that_it_reads(name: str) -> None:
    kinds = []
    host = PUBLIC_URLS.get(name, "https://voice.example.com").removeprefix("https://")
    for file in sorted((DEPLOY / name).iterdir()):
        report = engine.lint_file(file, None, Paths(host=host))
        assert report.findings == (), file
        kinds += [report.kind] * (report.unreadable == "")
    assert set(kinds) == {name}


@pytest.mark.parametrize("name", INGRESSES)
def test_the_doctor_reads_the_hops(name: str) -> None:
    hops = load_hops(DEPLOY / name / "hops.toml")
    assert [hop.kind for hop in hops] == ["gateway", "sidecar", name]
    assert hops[-1].config is not None
    assert hops[-1].config.parent == DEPLOY / name


def test_the_readme_names_every_ingress_and_option() -> None:
    about = (DEPLOY / "README.md").read_text()
    assert all(f"`{name}/`" in about for name in INGRESSES)
    options = {name.replace("_", "-") for name in signature(ingress).parameters} - {"name"}
    assert "tunnel" in options
    told = set(re.findall(r"--([a-z-]+)", about))
    assert options - {"as-json"} <= told


# Units


def test_there_is_a_unit_for_sidecar_and_gateway_and_the_gateway_alone_has_secrets() -> None:
    units = {unit.stem: unit.read_text() for unit in UNITS}
    assert {"hopscope-proxy", "hopscope-gateway", "cloudflared", "traefik", "envoy"} == set(units)
    assert "secrets.env" in units["hopscope-gateway"]
    assert "secrets.env" not in units["hopscope-proxy"]
    for text in units.values():
        assert "\nNoNewPrivileges=yes\n" in text
        assert "\nDynamicUser=yes\n" in text


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("*/*.plist")), ids=lambda file: file.name)
def test_a_property_list_is_one(file: Path) -> None:
    told = plistlib.loads(file.read_bytes())
    assert told["Label"] == file.stem
    if sys.platform == "darwin":
        subprocess.run([require("plutil"), "-lint", str(file)], check=True, timeout=60)


def test_units_and_lists_of_hopscope_start_verbs_that_there_are() -> None:
    lines = [line for unit in UNITS for line in unit.read_text().splitlines()]
    starts = [line.split()[1:] for line in lines if line.startswith("ExecStart=/opt/hopscope/")]
    lists = [plistlib.loads(file.read_bytes()) for file in DEPLOY.glob("launchd/*.plist")]
    starts += [told["ProgramArguments"][1:] for told in lists]
    assert sorted(verb for verb, _, _ in starts) == ["gateway", "gateway", "proxy", "proxy"]
    verbs = {each.callback for each in hopscope.app.registered_commands}
    for verb, option, file_name in starts:
        assert getattr(hopscope, verb) in verbs
        assert (option, file_name[-13:]) == ("--config", "hopscope.toml")


# The verb


def _commands() -> list[str]:
    """Every `hopscope ingress` that a README shows, without what it is piped to."""
    files = [ROOT / "README.md", *DEPLOY.glob("**/README.md")]
    lines = [line for file in files for line in file.read_text().splitlines()]
    shown = {line.strip() for line in lines if line.startswith("    hopscope ingress ")}
    return sorted(line.partition("|")[0] for line in shown)


@pytest.mark.parametrize("command", _commands())
def test_what_readmes_show_can_be_typed(command: str, run: Run, tmp_path: Path) -> None:
    for placeholder, value in (
        ("MACHINE.TAILNET", "gw.tailnet"),
        ("UUID", "6ff42ae2-765d-4adf-8112-31c55c1551ef"),
        ("DIR", str(tmp_path)),
        ("~", str(tmp_path)),
    ):
        command = command.replace(placeholder, value)
    ended = run(*command.split()[1:])
    assert (ended.code, ended.err) == (0, "")


def test_its_help_names_every_ingress() -> None:
    assert re.split(", | or ", KNOWN.rstrip(".")) == list(INGRESSES)


def test_one_file_is_printed_as_it_is_and_several_with_their_names(run: Run) -> None:
    config = ("--config", str(SETTINGS))
    one = run("ingress", "nginx", *config)
    assert (one.code, one.err) == (0, "")
    assert one.out == (DEPLOY / "nginx" / "voice.conf").read_text()
    several = run("ingress", "cloudflared", "--part", "systemd", *config).out
    assert re.findall(r"^==> (.*) <==$", several, re.M) == [
        "cloudflared/cloudflared.service",
        "systemd/hopscope-proxy.service",
        "systemd/hopscope-gateway.service",
    ]


def test_a_folder_is_written_and_not_overwritten(run: Run, tmp_path: Path) -> None:
    command = ("ingress", "haproxy", "--config", str(SETTINGS), "--out", str(tmp_path))
    assert run(*command).code == 0
    for file in (*written("haproxy"), *hopscope_files()):
        assert (tmp_path / file.path).read_text() == file.text
    (tmp_path / "haproxy" / "haproxy.cfg").write_text("mine")
    refused = run(*command)
    assert refused.code == 1
    assert "haproxy.cfg" in refused.err
    assert (tmp_path / "haproxy" / "haproxy.cfg").read_text() == "mine"
    assert run(*command, "--force").code == 0
    assert (tmp_path / "haproxy" / "haproxy.cfg").read_text() != "mine"


def test_json_has_the_files_and_where_calls_come_in(run: Run) -> None:
    options = ("--upstream", "sidecar:8080", "--public-url", "https://a.example:8443", "--json")
    told = json.loads(run("ingress", "envoy", *options).out)
    assert set(told) == {"ingress", "public_url", "upstream", "files", "written"}
    assert (told["public_url"], told["upstream"]) == ("https://a.example:8443", "sidecar:8080")
    assert [file["path"] for file in told["files"]] == ["envoy/envoy.yaml"]
    assert "port_value: 8443" in told["files"][0]["text"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ngnix", "--public-url", "https://a.example"), ("ngnix", "nginx?", "cloudflared, nginx")),
        (("nginx",), ("public_url", "HOPSCOPE_PUBLIC_URL")),
        (("nginx", "--public-url", "https://a;b.example"), ("https://a;b.example",)),
        (("tailscale", "--public-url", "https://a.example"), (".ts.net",)),
        (("nginx", "--public-url", "https://a.example", "--upstream", "x;y:1"), ("HOST:PORT",)),
        (("nginx", "--part", "moon"), ("moon", "config")),
    ],
)
def test_what_can_not_be_written_ends_with_64_and_says_why(
    arguments: tuple[str, ...], words: tuple[str, ...], run: Run
) -> None:
    ended = run("ingress", *arguments)
    assert (ended.code, ended.out) == (64, "")
    for word in words:
        assert word in ended.err
