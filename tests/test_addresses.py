"""Addresses: what is accepted as one, and that a public URL stays letter for letter."""

import pytest

from gateway.addresses import (
    HostPort,
    PublicUrl,
    is_loopback,
    parse_host_port,
    parse_public_url,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8081", HostPort("127.0.0.1", 8081)),
        ("[::1]:0", HostPort("::1", 0)),
        ("voice.internal:65535", HostPort("voice.internal", 65535)),
    ],
)
def test_a_host_and_port_is_read_and_written_back(text: str, expected: HostPort) -> None:
    assert parse_host_port(text) == expected
    assert str(expected) == text
    assert parse_host_port(expected) is expected


@pytest.mark.parametrize("text", ["8081", ":8081", "::1:8081", "a:65536", "a:b", "a b:1", "", None])
def test_what_is_no_host_and_port_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="should be HOST:PORT"):
        parse_host_port(text)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_known_by_name_and_by_address(host: str) -> None:
    assert is_loopback(host)
    assert HostPort(host, 1).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com", "localhost.example.com", ""])
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "authority", "prefix"),
    [
        ("https://voice.example.com", "voice.example.com", ""),
        ("https://voice.example.com/", "voice.example.com", ""),
        ("https://Voice.Example.com:8443/a/b/", "Voice.Example.com:8443", "/a/b"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", ""),
        ("http://[::1]:8080/x", "[::1]:8080", "/x"),
        ("http://localhost", "localhost", ""),
        ("https://voice.example.com:65535", "voice.example.com:65535", ""),
        ("https://voice.example.com:1", "voice.example.com:1", ""),
    ],
)
def test_a_public_url_is_kept_as_it_was_written(text: str, authority: str, prefix: str) -> None:
    url = parse_public_url(text)
    assert (url.authority, url.prefix) == (authority, prefix)
    assert str(url) == text.rstrip("/")
    assert parse_public_url(url) is url


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("voice.example.com", "should be https://HOST"),
        ("ftp://voice.example.com", "should be https://HOST"),
        ("HTTPS://voice.example.com", "should be https://HOST"),
        ("wss://voice.example.com", "should be https://HOST"),
        ("https://", "should be https://HOST"),
        ("https:///voice", "should be https://HOST"),
        ("https://user:secret@voice.example.com", "should be https://HOST"),
        ("https://voice.example.com:x", "should be https://HOST"),
        ("https://voice.example.com:0", "has a port that is none"),
        ("https://voice.example.com:65536", "has a port that is none"),
        ("https://voice.example.com?token=1", "should be https://HOST"),
        ("https://voice.example.com/a?token=1", "should have no query"),
        ("https://voice.example.com/a#rc=2", "no fragment"),
        ("https://voice.example.com/a b", "no blanks"),
        ("https://voice.example.com//a", "plain path"),
        ("https://voice.example.com/a/../b", "plain path"),
        ("http://voice.example.com", "should be https://: Twilio opens streams over TLS alone"),
        (None, "should be https://HOST"),
    ],
)
def test_what_twilio_could_not_use_is_refused(text: object, because: str) -> None:
    with pytest.raises(ValueError, match=because):
        parse_public_url(text)


def test_urls_that_twilio_gets_begin_with_the_public_url() -> None:
    url = parse_public_url("https://voice.example.com:8443/pre")
    assert url.url("/voice/webhook?after=stream") == (
        "https://voice.example.com:8443/pre/voice/webhook?after=stream"
    )
    assert url.stream_url("/voice/stream") == "wss://voice.example.com:8443/pre/voice/stream"
    assert PublicUrl("http", "localhost:1").stream_url("/s") == "ws://localhost:1/s"


def test_a_prefix_that_the_ingress_did_not_strip_is_stripped_here() -> None:
    url = parse_public_url("https://voice.example.com/pre")
    assert url.local("/pre/voice/webhook?a=/pre/") == "/voice/webhook?a=/pre/"
    assert url.local("/voice/webhook") == "/voice/webhook"
    assert url.local("/prefix/voice") == "/prefix/voice"
    assert parse_public_url("https://voice.example.com").local("/voice") == "/voice"


@pytest.mark.parametrize(
    ("text", "host"),
    [("https://Voice.Example.com:1/x", "voice.example.com"), ("http://[::1]:1", "::1")],
)
def test_the_host_stands_alone(text: str, host: str) -> None:
    assert parse_public_url(text).host == host
