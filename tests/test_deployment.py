"""What configurations are written from, and that no value breaks out of them."""

import json
import os
import plistlib
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deployment.catalogue import INGRESSES, hopscope_files, ingress_files
from deployment.command import ingress
from deployment.files import PARTS, fill
from deployment.folder import OccupiedError, write_files
from deployment.reading import read_site
from deployment.site import (
    Address,
    Site,
    SiteError,
    folder_of,
    parse_address,
    parse_file,
    parse_host,
    parse_path,
    parse_tunnel,
)
from doctor.linting import engine
from doctor.linting.findings import Paths
from doctor.probing import load_hops

NAMES = tuple(INGRESSES)
TUNNEL = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
# What ends a word, a directive, a string, a line or a block in one of the programs.
BREAKERS = tuple(" \t\n\r;{}\"'`$\\#@%&|<>()[]*?!,=+^\0é")


def site_for(name: str, **values: Any) -> Site:
    host = "gw.tail-scale.ts.net" if name == "tailscale" else "voice.example.com"
    return replace(Site(host, Address("127.0.0.1", 8080)), **values)


def texts(name: str, **values: Any) -> dict[str, str]:
    files = ingress_files(INGRESSES[name], site_for(name, **values))
    return {file.path.partition("/")[2]: file.text for file in files}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in [name for name in os.environ if name.startswith("HOPSCOPE_")]:
        monkeypatch.delenv(variable)
    monkeypatch.delenv("TWILIO_AUTH_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


# Values


@pytest.mark.parametrize("breaker", BREAKERS)
def test_no_value_may_hold_what_ends_something_in_a_configuration(breaker: str) -> None:
    for parse, text in (
        (parse_host, "voice{}.example.com"),
        (parse_path, "/voice/a{}b"),
        (parse_tunnel, TUNNEL[:8] + "{}" + TUNNEL[9:]),
    ):
        with pytest.raises(SiteError):
            parse(text.replace("{}", breaker))
    with pytest.raises(SiteError):
        parse_address("upstream", f"side{breaker}car:8080")
    if breaker not in "@+":
        with pytest.raises(SiteError):
            parse_file("certificate", f"/etc/a{breaker}b.pem")


@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", "\0"])
def test_nor_may_it_end_in_a_line_break(ending: str) -> None:
    for parse, text in ((parse_host, "a.example"), (parse_path, "/a"), (parse_tunnel, TUNNEL)):
        assert parse(text) == text
        with pytest.raises(SiteError):
            parse(text + ending)
    for name, text in (("upstream", "a:1"), ("certificate", "/a")):
        parse_named = parse_address if name == "upstream" else parse_file
        with pytest.raises(SiteError, match=name):
            parse_named(name, text + ending)


@pytest.mark.parametrize(
    "host", ["", ".", "a..b", "-a.example", "a-.example", "192.0.2.1", "a" * 64, "a.b" * 99]
)
def test_a_public_name_is_one_of_the_dns(host: str) -> None:
    with pytest.raises(SiteError):
        parse_host(host)


@pytest.mark.parametrize("path", ["", "voice", "//voice", "/a//b", "/a/../b", "/.", "/a/.."])
def test_a_path_has_neither_dot_segments_nor_double_slashes(path: str) -> None:
    with pytest.raises(SiteError):
        parse_path(path)


@pytest.mark.parametrize("text", ["sidecar", "sidecar:", ":80", "a:0", "a:65536", "a:1:2", "[::1]"])
def test_an_address_is_host_and_port(text: str) -> None:
    with pytest.raises(SiteError, match="HOST:PORT"):
        parse_address("upstream", text)


def test_addresses_of_containers_and_of_ipv6_are_addresses() -> None:
    assert parse_address("upstream", "side_car-1:8080") == Address("side_car-1", 8080)
    assert str(parse_address("upstream", "[::1]:8080")) == "[::1]:8080"


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/voice/webhook", "/voice/stream"], "/voice/"),
        (["/voice/webhook", "/media"], "/"),
        (["/twilio", "/ws"], "/"),
        (["/a/b/c", "/a/b/d/e"], "/a/b/"),
        (["/a/b", "/ab/c"], "/"),
    ],
)
def test_the_prefix_is_the_folder_that_holds_all_paths(paths: list[str], folder: str) -> None:
    assert folder_of(paths) == folder


def test_a_place_without_a_value_is_a_mistake() -> None:
    assert fill("@a@ a@b.c $x @type", a="1") == "1 a@b.c $x @type"
    with pytest.raises(KeyError):
        fill("@nobody@")


# Sites


def write(folder: Path, text: str) -> Path:
    file = folder / "hopscope.toml"
    file.write_text(text)
    return file


