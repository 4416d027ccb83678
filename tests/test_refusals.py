"""A refused setting names itself, its value and what is allowed, in the words of the file."""

import os
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import SettingsError, load_settings


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
                    "trusted_proxies.1 = '10.0.0.1/8': should be a network such as 10.0.0.0/8 or "
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
        pytest.param('[[route]]\nname = "a"', ["route 'a'.upstream: Field required"], id="missing"),
        pytest.param(
            ROUTE + 'path = "voice"\nhost = "a:80"',
            [
                "route 'a'.path = 'voice': should start with / and hold neither spaces nor ? nor #",
                (
                    "route 'a'.host = 'a:80': should be a name such as voice.example.com or "
                    "*.example.com, no port"
                ),
            ],
            id="path and host",
        ),
        pytest.param(
            ROUTE + 'path = "/a"\nprefix = "/b"',
            ["route 'a': has both path and prefix; a request can match only one of them"],
            id="path beside prefix",
        ),
        pytest.param(
            ROUTE + 'rewrite = "/a"\nadd_prefix = "/b"',
            ["route 'a': has rewrite beside strip_prefix or add_prefix; rewrite replaces all"],
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
        pytest.param(
            '[media]\nread = "some"\nsample_every = 0',
            [
                "media.read = 'some': Input should be 'every', 'sampled' or 'off'",
                "media.sample_every = 0: Input should be greater than or equal to 1",
            ],
            id="reading media",
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
            "route 'a'.pefix: there is no such setting; did you mean prefix?",
            id="route",
        ),
        pytest.param(
            ROUTE + "request_headers = { removed = [] }",
            "route 'a'.request_headers.removed: there is no such setting; did you mean remove?",
            id="headers",
        ),
        pytest.param(
            ROUTE + '[[route]]\nname = "b"\nupstream = "http://y"\npaht = "/"',
            "route 'b'.paht: there is no such setting; did you mean path?",
            id="second route",
        ),
        pytest.param(
            "[gatway]\na = 1",
            "gatway: there is no such setting; did you mean gateway?",
            id="the gateway's table",
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
    assert refusal() == f"route 'a'.{table}.set.{name} = {because}"
    write(ROUTE + f'{table} = {{ remove = ["{name}"] }}')
    assert refusal() == f"route 'a'.{table}.remove.1 = {because}"


def test_a_header_name_must_be_a_token() -> None:
    write(ROUTE + "request_headers = { remove = ['X Y'] }")
    assert refusal() == "route 'a'.request_headers.remove.1 = 'X Y': should be a header name"


def test_a_refused_header_value_is_not_shown_since_it_may_be_a_credential() -> None:
    write(ROUTE + 'request_headers = { set = { Authorization = "Bearer made-up\\r\\n" } }')
    assert refusal() == (
        "route 'a'.request_headers.set.Authorization = [hidden]: should hold neither control "
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


def test_a_misspelled_variable_is_refused_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOPSCOPE_LISTN", "127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"^HOPSCOPE_LISTN: .* did you mean HOPSCOPE_LISTEN\?$"):
        load_settings()


def test_a_route_without_a_name_is_counted_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = '[[route]]\nupstream = "https://x"\n'
    refused = "should be http://: the sidecar stands beside its gateway, without TLS"
    write(ROUTE + 'path = "/a"\n' + unnamed)
    assert refusal().splitlines() == [
        "route 2.name: Field required",
        f"route 2.upstream = 'https://x': {refused}",
    ]
    monkeypatch.setenv("HOPSCOPE_ROUTE", '[7, {"name": "from the environment"}]')
    lines = refusal().splitlines()
    assert lines[0].startswith("route 1 = 7: ")
    assert lines[1].startswith("route 'from the environment'.name = 'from the environment': ")
    lines = refusal(route=[{"name": "flag"}]).splitlines()
    assert lines == ["route 'flag'.upstream: Field required"]


def test_a_route_table_of_another_kind_is_refused() -> None:
    write("route = 5")
    assert refusal() == "route = 5: Input should be a valid list"
