"""nginx's linter: what single directives are read as."""

import pytest

from doctor.linting.findings import Paths
from nginx_snippets import HEADERS, PASS, PROPER, TLS, at, report_of, rules_of, site, voice, without


@pytest.mark.parametrize(
    ("connection", "upgrade", "rules"),
    [
        ("$connection_upgrade", "$http_upgrade", set()),
        ("upgrade", "$http_upgrade", {"NG05"}),
        ("'keep-alive, Upgrade'", "$http_upgrade", {"NG05"}),
        ("$http_connection", "$http_upgrade", set()),
        ("close", "$http_upgrade", {"NG02"}),
        ("''", "$http_upgrade", {"NG02"}),
        ("keep-alive", "$http_upgrade", {"NG02"}),
        ("$connection_upgrade", "websocket", set()),
        ("$connection_upgrade", "''", {"NG01"}),
        ("$connection_upgrade", "h2c", {"NG01"}),
        ("upgrade", "websocket", set()),
    ],
)
def test_upgrade_and_connection_are_read_as_they_are_sent(
    connection: str, upgrade: str, rules: set[str]
) -> None:
    text = voice(PASS).replace("$connection_upgrade;\n", f"{connection};\n")
    assert rules_of(text.replace("Upgrade $http_upgrade;\n", f"Upgrade {upgrade};\n")) == rules


def test_a_map_decides_what_connection_is_sent() -> None:
    inverted = voice(PASS).replace("default upgrade; '' close;", "default close; '' upgrade;")
    assert rules_of(inverted) == {"NG02", "NG05"}
    by_case = voice(PASS).replace("default upgrade;", "default close; ~*^websocket$ upgrade;")
    assert rules_of(by_case) == set()


def test_headers_that_the_server_sets_are_lost_with_one_of_the_location() -> None:
    text = site(HEADERS + at("/voice/", f"proxy_set_header X-Hop nginx; {PASS}"))
    found = {each.rule: each for each in report_of(text).findings}
    assert set(found) == {"NG03", "NG20", "NG22"}
    assert "proxy_set_header X-Hop nginx (nginx.conf:13)" in found["NG03"].saw
    assert "proxy_set_header Upgrade $http_upgrade (nginx.conf:9)" in found["NG03"].saw


@pytest.mark.parametrize(
    ("timeout", "fires"),
    [
        *((text, True) for text in ("60", "60s", "1m", "30s", "59999ms")),
        *((text, False) for text in ("61s", "1h", "'1m 30s'", "1d", "1m30s")),
    ],
)
def test_a_read_timeout_of_a_minute_is_short(timeout: str, fires: bool) -> None:
    text = voice(PASS).replace("proxy_read_timeout 1h", f"proxy_read_timeout {timeout}")
    assert rules_of(text) == ({"NG22"} if fires else set())


@pytest.mark.parametrize(
    ("host", "fires"),
    [
        ("$host", False),
        ("$http_host", False),
        ("voice.example.com", False),
        ("$server_name", False),
        ("$proxy_host", True),
        ("localhost", True),
        ("$host:$server_port", True),
        ("$host:443", False),
    ],
)
def test_the_host_that_is_told_is_the_public_one(host: str, fires: bool) -> None:
    text = voice(PASS).replace("Host $host;", f"Host {host};")
    expected = {"NG20"} if fires and host != "$proxy_host" else set()
    assert rules_of(text) == expected
    forwarded = without("Host").replace(PASS, f"proxy_set_header X-Forwarded-Host $host; {PASS}")
    assert rules_of(forwarded) == set()


@pytest.mark.parametrize(
    ("listen", "value", "scheme", "fires"),
    [
        (TLS, "", "", True),
        (TLS, "$scheme", "", False),
        (TLS, "http", "", True),
        ("listen 8480;", "", "", False),
        ("listen 8480;", "$scheme", "", False),
        ("listen 8480;", "$scheme", "https", True),
        ("listen 8480;", "$http_x_forwarded_proto", "https", False),
        ("listen 8480;", "https", "https", False),
        ("listen 8480;", "$scheme", "http", False),
    ],
)
def test_the_scheme_that_is_told_is_the_public_one(
    listen: str, value: str, scheme: str, fires: bool
) -> None:
    header = f"proxy_set_header X-Forwarded-Proto {value};" if value else ""
    text = voice(f"{header} {PASS}", listen=listen)
    assert rules_of(text, Paths(scheme=scheme)) == ({"NG21"} if fires else set())


@pytest.mark.parametrize(
    ("access", "level"),
    [
        ("deny all;", "error"),
        ("allow 192.0.2.0/24; deny all;", "warning"),
        ("deny 192.0.2.1;", None),
        ("allow all; deny all;", None),
        ("allow 127.0.0.1; deny all;", None),
        ("allow ::1; deny all;", None),
        ("allow unix:; deny all;", None),
        ("allow 192.0.2.1; allow 172.16.0.0/12; deny all;", None),
    ],
)
def test_lists_of_addresses_are_read_in_their_order(access: str, level: str | None) -> None:
    levels = {each.level for each in report_of(voice(f"{access} {PASS}")).findings}
    assert levels == ({level} if level else set())


def test_a_login_is_an_error_for_the_stream_and_a_warning_for_the_webhook() -> None:
    login = "auth_basic Staff; auth_basic_user_file users;"
    hook = voice(PASS, server=at("= /voice/webhook", f"{PROPER} {login} {PASS}"))
    assert [(each.rule, each.level) for each in report_of(hook).findings] == [("NG23", "warning")]
    asked = report_of(voice(f"auth_request /auth; {PASS}")).findings
    assert [(each.rule, each.level) for each in asked] == [("NG23", "warning")]
    client = voice(f"proxy_set_header X-Forwarded-Proto https; {PASS}", listen=TLS).replace(
        "ssl_certificate voice", "ssl_verify_client on; ssl_certificate voice"
    )
    assert [(each.rule, each.level) for each in report_of(client).findings] == [("NG23", "error")]


def test_limits_that_no_few_calls_reach_are_none() -> None:
    zone = "limit_conn_zone $binary_remote_addr zone=calls:1m;"
    assert rules_of(voice(f"limit_conn calls 500; {PASS}", http=zone)) == set()
    assert rules_of(voice(f"limit_conn calls 5; {PASS}", http=zone)) == {"NG25"}
    rate = "limit_req_zone $binary_remote_addr zone=calls:1m rate=1r/s;"
    assert rules_of(voice(f"limit_req zone=calls; {PASS}", http=rate)) == {"NG25"}


def test_the_client_s_headers_may_not_be_cut_off() -> None:
    assert rules_of(voice(f"proxy_pass_request_headers off; {PASS}")) == {"NG06", "NG07"}
