"""HAProxy's linter: which backend takes a path, what rules make of it, times and limits."""

from pathlib import Path

import pytest

from doctor.linting.findings import Paths
from haproxy_snippets import (
    DEFAULTS,
    PUBLIC,
    SERVER,
    TLS,
    file,
    levels_of,
    lines,
    proxy,
    report_of,
    rules_of,
    target_of,
    without,
)

# Routing


@pytest.mark.parametrize(
    ("condition", "is_taken"),
    [
        ("if { path /voice/stream }", True),
        ("if { path -m beg /voice/ }", True),
        ("if { path_beg -i /VOICE/ }", True),
        ("if { path_end stream }", True),
        ("if { path_sub oice/str }", True),
        ("if { path_dir voice }", True),
        ("if { path_dir oice }", False),
        ("if { path_reg ^/voice/(stream|media)$ }", True),
        ("if { path_reg ^/(?|a|b) }", False),
        ("if { url_beg /voice }", True),
        ("if !{ path /voice/webhook }", True),
        ("unless { path_beg /admin }", True),
        ("if { hdr(upgrade) -i websocket }", True),
        ("if { hdr(Upgrade) -i WebSocket } { hdr(Connection) -i Upgrade }", True),
        ("if { hdr(connection) close }", False),
        ("if { req.hdr(upgrade) -m found }", True),
        ("if { req.hdr(origin) -m found }", False),
        ("if { query -m found }", False),
        ("if { hdr(upgrade) } !{ hdr(origin) }", True),
        ("if { hdr_sub(user-agent) Twilio }", True),
        ("if { hdr(x-absent) yes } or { path_beg /voice }", True),
        ("if { path_beg /admin } || METH_GET", True),
        ("if METH_POST", False),
        ("if { method GET }", True),
        ("if HTTP_1.1 TRUE !FALSE", True),
        ("if { ssl_fc }", False),
        ("if { src 192.0.2.1 }", False),
        ("if is_voice", True),
        ("if is_voice !is_voice", False),
        ("if is_nothing", False),
        ("if { var(txn.path) -m beg /voice }", True),
        ("if { path,lower,regsub(^/voice,) /stream }", True),
        ("if { path,field(3,/) stream }", True),
        ("if { path,word(1,/) voice }", True),
        ("if { path,crc32 1 }", False),
    ],
)
def test_a_condition_is_read_as_haproxy_would(condition: str, is_taken: bool) -> None:
    front = (
        "bind 127.0.0.1:8480; acl is_voice path_beg /phone; acl is_voice path_beg /voice;"
        f" http-request set-var(txn.path) path; use_backend voice {condition}"
    )
    [stream] = report_of(file(front), Paths(webhook="", status="")).paths
    assert stream.upstream == ("http://127.0.0.1:8080" if is_taken else "")


def test_a_map_chooses_the_backend(tmp_path: Path) -> None:
    (tmp_path / "paths.map").write_text("# ours\n/voice/webhook voice\n/voice/stream old\n")
    front = "bind 127.0.0.1:8480; use_backend %[path,map_beg(paths.map,voice)]"
    text = file(front, more=f"backend old\n{lines('server two 127.0.0.1:1')}")
    report = report_of(text, path=tmp_path / "haproxy.cfg")
    assert [each.upstream for each in report.paths] == [
        "http://127.0.0.1:8080",
        "http://127.0.0.1:1",
        "http://127.0.0.1:8080",
    ]
    (tmp_path / "paths.map").unlink()
    assert {each.rule for each in report_of(text, path=tmp_path / "haproxy.cfg").findings} == {
        "HA03"
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (proxy(server=f"{SERVER} disabled"), "which has no server that is on"),
        (proxy(server=""), "which has no server that is on"),
        (file("bind 127.0.0.1:8480; default_backend gone"), "a backend that does not exist"),
        (file("bind 127.0.0.1:8480"), "it has no default_backend"),
    ],
)
def test_a_path_without_a_server_is_told_with_its_reason(text: str, told: str) -> None:
    findings = report_of(text).findings
    assert {each.rule for each in findings} == {"HA03"}
    assert told in findings[0].saw


def test_a_listen_is_frontend_and_backend() -> None:
    text = f"{DEFAULTS}listen voice\n{lines(f'bind 127.0.0.1:8480; {SERVER}')}"
    assert levels_of(text) == []
    assert target_of(text) == "/voice/stream"
    own = text.replace("bind", "http-request del-header Upgrade\n    bind")
    assert levels_of(own) == [("HA01", "error")]


