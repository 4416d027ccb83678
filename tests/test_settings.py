"""Settings: where they come from, which wins, and how a wrong one is refused."""

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
    monkeypatch.setenv("HOPSCOPE_PUBLIC_URL", "https://voice.example.com")
    assert load_settings().admin == HostPort("127.0.0.1", 9101)
    assert admin_token() == "made-up"


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


ROUTE = '[[route]]\nname = "a"\nupstream = "http://x"\n'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            'listen = "8080"',
            ["listen = '8080': should be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080"],
            id="address",
        ),
        pytest.param(
            "[limits]\nhead_bytes = 12",
            ["limits.head_bytes = 12: Input should be greater than or equal to 1024"],
            id="limit too small",
        ),
        pytest.param(
            "drain_seconds = nan",
            ["drain_seconds = nan: Input should be less than or equal to 3600"],
            id="not a number",
        ),
        pytest.param(
            "[history]\ndays = 0\nrows = 5",
            [
                "history.days = 0: Input should be greater than 0",
                "history.rows = 5: Input should be greater than or equal to 100",
            ],
            id="two at once",
        ),
        pytest.param(
            'trusted_proxies = ["10.0.0.1/8"]',
            [
                (
                    "trusted_proxies.0 = '10.0.0.1/8': should be a network such as 10.0.0.0/8 or "
                    "fd00::/8, with no bits behind its prefix"
                )
            ],
            id="network",
        ),
        pytest.param(
            'upstream = "https://gateway"',
            [
                (
                    "upstream = 'https://gateway': should be http://: the sidecar stands beside "
                    "its gateway, without TLS"
                )
            ],
            id="https upstream",
        ),
        pytest.param('[[route]]\nname = "a"', ["route.0.upstream: Field required"], id="missing"),
        pytest.param(
            ROUTE + 'path = "voice"\nhost = "a:80"',
            [
                "route.0.path = 'voice': should start with / and hold neither spaces nor ? nor #",
                (
                    "route.0.host = 'a:80': should be a name such as voice.example.com or "
                    "*.example.com, no port"
                ),
            ],
            id="path and host",
        ),
        pytest.param(
            ROUTE + 'path = "/a"\nprefix = "/b"',
            ["route.0: has both path and prefix; a request can match only one of them"],
            id="path beside prefix",
        ),
        pytest.param(
            ROUTE + 'rewrite = "/a"\nadd_prefix = "/b"',
            ["route.0: has rewrite beside strip_prefix or add_prefix; rewrite replaces all"],
            id="rewrite beside a prefix",
        ),
        pytest.param(
            ROUTE + 'path = "/a"\n' + ROUTE + 'path = "/b"',
            ["settings: route 'a' is there twice; a default upstream is 'default'"],
            id="duplicate name",
        ),
        pytest.param(
            'upstream = "http://b"\n' + ROUTE.replace('"a"', '"default"') + 'path = "/a"',
            ["settings: route 'default' is there twice; a default upstream is 'default'"],
            id="the default's name",
        ),
        pytest.param(
            ROUTE + ROUTE.replace('"a"', '"b"') + 'path = "/b"',
            [
                (
                    "settings: route 'b' can never match: 'a' stands before it and takes "
                    "everything it would; move it up"
                )
            ],
            id="unreachable route",
        ),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_its_value_and_what_is_allowed(
    text: str, lines: list[str]
) -> None:
    write(text)
    assert refusal().splitlines() == lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            "listn = 1", "listn: there is no such setting; did you mean listen?", id="top"
        ),
        pytest.param(
            "[limit]\na = 1", "limit: there is no such setting; did you mean limits?", id="table"
        ),
        pytest.param(
            "[limits]\nhead_byte = 1",
            "limits.head_byte: there is no such setting; did you mean head_bytes?",
            id="nested",
        ),
        pytest.param(
            ROUTE + 'pefix = "/"',
            "route.0.pefix: there is no such setting; did you mean prefix?",
            id="route",
        ),
        pytest.param(
            ROUTE + "request_headers = { removed = [] }",
            "route.0.request_headers.removed: there is no such setting; did you mean remove?",
            id="headers",
        ),
        pytest.param("zzz = 1", "zzz: there is no such setting", id="nothing near"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(text: str, line: str) -> None:
    write(text)
    assert refusal() == line


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Trailer"])
@pytest.mark.parametrize("table", ["request_headers", "response_headers"])
def test_what_frames_a_message_is_not_a_routes_to_change(table: str, name: str) -> None:
    because = f"{name!r}: frames the message and is not a route's to change"
    write(ROUTE + f'{table} = {{ set = {{ {name} = "1" }} }}')
    assert refusal() == f"route.0.{table}.set.{name} = {because}"
    write(ROUTE + f'{table} = {{ remove = ["{name}"] }}')
    assert refusal() == f"route.0.{table}.remove.0 = {because}"


def test_a_header_name_must_be_a_token() -> None:
    write(ROUTE + "request_headers = { remove = ['X Y'] }")
    assert refusal() == "route.0.request_headers.remove.0 = 'X Y': should be a header name"


def test_a_refused_header_value_is_not_shown_since_it_may_be_a_credential() -> None:
    write(ROUTE + 'request_headers = { set = { Authorization = "Bearer made-up\\r\\n" } }')
    assert refusal() == (
        "route.0.request_headers.set.Authorization = [hidden]: should hold neither control "
        "characters nor characters beyond latin-1"
    )


def test_a_wrong_variable_is_refused_like_a_line_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOPSCOPE_LIMITS__CONNECTIONS", "many")
    monkeypatch.setenv("HOPSCOPE_LIMITS__HEAD_BITES", "1")
    lines = refusal().splitlines()
    assert lines[0].startswith("limits.connections = 'many': Input should be a valid integer")
    assert lines[1] == "limits.head_bites: there is no such setting; did you mean head_bytes?"


def test_a_list_in_the_environment_that_is_not_json_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOPSCOPE_TRUSTED_PROXIES", "10.0.0.0/8")
    assert refusal().startswith("HOPSCOPE_TRUSTED_PROXIES = '10.0.0.0/8': should be JSON")


@pytest.mark.parametrize(
    "text", [b"listen = = 1", b"[limits]\n[limits]\n", b'listen = "\xff"'], ids=repr
)
def test_a_file_that_is_not_toml_is_refused_by_its_name(text: bytes) -> None:
    Path("hopscope.toml").write_bytes(text)
    assert refusal().startswith("hopscope.toml: ")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert "No such file" in refusal(file=missing)
    assert str(missing) in refusal(file=missing)


def test_a_misspelled_variable_is_refused_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOPSCOPE_LISTN", "127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"^HOPSCOPE_LISTN: .* did you mean HOPSCOPE_LISTEN\?$"):
        load_settings()


def test_an_admin_address_beyond_loopback_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="HOPSCOPE_ADMIN_TOKEN"):
        load_settings(admin="192.0.2.1:9101")
    monkeypatch.setenv("HOPSCOPE_ADMIN_TOKEN", "made-up")
    assert load_settings(admin="192.0.2.1:9101").admin.host == "192.0.2.1"
