"""Addresses and durations of configurations: what they say, what may be shown, and no failure."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting.urls import is_loopback, read_url, scheme_doubt, seconds, shown_url

PARTS = """http https ws :// : / // @ [ ] ? # % %41 . .. - + 127.0.0.1 ::1 a é ß ℀ 80 99999
    user:word@ ::ffff:0 %eth0 localhost""".split()
URLS = st.lists(st.sampled_from((*PARTS, "\0", "\t", " ")), max_size=10).map("".join) | st.text()


def test_a_url_is_read_in_its_parts() -> None:
    url = read_url("HTTPS://user:word@Voice.Example.com:8443/voice/stream?token=1#end")
    assert url is not None
    assert (url.scheme, url.host, url.port) == ("https", "voice.example.com", 8443)
    assert (url.path, url.query) == ("/voice/stream", "token=1")
    assert url.text == "HTTPS://Voice.Example.com:8443/voice/stream"
    assert not url.is_address
    assert not url.is_loopback


@pytest.mark.parametrize(
    "text",
    ["", "gateway:8080", "http:/gateway", "http://", "://a", "http://[::1", "http://a:99999", "/"],
)
def test_what_is_no_url_is_none(text: str) -> None:
    assert read_url(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@gateway/a?b#c", "http://gateway/a"),
        ("http://user:se@cret@gateway/a", "http://gateway/a"),
        ("http://gateway/a@b", "http://gateway/a@b"),
        ("http://gateway?a=secret@b", "http://gateway"),
        ("http://gateway#secret", "http://gateway"),
        ("unix:/run/gateway.sock", "unix:/run/gateway.sock"),
    ],
)
def test_neither_userinfo_nor_query_is_shown(text: str, shown: str) -> None:
    assert shown_url(text) == shown


SECRETS = st.from_regex(r"[a-z:@%!]{0,9}SECRET[a-z:@%!]{0,9}", fullmatch=True)


@given(SECRETS, st.sampled_from(("", "/a", ":80/a@b")))
def test_no_password_is_shown_whatever_is_in_it(secret: str, rest: str) -> None:
    assert shown_url(f"http://user:{secret}@gateway{rest}?{secret}") == f"http://gateway{rest}"


@settings(max_examples=300, deadline=None)
@given(URLS)
def test_no_text_makes_a_reader_of_urls_fail(text: str) -> None:
    url = read_url(text)
    shown = url.text if url else shown_url(text)
    assert "?" not in shown
    assert "#" not in shown
    if url:
        assert isinstance(url.is_address and url.is_loopback, bool)
    assert isinstance(is_loopback(text), bool)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_name_and_address(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
    url = read_url(f"http://[{host}]/" if ":" in host else f"http://{host}/")
    assert (url is not None and url.is_loopback) == expected


@pytest.mark.parametrize(
    ("is_tls", "host", "port", "doubt"),
    [
        (True, "gateway", 80, "TLS is spoken to port 80, where plain HTTP is usual"),
        (True, "127.0.0.1", 8080, "TLS is spoken to port 8080, where plain HTTP is usual"),
        (True, "gateway", 8080, ""),
        (False, "gateway", 443, "plain HTTP is spoken to port 443, where TLS is usual"),
        (False, "gateway", 8443, "plain HTTP is spoken to port 8443, where TLS is usual"),
        (True, "gateway", 443, ""),
        (False, "gateway", 8080, ""),
        (True, "localhost", None, ""),
    ],
)
def test_a_port_is_doubted_that_hardly_speaks_so(
    is_tls: bool, host: str, port: int | None, doubt: str
) -> None:
    assert scheme_doubt(is_tls, host, port) == doubt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15s", 15.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("1m5s", 65.0),
        ("1ms", 0.001),
        ("500us", 0.0005),
        ("500µs", 0.0005),  # U+00B5, the sign
        ("500μs", 0.0005),  # U+03BC, the letter
        ("2.s", 2.0),
        (".5s", 0.5),
        ("-1m", -60.0),
        ("+1m", 60.0),
        ("0", 0.0),
        ("-0", 0.0),
        ("", None),
        ("15", None),
        (".s", None),
        ("1.5.5s", None),
        ("--5s", None),
        ("+-5s", None),
        ("5 s", None),
        ("5s ", None),
        ("5S", None),
        ("1d", None),
        ("s", None),
        ("293h" * 10_000, None),  # longer than Go counts
        ("9" * 400 + "s", None),
        ("1" * 200_000, None),
        ("1s" * 100_000 + "x", None),
        ("٣s", None),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, expected: float | None) -> None:
    read = seconds(text)
    assert read is None if expected is None else math.isclose(read or 0.0, expected)
    assert (read is None) == (expected is None)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_what_go_prints_of_a_duration_is_read_back(hours: int, minutes: int, rest: int) -> None:
    assert seconds(f"{hours}h{minutes}m{rest}s") == hours * 3600 + minutes * 60 + rest


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(("1", ".", "h", "m", "s", "ns", "µs", "-", " ")), max_size=12))
def test_no_duration_makes_the_reader_fail(parts: list[str]) -> None:
    read = seconds("".join(parts))
    assert read is None or math.isfinite(read)
