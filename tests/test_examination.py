"""An examination from its files: what the linters are asked, and what becomes of their findings."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from doctor.diagnosis.examination import Examination, examine, paths_of
from doctor.diagnosis.html import page
from doctor.diagnosis.input import Misuse
from doctor.diagnosis.json import as_contract
from doctor.diagnosis.text import print_diagnosis
from doctor.evidence import Hop, HopKind
from doctor.linting.findings import Paths
from doctor.probing import HopsError, ProbeOptions
from programs import free_port

NGINX = """
events {}
http {
    server {
        listen 443 ssl;
        server_name voice.example.com;
        location /voice/ {
            proxy_pass http://127.0.0.1:8080;
        }
    }
}
"""


def hop(url: str, kind: HopKind = "nginx") -> Hop:
    return Hop("front", kind, url)


@pytest.mark.parametrize(
    ("url", "host", "asked"),
    [
        ("https://voice.example.com", None, ("voice.example.com", "https")),
        ("http://voice.example.com:8000", None, ("voice.example.com", "http")),
        ("http://127.0.0.1:8000", None, ("", "")),
        ("http://127.0.0.1:8000", "voice.example.com", ("voice.example.com", "")),
        ("http://[::1]:8000", "voice.example.com:8443", ("voice.example.com", "")),
    ],
)
def test_the_linters_are_asked_about_the_public_name_and_no_status_path(
    url: str, host: str | None, asked: tuple[str, str]
) -> None:
    options = ProbeOptions(stream_path="/media", webhook_path="/hook", host=host)
    assert paths_of([hop("http://127.0.0.1:1"), hop(url)], options) == Paths(
        "/hook", "/media", status="", host=asked[0], scheme=asked[1]
    )
    assert paths_of([], options).scheme == ""


def examined(
    folder: Path, *configs: Path, config: str = "", options: ProbeOptions | None = None
) -> Examination:
    """One nginx that is not there, with its configuration."""
    text = f'[[hop]]\nname = "front"\nkind = "nginx"\nurl = "http://127.0.0.1:{free_port()}"\n'
    (folder / "hops.toml").write_text(text + config)
    options = options or ProbeOptions(host="voice.example.com")
    return asyncio.run(examine(folder / "hops.toml", None, configs, options, lambda _: None))


def test_a_configuration_is_read_beside_what_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(NGINX)
    by_flag = examined(tmp_path, file)
    assert (by_flag.diagnosis.verdict, by_flag.diagnosis.rule) == ("broken", "NE02")
    written = [
        (each.hop, each.found.rule, each.found.file) for each in by_flag.diagnosis.configuration
    ]
    assert ("front", "NG01", str(file)) in written
    by_hops = examined(tmp_path, config='config = "nginx.conf"\n')
    assert [(each.hop, each.found.rule) for each in by_hops.diagnosis.configuration] == [
        each[:2] for each in written
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("http { server { listen 80;", "the file ends within a block"),
        ("\0\1", "it is binary"),
        ("", "it is empty"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused_by_hand_and_noted_of_a_hop(
    tmp_path: Path, text: str, note: str
) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(text)
    with pytest.raises(Misuse) as refused:
        examined(tmp_path, file)
    assert str(refused.value).startswith(f"--config: {file}: ")
    assert note in str(refused.value)
    [told] = examined(tmp_path, config='config = "nginx.conf"\n').notes
    assert str(refused.value).rstrip(".") == f"--config: {told}"


def test_a_configuration_of_no_hop_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend voice\n    bind :80\n")
    assert examined(tmp_path, file).notes == (
        f"{file}: none of the hops is a haproxy; it was not used",
    )


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_public_url_is_probed_outside_the_listed_hops_where_it_is_none_of_them(
    is_listed: bool, tmp_path: Path
) -> None:
    listed, other = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    hops = tmp_path / "hops.toml"
    hops.write_text(f'[[hop]]\nname = "public"\nkind = "nginx"\nurl = "{listed}"\n')
    url = f"{listed}/voice/webhook" if is_listed else other
    seen = asyncio.run(examine(hops, url, [], ProbeOptions(), lambda _: None))
    names = [probe.hop.name for probe in seen.probes]
    assert names == (["public"] if is_listed else ["public", "public-2"])


def test_hops_that_cannot_be_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HopsError, match="there is no such file"):
        examined(tmp_path, config='config = "missing.conf"\n')


def test_no_form_of_the_report_holds_a_secret_of_the_configuration_or_of_the_url(
    tmp_path: Path,
) -> None:
    file = tmp_path / "nginx.conf"
    refusing = 'return 403 "token=hunter2 Bearer hunter2"; rewrite ^ /a?key_token=hunter2;'
    file.write_text(NGINX.replace("location /voice/ {", "location /voice/ { " + refusing))
    options = ProbeOptions(stream_path="/voice/stream?token=hunter2", auth_token="hunter2")
    seen = examined(tmp_path, file, options=options)
    assert "return 403 token=[hidden] Bearer [hidden]" in str(seen.diagnosis.configuration)
    shown = io.StringIO()
    print_diagnosis(Console(file=shown, width=1000), seen.diagnosis, seen.probes)
    forms = [
        json.dumps(as_contract(seen.diagnosis, seen.probes, 1.0)),
        page(seen.diagnosis, seen.probes, "2026-01-01"),
        shown.getvalue(),
        *seen.notes,
    ]
    assert [form for form in forms if "hunter2" in form] == []
