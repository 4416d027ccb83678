"""hops.toml: what is read, and how everything else is refused."""

from pathlib import Path

import pytest

from doctor.evidence import KINDS, Hop
from doctor.probing.hops import HopsError, checked_url, default_hops, kind_of_url, load_hops

GOOD = """
[[hop]]
name = "gateway"
kind = "gateway"
url = "http://127.0.0.1:8081"

[[hop]]
name = "front"
kind = "nginx"
url = "https://voice.example.com"
config = "nginx.conf"
"""


def _refused(tmp_path: Path, text: str) -> str:
    file = tmp_path / "hops.toml"
    file.write_text(text)
    with pytest.raises(HopsError) as refused:
        load_hops(file)
    assert str(file) in str(refused.value)
    return str(refused.value)


def test_hops_are_read_inside_first_with_their_configuration_beside_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "nginx.conf").touch()
    (tmp_path / "hops.toml").write_text(GOOD)
    assert load_hops(tmp_path / "hops.toml") == [
        Hop("gateway", "gateway", "http://127.0.0.1:8081"),
        Hop("front", "nginx", "https://voice.example.com", tmp_path / "nginx.conf"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_allowed(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "hops.toml"
    file.write_text(f'[[hop]]\nname = "a"\nkind = "{kind}"\nurl = "http://h:1"\n')
    assert [hop.kind for hop in load_hops(file)] == [kind]


def test_an_unknown_kind_names_the_hop_the_file_and_what_was_meant(tmp_path: Path) -> None:
    said = _refused(tmp_path, '[[hop]]\nname = "edge"\nkind = "ngnix"\nurl = "http://h"\n')
    assert "hop 'edge'" in said
    assert "'ngnix'" in said
    assert "did you mean nginx?" in said
    assert ", ".join(KINDS) in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "voice.example.com"', "has no scheme; did you mean https://voice.example.com?"),
        ('url = "wss://voice.example.com"', "write https://voice.example.com"),
        ('url = "WS://h:1"', "write http://h:1"),
        ('url = "ftp://h"', "not http:// or https://"),
        ('url = "https://"', "no host"),
        ('url = "https://h:0"', "no valid port"),
        ('url = "https://h:99999"', "no valid port"),
        ('url = "https://me:secret@h"', "a name and password"),
        ('url = ""', "should be http://HOST[:PORT]"),
        ("url = 7", "url = 7: should be http://HOST[:PORT]"),
        ('ulr = "http://h"', "ulr: there is no such key; did you mean url?"),
        ('name = "x"', "is not TOML"),  # a key twice
        ('config = "missing.conf"', "there is no such file"),
        ("config = 1", "config = 1: should be the path of a file"),
        ("", "lacks url"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_allowed(tmp_path: Path, line: str, said: str) -> None:
    url = "" if "url" in line or not line else 'url = "http://h"\n'
    text = f'[[hop]]\nname = "edge"\nkind = "other"\n{url}{line}\n'
    assert said in _refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no [[hop]]"),
        ("hop = 3", "has no [[hop]]"),
        ("hop = [1]", "hop 1: should be a table with name, kind, url, config"),
        ("[[hops]]\nname='a'", "hops: unknown; did you mean hop?"),
        ("[[hop]]\nkind='other'\nurl='http://h'", "hop 1: lacks name"),
        ("[[hop]]\nname=''\nkind='other'\nurl='http://h'", "name = '': should be a word"),
        ("[[hop]]\nname=3\nkind='other'\nurl='http://h'", "name = 3: should be a word"),
        ("[[hop]]\nname='a'\nurl='http://h'", "hop 'a': lacks kind"),
        ("[[hop]]\nname='a'\nkind=['x']\nurl='http://h'", "kind = ['x']: there is no such kind"),
        ("[[hop", "is not TOML"),
    ],
)
def test_a_file_that_is_no_list_of_hops_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in _refused(tmp_path, text)


def test_two_hops_of_one_name_are_refused(tmp_path: Path) -> None:
    hop = "[[hop]]\nname='a'\nkind='other'\nurl='http://h'\n"
    assert "two hops are called 'a'" in _refused(tmp_path, hop + hop)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HopsError, match="there is no such file; is the path right"):
        load_hops(tmp_path / "hops.toml")
    with pytest.raises(HopsError, match="is a folder; name the file in it"):
        load_hops(tmp_path)
    (tmp_path / "hops.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(HopsError, match="is not TOML"):
        load_hops(tmp_path / "hops.toml")


@pytest.mark.parametrize("url", ["me:hunter2@h.example", "https://me:hunter2@h.example/a"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(HopsError, match="holds a name and password") as refused:
        checked_url(url, "url")
    assert "hunter2" not in str(refused.value)
    assert checked_url("https://h.example/@me", "url") == "https://h.example"


def test_the_path_of_a_url_is_left_to_the_options() -> None:
    assert checked_url("https://Voice.example.com:443/voice/webhook?x=1", "url") == (
        "https://voice.example.com"
    )
    assert checked_url("http://[::1]:8080/", "url") == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://gw.tail-scale.ts.net", "tailscale"),
        ("https://gw.tail-scale.ts.net.:8443", "tailscale"),
        ("https://some-words.trycloudflare.com/x", "cloudflared"),
        ("https://voice.example.com", "other"),
        ("https://ts.net.example.com", "other"),
    ],
)
def test_a_public_name_tells_its_tunnel(url: str, kind: str) -> None:
    assert kind_of_url(url) == kind


def test_without_a_file_there_are_the_sidecar_and_what_is_public() -> None:
    assert default_hops() == [Hop("sidecar", "sidecar", "http://127.0.0.1:8080")]
    assert default_hops("http://h:1", "https://a.ts.net/voice")[1] == Hop(
        "public", "tailscale", "https://a.ts.net"
    )
    with pytest.raises(HopsError, match=r"the public URL = 'voice.example.com': has no scheme"):
        default_hops(public_url="voice.example.com")