def test_of_several_names_the_one_with_the_voice_paths_is_judged() -> None:
    front = (
        "bind 127.0.0.1:8480; acl www hdr(host) -i www.example.com;"
        " use_backend www if www; use_backend voice if { hdr_end(host) .voice.example.com }"
    )
    www = f"backend www\n{lines('http-request del-header Upgrade; server web 127.0.0.1:3000')}"
    assert rules_of(file(front, more=www)) == set()
    assert rules_of(file(front, more=www), Paths(host="www.example.com")) == {"HA01"}
    assert rules_of(file(front, more=www), Paths(host="elsewhere.example.com")) == {"HA03"}


def test_a_frontend_that_redirects_to_https_is_not_judged_beside_the_other() -> None:
    plain = "frontend plain\n" + lines(
        "bind 127.0.0.1:8481; redirect scheme https; default_backend voice"
    )
    front = f"{TLS}; http-request set-header X-Forwarded-Proto https; default_backend voice"
    assert rules_of(file(front, more=plain)) == set()
    assert rules_of(DEFAULTS + plain) == {"HA04"}


def test_mode_tcp_is_what_a_proxy_is_in_without_a_mode() -> None:
    rule = "http-request set-header X-Hop haproxy"
    text = file(f"{PUBLIC}; {rule}", defaults=without("mode"))
    assert rules_of(text) == {"HA09"}
    by_sni = file(
        "bind 127.0.0.1:8480; use_backend voice if { req.ssl_sni -i voice.example.com }",
        defaults=without("mode"),
    )
    assert rules_of(by_sni) == set()


# Rules about requests


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("http-request set-path /x%[path]", "/x/voice/stream"),
        ("http-request set-path %[path,regsub(^/voice,)]", "/stream"),
        ('http-request set-path \'%[path,regsub("^/voice/","/",g)]\'', "/stream"),
        ("http-request replace-path /voice/(.*) /\\1", "/stream"),
        ("http-request replace-path /phone/(.*) /\\1", "/voice/stream"),
        ("http-request replace-path stream /\\1media", "/media"),
        ("http-request replace-pathq /voice/(.*) /\\1", "/stream"),
        ("http-request replace-uri ^/voice/(.*) /media/\\1", "/media/stream"),
        ("http-request set-uri /fixed", "/fixed"),
        ("http-request set-pathq /fixed?a=1", "/fixed?a=[hidden]"),
        ("http-request set-query a=1", "/voice/stream?a=[hidden]"),
        ("http-request set-path /%[rand(100)]", ""),
        ("http-request set-path /fixed if METH_POST", "/voice/stream"),
        ("http-request set-path /fixed if { src 192.0.2.1 }", "/voice/stream"),
        (
            "http-request set-var(txn.p) path; http-request set-path /a%[var(txn.p)]",
            "/a/voice/stream",
        ),
    ],
)
def test_what_the_server_is_asked_for(rule: str, target: str) -> None:
    assert target_of(proxy(rule)) == target
    assert target_of(proxy(back=rule)) == target


def test_webhook_and_stream_that_lose_the_same_prefix_may_be_meant_so() -> None:
    alike = proxy("http-request replace-path /voice/(.*) /\\1")
    assert levels_of(alike) == [("HA02", "warning")]
    alone = proxy("http-request replace-path /voice/(.*) /\\1 if METH_GET")
    assert levels_of(alone) == [("HA02", "error")]
    unknown = proxy("http-request set-path /%[rand(100)]")
    assert levels_of(unknown) == [("HA02", "warning")]
    no_query = proxy("http-request set-query a=1")
    assert levels_of(no_query) == [("HA02", "error")]


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ("http-request del-header Connection", True),
        ("http-request del-header upgrade", True),
        ("http-request del-header Sec-WebSocket -m beg", True),
        ("http-request del-header socket-key -m end", True),
        ("http-request del-header ^(?i)(keep-alive|upgrade|te)$ -m reg", True),
        ("http-request del-header grad -m sub", True),
        ("http-request del-header (?|a) -m reg", False),
        ("http-request set-header Connection close", True),
        ("http-request set-header Connection upgrade", False),
        ("http-request set-header Connection keep-alive,Upgrade", False),
        ("http-request set-header Upgrade %[req.hdr(upgrade)]", False),
        ("http-request set-header Upgrade %[rand(2)]", False),
        ("http-request add-header Upgrade websocket", False),
        ("http-request replace-header Connection Upgrade close", True),
        ("http-request replace-value Connection (.*) \\1", False),
        ("http-request set-header Sec-WebSocket-Version 8", True),
        ("http-request del-header Origin", False),
        ("http-request allow; http-request del-header Upgrade", False),
        ("http-request del-header Upgrade if METH_POST", False),
    ],
)
def test_headers_of_the_handshake_are_followed(rule: str, fires: bool) -> None:
    assert rules_of(proxy(rule)) == ({"HA01"} if fires else set())


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("http-request deny", "403"),
        ("http-request deny deny_status 429", "429"),
        ("http-request tarpit", "500"),
        ("http-request silent-drop", "EOF"),
        ("http-request return status 200 content-type text/html string soon", "200"),
        ("http-request reject", "EOF"),
        ("tcp-request content reject", "EOF"),
    ],
)
def test_who_answers_is_told_with_its_status(rule: str, code: str) -> None:
    report = report_of(proxy(rule))
    assert {each.rule for each in report.findings} == {"HA05"}
    assert f"/voice/stream is answered {code}: {rule}" in report.findings[0].saw
    assert report.paths[1].upstream == ""


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ("http-response del-header Connection", True),
        ("http-response set-header Connection close", True),
        ("http-response set-header Connection Upgrade", False),
        ("http-after-response set-header Sec-WebSocket-Accept abc", True),
        ("http-response deny if { status 500 }", False),
        ("http-response set-header X-Frame-Options DENY", False),
        ("http-response return status 404 unless { status 200 }", True),
    ],
)
def test_rules_for_answers_are_asked_about_the_101(rule: str, fires: bool) -> None:
    assert rules_of(proxy(rule)) == ({"HA16"} if fires else set())