def test_a_site_is_read_from_the_settings_of_sidecar_and_gateway(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'listen = "0.0.0.0:9000"\nadmin = "127.0.0.1:9001"\n'
        '[[route]]\nname = "a"\nprefix = "/twilio"\nupstream = "http://[::1]:3334"\n'
        '[gateway]\npublic_url = "https://Voice.Example.com:8443"\n'
        '[gateway.paths]\nwebhook = "/twilio/in"\nstream = "/twilio/ws"\nstatus = "/twilio/s"\n'
        'stream_status = "/twilio/t"\namd = "/twilio/amd"\n',
    )
    site = read_site(file)
    assert site == Site(
        host="voice.example.com",
        port=8443,
        upstream=Address("127.0.0.1", 9000),
        prefix="/twilio/",
        webhook="/twilio/in",
        stream="/twilio/ws",
        gateway=Address("::1", 3334),
        admin=Address("127.0.0.1", 9001),
    )
    assert read_site(file, upstream="sidecar:8080").upstream == Address("sidecar", 8080)


def test_the_path_of_the_debugger_counts_only_where_it_is_set(tmp_path: Path) -> None:
    paths = "".join(
        f'{name} = "/twilio/{name}"\n'
        for name in ("webhook", "stream", "status", "stream_status", "amd")
    )
    url = "https://voice.example.com"
    file = write(tmp_path, f"[gateway.paths]\n{paths}")
    assert read_site(file, public_url=url).prefix == "/twilio/"
    file = write(tmp_path, f'[gateway.paths]\n{paths}debugger = "/twilio-debugger"\n')
    assert read_site(file, public_url=url).prefix == "/"


def test_the_gateway_is_ours_where_no_route_names_another_and_none_where_it_has_no_port(
    tmp_path: Path,
) -> None:
    url = "https://voice.example.com"
    assert read_site(public_url=url).gateway == Address("127.0.0.1", 8081)
    file = write(tmp_path, 'upstream = "unix:/run/gateway.sock"\n')
    assert read_site(file, public_url=url).gateway is None


def test_a_path_of_the_public_url_belongs_to_every_path() -> None:
    site = read_site(public_url="https://example.com/bots")
    assert (site.prefix, site.stream) == ("/bots/voice/", "/bots/voice/stream")
    assert site.url == "https://example.com"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "HOPSCOPE_PUBLIC_URL"),
        ({"public_url": "http://localhost:8080"}, "https://"),
        ({"public_url": "https://192.0.2.1"}, "192.0.2.1"),
        ({"public_url": "https://[::1]"}, "::1"),
        ({"public_url": "https://example.com/a;b"}, "no path"),
        ({"public_url": "https://a.example", "certificate": "/a.pem"}, "--key"),
        ({"public_url": "https://a.example", "upstream": "8080"}, "HOST:PORT"),
        ({"public_url": "https://a.example", "tunnel": "hopscope"}, "UUID"),
    ],
)
def test_what_no_configuration_can_be_written_for_is_refused(
    values: dict[str, Any], word: str
) -> None:
    with pytest.raises(SiteError, match=word):
        read_site(**values)


def test_a_certificate_goes_alone_where_its_file_holds_the_key() -> None:
    url = "https://a.example"
    site = read_site(public_url=url, certificate="/a.pem", is_one_file=True)
    assert (site.certificate, site.key) == ("/a.pem", None)
    with pytest.raises(SiteError, match="go together"):
        read_site(public_url=url, key="/a.key", is_one_file=True)


def test_the_command_takes_a_certificate_alone_for_haproxy_and_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingress("haproxy", public_url="https://a.example", certificate="/a/b.pem")
    assert "ssl crt /a/b.pem " in capsys.readouterr().out
    with pytest.raises(typer.BadParameter, match="go together"):
        ingress("nginx", public_url="https://a.example", certificate="/a/b.pem")


def test_secrets_are_not_asked_for(tmp_path: Path) -> None:
    file = write(
        tmp_path, '[gateway]\nvoice = ["openai"]\npublic_url = "https://voice.example.com"\n'
    )
    assert read_site(file).host == "voice.example.com"


# Texts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"upstream": Address("sidecar", 8080), "gateway": Address("gateway", 8081)},
        {"upstream": Address("::1", 8080)},
        {"prefix": "/", "webhook": "/twilio", "stream": "/ws"},
        {"prefix": "/a.b~c/", "webhook": "/a.b~c/in", "stream": "/a.b~c/out", "tunnel": TUNNEL},
        {"certificate": "/etc/a@b+c.pem", "key": "/etc/a.key"},
    ],
    ids=["usual", "containers", "ipv6", "every-path", "odd-paths", "certificate"],
)
def test_the_linter_finds_nothing_in_what_is_written(
    name: str, values: dict[str, Any], tmp_path: Path
) -> None:
    site = site_for(name, **values)
    files = ingress_files(INGRESSES[name], site)
    write_files(tmp_path, files)
    status = "/status" if site.prefix == "/" else f"{site.prefix}status"
    paths = Paths(site.webhook, site.stream, status, host=site.host)
    hops = load_hops(tmp_path / name / "hops.toml")
    config = hops[-1].config
    assert config is not None
    report = engine.lint_file(config, None, paths)
    assert (report.unreadable, report.findings, report.kind) == ("", (), name)
    upstreams = {each.path: (each.upstream, each.target) for each in report.paths}
    assert set(upstreams) == {site.webhook, site.stream, status}
    for path, (upstream, target) in upstreams.items():
        assert str(site.upstream) in upstream
        assert target in (path, "")
    assert [hop.kind for hop in hops[-2:]] == ["sidecar", name]
    assert hops[-1].url == site.url
    assert hops[-2].url == f"http://{site.upstream}"
    assert [hop.url for hop in hops[:-2]] == ([f"http://{site.gateway}"] if site.gateway else [])


