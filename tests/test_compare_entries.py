"""What `hopscope compare` is told to compare."""

import pytest

from doctor.comparing.entries import direct_entry, read_entries
from doctor.probing.hops import HopsError


def test_an_ingress_is_named_by_its_host_or_as_it_is_told() -> None:
    plain, named, port = read_entries(
        ["https://gw.tail-scale.ts.net", "nginx=https://voice.example.com/", "http://10.0.0.1:81"]
    )
    assert (plain.name, plain.host, plain.hop.kind) == (
        *("gw.tail-scale.ts.net", "gw.tail-scale.ts.net"),
        "tailscale",
    )
    assert (named.name, named.hop.url) == ("nginx", "https://voice.example.com")
    assert (port.name, port.host) == ("10.0.0.1:81", None)


def test_one_of_them_is_dialled_elsewhere_with_the_same_host() -> None:
    urls = ["a=https://voice.example.com", "b=https://voice.example.com:8443"]
    first, second = read_entries(urls, ["b=127.0.0.1:9000"])
    assert (first.hop.url, first.resolve) == ("https://voice.example.com", {})
    assert second.hop.url == "https://voice.example.com:9000"
    assert (second.host, second.resolve) == (
        "voice.example.com:8443",
        {"voice.example.com": "127.0.0.1"},
    )
    both = read_entries(urls, ["voice.example.com=[::1]:9000"])
    assert [entry.resolve["voice.example.com"] for entry in both] == ["::1", "::1"]


@pytest.mark.parametrize(
    ("urls", "connect_to", "word"),
    [
        ([], [], "nothing to compare"),
        (["voice.example.com"], [], "https://voice.example.com"),
        (["wss://voice.example.com"], [], "https://voice.example.com"),
        (["a=ftp://voice.example.com"], [], "a"),
        (["https://voice.example.com/voice/webhook"], [], "--stream-path"),
        (["https://a.example.com", "https://a.example.com"], [], "NAME=URL"),
        (["direct=https://a.example.com"], [], "another name"),
        (["https://a.example.com"], ["127.0.0.1:1"], "NAME=HOST:PORT"),
        (["https://a.example.com"], ["b=127.0.0.1:1"], "there is no ingress 'b'"),
        (["https://a.example.com"], ["a.example.com=127.0.0.1"], "NAME=HOST:PORT"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_is_allowed(
    urls: list[str], connect_to: list[str], word: str
) -> None:
    with pytest.raises(HopsError, match=word.replace("[", r"\[")):
        read_entries(urls, connect_to)


def test_the_direct_way_is_the_sidecar_asked_by_the_public_name() -> None:
    entry = direct_entry("http://127.0.0.1:8080", "voice.example.com")
    assert (entry.name, entry.hop.kind, entry.host) == ("direct", "sidecar", "voice.example.com")
