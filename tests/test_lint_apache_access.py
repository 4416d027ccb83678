"""Apache's linter: who is let in, which host is asked, what the gateway is told."""

import pytest

from apache_snippets import (
    ADDRESS,
    HOSTED,
    PROPER,
    TLS,
    at,
    file,
    levels_of,
    report_of,
    rules_of,
    site,
    vhost,
)
from doctor.linting.findings import Paths

KEEP = "ProxyPreserveHost On"

# Who is let in


@pytest.mark.parametrize(
    ("access", "found"),
    [
        ("Require all granted", []),
        ("Require all denied", [("AP14", "error")]),
        ("Require method POST", [("AP14", "error")]),
        (
            f"{at('', 'Require all granted; Require not method GET', 'RequireAll')}",
            [("AP14", "error")],
        ),
        (f"{at('', 'Require method GET; Require ip 192.0.2.1', 'RequireAny')}", []),
        (f"{at('', 'Require method GET', 'RequireNone')}", [("AP14", "error")]),
        ("Require ip 192.0.2", [("AP16", "warning")]),
        ("Require ip 127", []),
        ("Require ip 0.0.0.0/0", []),
        ("Require local", []),
        ("Require host example.com", []),
        ("Require valid-user", [("AP15", "error")]),
        ("Require valid-user; Require local", []),
        ("Require env known", []),
        ("Require expr %{HTTP_USER_AGENT} =~ /Mozilla/", [("AP14", "error")]),
        ("Require expr %{HTTP_USER_AGENT} =~ /twilio/i", []),
        ("Require expr %{HTTP:Upgrade} == 'websocket' && %{HTTPS} == 'off'", []),
        ("Require expr !(%{HTTP:Upgrade} == 'websocket')", [("AP14", "error")]),
        ("Require expr -z %{HTTP:Origin} || false", []),
        ("Require expr -n %{HTTP:Origin}", [("AP14", "error")]),
        ("Require expr %{REMOTE_ADDR} -ipmatch '10/8'", []),
        (at("POST", "Require all denied", "Limit"), [("AP14", "error")]),
        (at("POST", "Require all denied", "LimitExcept"), [("AP14", "error")]),
        ("Order deny,allow; Deny from all", [("AP14", "error")]),
        ("Order deny,allow; Deny from all; Allow from 127.0.0.1", []),
        ("Order deny,allow; Deny from all; Allow from 192.0.2.1", [("AP16", "warning")]),
        ("Order allow,deny; Allow from all", []),
        ("Order allow,deny; Allow from all; Deny from 192.0.2", []),
        ("Order allow,deny", [("AP14", "error")]),
    ],
)
def test_who_is_let_in(access: str, found: list[tuple[str, str]]) -> None:
    is_of_stream = "method" in access or "expr" in access
    paths = Paths(webhook="", status="") if is_of_stream else Paths()
    assert levels_of(site(f"{PROPER}; {at('/voice', access)}"), paths) == found


def test_a_later_section_decides_and_proxy_sections_count() -> None:
    denied = at('"*"', "Require all denied", "Proxy")
    assert rules_of(site(f"{PROPER}; {denied}")) == {"AP14"}
    assert rules_of(site(f"{PROPER}; {denied}; {at('/voice', 'Require all granted')}")) == set()
    condition = at("\"%{HTTP:Upgrade} == 'websocket'\"", "Require all denied", "If")
    assert rules_of(site(f"{PROPER}; {condition}")) == {"AP14"}
    other = at("\"%{HTTP:Upgrade} == 'h2c'\"", "Require all denied", "If")
    assert rules_of(site(f"{PROPER}; {other}")) == set()


@pytest.mark.parametrize(
    ("section", "applies"),
    [
        ("<Location /voice>", True),
        ("<Location /voice/>", True),
        ("<Location /voi>", False),
        ("<Location />", True),
        ("<Location /*/stream>", True),
        ("<Location ~ ^/v>", True),
        ("<LocationMatch stream$>", True),
        ("<LocationMatch ^/x>", False),
    ],
)
def test_a_section_applies_to_whole_parts_of_a_path(section: str, applies: bool) -> None:
    name = section[1:].partition(" ")[0]
    body = f"{PROPER}; {section}; Require all denied; </{name}>"
    assert rules_of(site(body), Paths(webhook="", status="")) == ({"AP14"} if applies else set())


