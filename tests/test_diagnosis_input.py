"""What `hopscope doctor` refuses to begin with: by name, with what is due, and exit code 64."""

import subprocess
import sys
from pathlib import Path

import pytest

from doctor.diagnosis.input import Misuse, check_path, check_report, checked_admin
from programs import ROOT

HOP = '[[hop]]\nname = "front"\nkind = "nginx"\nurl = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("voice/stream", "should begin with /, as in /voice/stream; did you mean /voice/stream?"),
        ("https://h/voice", "should begin with /, as in /voice/stream"),
        ("", "should begin with /"),
        ("/voice stream", "holds what no URL holds"),
        ("/voice\r\nHost: other", "holds what no URL holds"),
        ("/vöice", "holds what no URL holds"),
    ],
)
def test_a_path_that_is_none_is_refused(path: str, said: str) -> None:
    with pytest.raises(Misuse, match="--stream-path") as refused:
        check_path("--stream-path", path)
    assert said in str(refused.value)


def test_a_path_may_have_a_query_and_escapes() -> None:
    check_path("--stream-path", "/voice/a%20b;c=1?token=x")


@pytest.mark.parametrize(
    "url", ["", "a:b:c", "ftp://h", "http://h:99999", "http://[::1", "http://"]
)
def test_an_admin_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Misuse, match=r"--admin: should be \[http://\]HOST:PORT"):
        checked_admin(url)


def test_an_admin_address_takes_no_password_and_needs_no_scheme() -> None:
    assert checked_admin("127.0.0.1:9101") == "http://127.0.0.1:9101"
    assert checked_admin("https://h.example") == "https://h.example"
    with pytest.raises(Misuse, match="set HOPSCOPE_ADMIN_TOKEN") as refused:
        checked_admin("http://me:hunter2@h.example")
    assert "hunter2" not in str(refused.value)


def test_a_report_goes_into_a_folder_that_there_is(tmp_path: Path) -> None:
    check_report(None)
    check_report(tmp_path / "report.html")
    with pytest.raises(Misuse, match="is a folder; name a file in it"):
        check_report(tmp_path)
    with pytest.raises(Misuse, match="there is no folder"):
        check_report(tmp_path / "no" / "report.html")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["voice.example.com"], "has no scheme; did you mean https://voice.example.com?"),
        (["https://me:hunter2@voice.example.com"], "holds a name and password"),
        (["--hops", "missing.toml"], "missing.toml: there is no such file"),
        (["--hops", "broken.toml"], "broken.toml: is not TOML"),
        (["--hops", "kind.toml"], "did you mean nginx?"),
        (["--hops", "hops.toml", "--config", "half.conf"], "the file ends within a block"),
        (["--hops", "hops.toml", "--config", "missing.conf"], "missing.conf: there is no such"),
        (["--hops", "hops.toml", "--admin", "a:b:c"], "--admin: should be"),
        (["--hops", "hops.toml", "--stream-path", "voice"], "did you mean /voice?"),
        (["--hops", "hops.toml", "--idle", "-1"], "--idle"),
        (["--hops", "hops.toml", "--html", "no/report.html"], "there is no folder 'no'"),
    ],
)
def test_misuse_ends_in_one_sentence_and_64(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "hops.toml").write_text(HOP)
    (tmp_path / "broken.toml").write_text("[[hop]\nname=")
    (tmp_path / "kind.toml").write_text(HOP.replace('"nginx"', '"ngnix"'))
    (tmp_path / "half.conf").write_text("events {}\nhttp { server { listen 80;")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "hopscope.py"), "doctor", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (64, "")
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "hunter2" not in ended.stderr