# Times, limits, names


@pytest.mark.parametrize(
    ("tunnel", "client", "server", "rules"),
    [
        ("1h", "30s", "30s", set()),
        ("61s", "1s", "1s", set()),
        ("60000", "5m", "5m", {"HA08"}),
        ("1m", "5m", "5m", {"HA08"}),
        ("", "30s", "5m", {"HA07"}),
        ("", "5m", "50000", {"HA07"}),
        ("", "5m", "5m", set()),
        ("soon", "5m", "5m", set()),
    ],
)
def test_the_timeout_that_counts_for_a_silent_stream(
    tunnel: str, client: str, server: str, rules: set[str]
) -> None:
    times = f"timeout client {client}; timeout server {server}"
    if tunnel:
        times += f"; timeout tunnel {tunnel}"
    defaults = f"defaults\n{lines(f'mode http; {times}')}"
    assert rules_of(file(PUBLIC, defaults=defaults)) == rules


def test_timeouts_come_from_the_defaults_that_a_proxy_names() -> None:
    short = without("tunnel").replace("defaults", "defaults short")
    text = short + file(PUBLIC)
    assert rules_of(text) == set()
    named = text.replace("backend voice\n", "backend voice from short\n")
    assert rules_of(named) == {"HA07"}
    built = f"{DEFAULTS.replace('defaults', 'defaults base')}defaults ours from base\n"
    assert rules_of(file(PUBLIC, defaults=f"{built}    timeout client 10s\n")) == set()


def test_a_tunnel_timeout_in_a_frontend_does_not_count() -> None:
    text = file(f"{PUBLIC}; timeout tunnel 1h", defaults=without("tunnel"))
    [finding] = report_of(text).findings
    assert finding.rule == "HA07"
    assert "timeout tunnel 1h (haproxy.cfg:9) is ignored there" in finding.saw


def test_the_scheme_that_is_told_is_the_public_one() -> None:
    http = "http-request set-header X-Forwarded-Proto http"
    assert rules_of(proxy(http, bind=TLS)) == {"HA13"}
    assert rules_of(proxy(http), Paths(scheme="http")) == set()
    assert rules_of(proxy(http), Paths(scheme="https")) == {"HA13"}
    assert rules_of(proxy("option forwarded", bind=TLS)) == set()


def test_a_login_is_an_error_for_the_stream_and_a_warning_for_the_webhook() -> None:
    login = "http-request auth if METH_POST"
    assert {level for _, level in levels_of(proxy(login))} == {"warning"}
    assert ("HA06", "error") in levels_of(proxy("http-request auth"))
    client = f"{TLS} verify required ca-file ca.pem"
    text = proxy("http-request set-header X-Forwarded-Proto https", bind=client)
    assert levels_of(text) == [("HA06", "error")]


def test_a_choice_of_http2_is_a_warning() -> None:
    server = f"{SERVER} ssl verify none alpn h2,http/1.1"
    assert levels_of(proxy(server=server)) == [("HA10", "warning")]


def test_a_server_with_few_places_is_told() -> None:
    assert rules_of(proxy(server=f"{SERVER} maxconn 10")) == {"HA17"}


def test_queries_are_not_told() -> None:
    text = proxy("http-request replace-uri ([^?]*)\\?.* \\1")
    report = report_of(text, Paths(stream="/voice/stream?token=hunter2"))
    assert levels_of(text, Paths(stream="/voice/stream?token=hunter2")) == [("HA02", "error")]
    assert "hunter2" not in repr(report)
