"""Settings: where they come from, and which wins."""

import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest

from proxy.routes import HeaderEdits, Upstream
from proxy.settings import (
    HistorySettings,
    HostPort,
    Limits,
    MediaSettings,
    Settings,
    SettingsError,
    admin_token,
    load_settings,
    parse_host_port,
    parse_upstream,
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder and no HOPSCOPE_* in the environment."""
    for name in os.environ:
        if name.startswith("HOPSCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("hopscope.toml").write_text(text, "utf-8")


def refusal(**flags: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(**flags)
    return str(refused.value)


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = load_settings()
    assert str(settings.listen) == "127.0.0.1:8080"
    assert str(settings.admin) == "127.0.0.1:9101"
    assert settings.upstream is None
    assert settings.routes() == ()
    assert settings.proxy_protocol is False
    assert [str(network) for network in settings.trusted_proxies] == ["127.0.0.0/8", "::1/128"]
    assert settings.drain_seconds == 30
    assert settings.history == HistorySettings(enabled=True, file=None, days=14, rows=100_000)


def test_no_limit_cuts_a_call_by_default() -> None:
    limits = load_settings().limits
    assert (limits.session_idle_seconds, limits.session_seconds) == (0, 0)
    bounded = limits.model_dump(exclude={"session_idle_seconds", "session_seconds"})
    assert all(value > 0 for value in bounded.values())


def test_flags_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(
        'listen = "127.0.0.1:1"\nadmin = "127.0.0.1:1"\nupstream = "http://file:1"\n'
        "drain_seconds = 1\n"
    )
    monkeypatch.setenv("HOPSCOPE_ADMIN", "127.0.0.1:2")
    monkeypatch.setenv("HOPSCOPE_UPSTREAM", "http://environment:2")
    settings = load_settings(upstream="http://flag:3", listen=None)
    assert settings.listen == HostPort("127.0.0.1", 1)
    assert settings.admin == HostPort("127.0.0.1", 2)
    assert settings.upstream == Upstream("flag", 3)
    assert settings.drain_seconds == 1


def test_nested_settings_of_all_sources_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[limits]\nhead_bytes = 2048\nconnections = 7\n[history]\ndays = 3\nrows = 200\n")
    monkeypatch.setenv("HOPSCOPE_LIMITS__HEAD_BYTES", "4096")
    monkeypatch.setenv("HOPSCOPE_HISTORY__ROWS", "300")
    settings = load_settings(history={"enabled": False})
    assert settings.limits == Limits(head_bytes=4096, connections=7)
    assert settings.history == HistorySettings(enabled=False, days=3, rows=300)


def test_lists_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSCOPE_TRUSTED_PROXIES", '["10.0.0.0/8", "fd00::/8", "192.0.2.1"]')
    assert load_settings().trusted_proxies == [
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
        ipaddress.ip_network("192.0.2.1/32"),
    ]


def test_a_named_file_is_read_instead_of_the_default_one(tmp_path: Path) -> None:
    write('listen = "127.0.0.1:1"')
    other = tmp_path / "other.toml"
    other.write_text('listen = "127.0.0.1:2"')
    assert load_settings(other).listen.port == 2


def test_variables_of_others_do_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPSCOPE_ADMIN_TOKEN", "made-up")
    for name in ("HOPSCOPE_PUBLIC_URL", "HOPSCOPE_CALLS_TOKEN", "HOPSCOPE_AGENT_API_KEY"):
        monkeypatch.setenv(name, "made-up")
    assert load_settings().admin == HostPort("127.0.0.1", 9101)
    assert admin_token() == "made-up"


def test_what_is_the_gateways_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[gateway]\nvoice = { names = ["onyx"] }\n[gateway.limits]\ncalls = "many"\n')
    for name in ("HOPSCOPE_GATEWAY_LISTEN", "HOPSCOPE_GATEWAY_LIMITS__CALLS"):
        monkeypatch.setenv(name, "anything")
    assert load_settings().model_dump() == Settings().model_dump()


def test_reading_media_can_be_sampled_or_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().media == MediaSettings(read="every", sample_every=10)
    write('[media]\nread = "sampled"\nsample_every = 3\n')
    assert load_settings().media == MediaSettings(read="sampled", sample_every=3)
    monkeypatch.setenv("HOPSCOPE_MEDIA__READ", "off")
    assert load_settings().media == MediaSettings(read="off", sample_every=3)


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_token_is_no_token(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("HOPSCOPE_ADMIN_TOKEN", value)
    assert admin_token() is None


def test_a_route_carries_everything_that_was_written() -> None:
    write(
        """
        upstream = "http://127.0.0.1:8081"
        [[route]]
        name = "stream"
        upstream = "unix:/run/gateway.sock"
        prefix = "/voice"
        host = "*.example.com"
        strip_prefix = "/voice"
        add_prefix = "/v1"
        connect_seconds = 1
        [route.request_headers]
        set = { X-Real-IP = "192.0.2.1" }
        remove = ["X-Secret"]
        """
    )
    stream, default = load_settings().routes()
    assert stream.name == "stream"
    assert stream.upstream == Upstream(unix_path="/run/gateway.sock")
    assert (stream.prefix, stream.host) == ("/voice", "*.example.com")
    assert stream.rewritten("/voice/stream?a") == "/v1/stream?a"
    assert stream.request_headers == HeaderEdits((("X-Real-IP", "192.0.2.1"),), ("X-Secret",))
    assert stream.response_headers == HeaderEdits()
    assert (stream.connect_seconds, stream.handshake_seconds) == (1, 15)
    assert (default.name, default.upstream) == ("default", Upstream("127.0.0.1", 8081))


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:8080", HostPort("127.0.0.1", 8080), True),
        ("[::1]:80", HostPort("::1", 80), True),
        ("localhost:0", HostPort("localhost", 0), True),
        ("0.0.0.0:80", HostPort("0.0.0.0", 80), False),
        ("[::]:80", HostPort("::", 80), False),
        ("voice.example.com:443", HostPort("voice.example.com", 443), False),
    ],
)
def test_an_address_is_read_and_written_alike(
    text: str, address: HostPort, is_loopback: bool
) -> None:
    assert parse_host_port(text) == address
    assert str(address) == text
    assert address.is_loopback is is_loopback


@pytest.mark.parametrize("text", ["", ":80", "a", "a:", "a:x", "a:65536", "::1:80", "a b:80", 8080])
def test_what_is_not_an_address_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("http://127.0.0.1:8081", Upstream("127.0.0.1", 8081)),
        ("http://127.0.0.1:8081/", Upstream("127.0.0.1", 8081)),
        ("ws://gateway:8081", Upstream("gateway", 8081)),
        ("gateway:8081", Upstream("gateway", 8081)),
        ("http://gateway", Upstream("gateway", 80)),
        ("http://[::1]:8081", Upstream("::1", 8081)),
        ("http://[::1]", Upstream("::1", 80)),
        ("unix:/run/gateway.sock", Upstream(unix_path="/run/gateway.sock")),
    ],
)
def test_an_upstream_is_an_http_address_or_a_unix_socket(text: str, upstream: Upstream) -> None:
    assert parse_upstream(text) == upstream


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("https://gateway", "should be http://: the sidecar stands beside its gateway"),
        ("wss://gateway/", "should be http://: the sidecar stands beside its gateway"),
        ("http://gateway/voice", "should have no path"),
        ("http://gateway?a=b", "should have no path"),
        ("ftp://gateway:21", "should be http://HOST:PORT or unix:/path/to.sock"),
        ("http://gateway:99999", "should be http://HOST:PORT or unix:/path/to.sock"),
        ("http://a b:1", "should be http://HOST:PORT or unix:/path/to.sock"),
        ("unix:gateway.sock", "should be http://HOST:PORT or unix:/path/to.sock"),
        ("", "should be http://HOST:PORT or unix:/path/to.sock"),
        (8081, "should be http://HOST:PORT or unix:/path/to.sock"),
    ],
)
def test_an_upstream_that_cannot_be_dialled_is_refused(text: object, because: str) -> None:
    with pytest.raises(ValueError, match=because.replace(".", r"\.")):
        parse_upstream(text)


@pytest.mark.parametrize(
    "text", [b"listen = = 1", b"[limits]\n[limits]\n", b'listen = "\xff"'], ids=repr
)
def test_a_file_that_is_not_toml_is_refused_by_its_name(text: bytes) -> None:
    Path("hopscope.toml").write_bytes(text)
    assert refusal().startswith("hopscope.toml: ")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert refusal(file=missing) == f"{missing}: there is no such file; is the path right?"
    assert str(missing) in refusal(file=missing)


def test_an_admin_address_beyond_loopback_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="HOPSCOPE_ADMIN_TOKEN"):
        load_settings(admin="192.0.2.1:9101")
    monkeypatch.setenv("HOPSCOPE_ADMIN_TOKEN", "made-up")
    assert load_settings(admin="192.0.2.1:9101").admin.host == "192.0.2.1"
