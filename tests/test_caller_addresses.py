"""URLs as Twilio reads them, and where they are dialled."""

import pytest

from doctor.addresses import (
    Address,
    BadUrl,
    Detour,
    is_loopback,
    parse_address,
    parse_stream_url,
    parse_url,
)

HERE = Address("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("url", "address", "authority", "path", "is_secure"),
    [
        ("https://a.example/voice", Address("a.example", 443), "a.example", "/voice", True),
        ("http://a.example", Address("a.example", 80), "a.example", "/", False),
        ("https://A.example:443/", Address("a.example", 443), "a.example", "/", True),
        ("https://a.example:8443/x?b=1", Address("a.example", 8443), "a.example:8443", "/x?b=1", 1),
        ("http://[::1]:8081/x#rc=2", Address("::1", 8081), "[::1]:8081", "/x", False),
    ],
)
def test_a_url_is_taken_apart(
    url: str, address: Address, authority: str, path: str, is_secure: bool
) -> None:
    target = parse_url(url)
    assert (target.address, target.authority, target.path) == (address, authority, path)
    assert target.is_secure == is_secure


def test_what_is_signed_is_the_url_as_written_without_its_fragment() -> None:
    assert parse_url("https://a.example:443/x?b=1#rc=3&rp=all").url == "https://a.example:443/x?b=1"


def test_a_url_may_hold_credentials_which_the_authority_does_not() -> None:
    target = parse_url("https://us%40er:pass@a.example/")
    assert (target.user, target.authority) == ("us@er:pass", "a.example")
    assert "pass" not in repr(target)


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("/next", "https://a.example/next"),
        ("next?x=1", "https://a.example/voice/next?x=1"),
        ("../up", "https://a.example/up"),
        ("//b.example/x", "https://b.example/x"),
        ("", "https://a.example/voice/hook"),
    ],
)
def test_a_relative_url_belongs_to_the_document_that_holds_it(url: str, becomes: str) -> None:
    assert parse_url(url, "https://a.example/voice/hook").url == becomes


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example/voice",
        "ftp://a/x",
        "https://",
        "https://a b/",
        "https://a:99999/",
        "http://é/",
    ],
)
def test_what_is_no_webhook_url_is_11100(url: str) -> None:
    with pytest.raises(BadUrl) as bad:
        parse_url(url)
    assert bad.value.code == 11100


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://a.example/s", 31922),
        ("https://a.example/s", 31922),
        ("a.example:443/s", 31922),
        ("wss:/a.example/s", 31923),
        ("wss:///s", 31923),
        ("wss://a.example:port/s", 31923),
        ("wss://a.example:0/s", 31923),
        ("wss://a example/s", 31923),
        ("wss://a.example/s?a=<b>", 31923),
        ("wss://[::1/s", 31923),
        ("wss://wss://a.example/s", 31923),
        ("", 31923),
    ],
)
def test_what_is_no_stream_url_has_its_code(url: str, code: int) -> None:
    with pytest.raises(BadUrl) as bad:
        parse_stream_url(url, None, may_be_plain=False)
    assert bad.value.code == code


def test_the_query_of_a_stream_is_dropped_and_remarked() -> None:
    target, remark = parse_stream_url("wss://a.example/s?token=x", None, may_be_plain=False)
    assert (target.url, target.path) == ("wss://a.example/s", "/s")
    assert remark is not None
    assert remark.code == 31920
    assert parse_stream_url("wss://a.example/s", None, may_be_plain=False)[1] is None


@pytest.mark.parametrize("url", ["/s", "s", "//a.example/s"])
def test_a_relative_stream_url_takes_the_scheme_of_its_document(url: str) -> None:
    target, _ = parse_stream_url(url, "https://a.example/w", may_be_plain=False)
    assert target.url == "wss://a.example/s"
    with pytest.raises(BadUrl):
        parse_stream_url(url, "http://a.example/w", may_be_plain=False)


def test_a_plain_stream_is_followed_only_where_that_was_allowed() -> None:
    target, _ = parse_stream_url("ws://127.0.0.1:8081/s", None, may_be_plain=True)
    assert target.address == Address("127.0.0.1", 8081)
    assert not target.is_secure


def test_a_detour_changes_where_is_dialled_and_nothing_else() -> None:
    target = parse_url("https://voice.example.com/x")
    detour = Detour("voice.example.com", HERE)
    assert (detour.address(target), detour.is_secure(target)) == (HERE, True)
    plain = Detour("Voice.Example.com", HERE, plain=True)
    assert (plain.address(target), plain.is_secure(target)) == (HERE, False)


def test_a_detour_is_for_its_host_alone() -> None:
    other = parse_url("https://elsewhere.example/x")
    detour = Detour("voice.example.com", HERE, plain=True)
    assert detour.address(other) == Address("elsewhere.example", 443)
    assert detour.is_secure(other)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", HERE),
        ("localhost:1", Address("localhost", 1)),
        ("[::1]:443", Address("::1", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":1", "a:0", "a:65536", "a:1a", "::1:443", "a b:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_told_by_the_host(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