@pytest.mark.parametrize("name", NAMES)
def test_other_paths_and_names_are_not_passed_on(name: str, tmp_path: Path) -> None:
    """Tailscale mounts everything; there the sidecar's own routes are the bar."""
    write_files(tmp_path, ingress_files(INGRESSES[name], site_for(name)))
    config = load_hops(tmp_path / name / "hops.toml")[-1].config
    assert config is not None
    report = engine.lint_file(config, None, Paths("/calls", "/voices/stream", "/healthz"))
    assert report.unreadable == ""
    served = {each.path for each in report.paths if each.upstream}
    assert served == ({"/calls", "/voices/stream", "/healthz"} if name == "tailscale" else set())


def test_tailscale_serves_names_of_its_own_alone() -> None:
    with pytest.raises(SiteError, match=r"\.ts\.net"):
        ingress_files(INGRESSES["tailscale"], site_for("nginx"))
    served = json.loads(texts("tailscale", port=8443)["serve.json"])
    assert served["AllowFunnel"] == {"gw.tail-scale.ts.net:8443": True}


def test_cloudflareds_path_is_a_regular_expression_for_that_folder_alone() -> None:
    rules = yaml.safe_load(texts("cloudflared", prefix="/a.b/")["config.yml"])["ingress"]
    assert rules[0]["path"] == r"^/a\.b/"
    everything = yaml.safe_load(texts("cloudflared", prefix="/")["config.yml"])
    assert "path" not in everything["ingress"][0]
    assert yaml.safe_load(texts("cloudflared", tunnel=TUNNEL)["config.yml"])["tunnel"] == TUNNEL


def test_certificates_are_told_or_where_each_program_has_them() -> None:
    given = {"certificate": "/etc/a.pem", "key": "/etc/a.key"}
    for name in NAMES:
        usual = "\n".join(texts(name).values())
        told = "\n".join(texts(name, **given).values())
        assert "/etc/a.pem" not in usual, name
        assert ("/etc/a.pem" in told) == (name not in ("tailscale", "cloudflared")), name
    traefik = yaml.safe_load(texts("traefik", **given)["voice.yaml"])
    assert traefik["tls"]["certificates"] == [{"certFile": "/etc/a.pem", "keyFile": "/etc/a.key"}]
    assert "certificatesResolvers" not in texts("traefik", **given)["traefik.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_fits_a_screen_and_names_every_file(name: str) -> None:
    files = texts(name)
    about = files.pop("README.md")
    assert len(about.splitlines()) <= 60
    assert all(f"| `{file}` |" in about for file in files)
    assert "@" not in about.replace("you@example.com", "")
    assert "hopscope doctor --hops hops.toml\n" in about


def test_a_readme_tells_the_doctor_what_is_not_the_default() -> None:
    about = texts("nginx", stream="/ws", webhook="/in", admin=Address("127.0.0.1", 9))["README.md"]
    wanted = "--hops hops.toml --admin http://127.0.0.1:9 --webhook-path /in --stream-path /ws\n"
    assert wanted in about


def test_property_lists_are_of_launchd() -> None:
    files = [*hopscope_files(), *ingress_files(INGRESSES["cloudflared"], site_for("cloudflared"))]
    lists = [file for file in files if file.part == "launchd"]
    assert len(lists) == 3
    for file in lists:
        told = plistlib.loads(file.text.encode())
        assert file.path.endswith(f"/{told['Label']}.plist")
        assert told["ProgramArguments"][0].startswith("/")
        assert told["KeepAlive"] == {"SuccessfulExit": False}


# Folders


def test_a_file_with_another_text_is_overwritten_only_by_force(tmp_path: Path) -> None:
    files = ingress_files(INGRESSES["nginx"], site_for("nginx"))
    assert len(write_files(tmp_path, files)) == len(files)
    assert write_files(tmp_path, files) == []
    edited = tmp_path / "nginx" / "voice.conf"
    edited.write_text("mine")
    (tmp_path / "nginx" / "README.md").unlink()
    with pytest.raises(OccupiedError, match=r"voice\.conf"):
        write_files(tmp_path, files)
    assert edited.read_text() == "mine"
    assert not (tmp_path / "nginx" / "README.md").exists()
    assert len(write_files(tmp_path, files, force=True)) == 2
    assert edited.read_text() != "mine"


def test_every_part_is_somebodys() -> None:
    files = [*hopscope_files()]
    for name in NAMES:
        files += ingress_files(INGRESSES[name], site_for(name))
    assert {file.part for file in files} == set(PARTS)
    assert len({file.path for file in files}) == len(files)
    for file in files:
        if file.path.endswith(".toml"):
            tomllib.loads(file.text)
        if file.path.endswith(".yaml"):
            yaml.safe_load(file.text)