# Hosts


def test_of_several_hosts_the_one_that_passes_the_paths_on_is_judged() -> None:
    plain = vhost("Redirect / https://voice.example.com/")
    proto = "RequestHeader set X-Forwarded-Proto https"
    secure = vhost(f"{TLS}; {PROPER}; {proto}", port=8443)
    other = vhost(f"ProxyPass / {ADDRESS}/", "www.example.com")
    assert rules_of(file(plain + other + secure)) == set()
    assert rules_of(file(plain)) == {"AP13"}


@pytest.mark.parametrize(
    ("names", "is_taken"),
    [
        ("ServerName VOICE.example.com", True),
        ("ServerName https://voice.example.com:443", True),
        ("ServerAlias *.example.com", True),
        ("ServerAlias a.com voice.example.com", True),
        ("ServerName example.com", False),
    ],
)
def test_a_name_takes_a_host_as_apache_would(names: str, is_taken: bool) -> None:
    first = vhost("DocumentRoot /var/www", "www.test")
    text = file(first + vhost(f"{PROPER}; {names}", "other.test"))
    assert rules_of(text, HOSTED) == (set() if is_taken else {"AP17"})


def test_the_main_server_takes_what_no_virtual_host_is_for() -> None:
    assert rules_of(file("", main=f"Timeout 300; {PROPER}")) == set()
    assert rules_of(file("", main=f"Timeout 300; {KEEP}; ProxyPass / {ADDRESS}/")) == {"AP01"}


def test_lines_of_the_main_server_come_before_those_of_a_host() -> None:
    text = site(PROPER, main=f"Timeout 300; ProxyPass / {ADDRESS}/")
    assert rules_of(text) == {"AP02"}


# Names, schemes, levels


def test_webhook_and_stream_that_lose_the_same_prefix_may_be_meant_so() -> None:
    alike = site(f"{KEEP}; ProxyPass /voice/ {ADDRESS}/ upgrade=websocket")
    assert levels_of(alike) == [("AP10", "warning")]
    doubled = site(f"{KEEP}; ProxyPass /voice {ADDRESS}/voice/ upgrade=websocket")
    assert ("AP10", "error") in levels_of(doubled)


def test_the_scheme_that_is_told_is_the_public_one() -> None:
    def told(value: str, tls: str = "") -> str:
        return site(f"{tls}{PROPER}; RequestHeader set X-Forwarded-Proto {value}")

    assert rules_of(told("http")) == {"AP19"}
    assert rules_of(told("expr=%{REQUEST_SCHEME}")) == set()
    assert rules_of(told("expr=%{REQUEST_SCHEME}"), Paths(scheme="https")) == {"AP19"}
    assert rules_of(told("https env=HTTPS", f"{TLS}; ")) == set()
    assert rules_of(told("https env=HTTPS")) == set()


def test_a_login_is_a_warning_for_the_webhook() -> None:
    login = at("/voice/webhook", "Require valid-user")
    assert levels_of(site(f"{PROPER}; {login}")) == [("AP15", "warning")]
    client = site(
        f"{TLS}; SSLVerifyClient require; {PROPER}; RequestHeader set X-Forwarded-Proto https"
    )
    assert levels_of(client) == [("AP15", "error")]


def test_what_is_not_known_is_remarked() -> None:
    report = report_of(site("WSGIScriptAlias / /srv/app.wsgi"))
    assert report.findings == ()
    assert "WSGIScriptAlias / /srv/app.wsgi" in report.remarks[0]


def test_queries_and_userinfo_are_not_told() -> None:
    body = f"{KEEP}; ProxyPass / http://me:hunter2@127.0.0.1:8080/x/ upgrade=websocket"
    report = report_of(site(body), Paths(stream="/voice/stream?token=hunter2"))
    assert "hunter2" not in repr([each.saw for each in report.findings])
    assert "hunter2" not in repr(report.paths)
