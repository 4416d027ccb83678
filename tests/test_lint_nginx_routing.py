"""nginx's linter: which server and which location takes a path, and what the path becomes."""

import pytest

from doctor.linting.findings import Paths
from doctor.linting.nginx_parser import parse
from doctor.linting.nginx_passage import follow
from doctor.linting.nginx_servers import servers
from doctor.linting.ways import requests_of
from nginx_snippets import (
    FILE,
    PASS,
    PROPER,
    TLS,
    at,
    becomes,
    file,
    report_of,
    rules_of,
    site,
    voice,
)

# Locations


@pytest.mark.parametrize(
    ("locations", "taken"),
    [
        (["/", "/voice/"], "location /voice/"),
        (["/voice/stream", "/voice/"], "location /voice/stream"),
        (["/voice/stream", "= /voice/stream"], "location = /voice/stream"),
        (["/voice/", r"~ ^/voice/(stream|webhook)$"], r"location ~ ^/voice/(stream|webhook)$"),
        (["^~ /voice/", r"~ stream"], "location ^~ /voice/"),
        (["/voice/", r"~* ^/VOICE/"], r"location ~* ^/VOICE/"),
        (["/voice/", r"~ ^/VOICE/"], "location /voice/"),
        ([r"~ /str", r"~ /stream"], r"location ~ /str"),
        ([r"~ ^/(?<app>\w+)/stream", "/"], r"location ~ ^/(?<app>\w+)/stream"),
        (["^~ /voice", "/voice/stream", "~ stream"], "location ~ stream"),
        (["=/voice/stream", "/"], "location =/voice/stream"),
        (["/voice/stream/", "/voice/"], "location /voice/"),
    ],
)
def test_the_location_that_nginx_would_take_takes_the_stream(
    locations: list[str], taken: str
) -> None:
    body = "".join(at(each, PROPER + PASS) for each in locations)
    if "/voice/stream/" in locations:
        body = body.replace("location /voice/stream/ {", "location /voice/stream/x {")
    assert becomes(site(body), "/voice/stream")[0] == taken


def test_nested_locations_are_searched_in_the_one_that_takes_the_path() -> None:
    inner = at("/voice/stream", PASS) + at("~ hook$", PASS)
    text = site(PROPER + at("/voice/", f"{PASS}\n{inner}") + at("~ status$", PASS))
    assert becomes(text, "/voice/stream")[0] == "location /voice/stream"
    assert becomes(text, "/voice/webhook")[0] == "location ~ hook$"
    assert becomes(text, "/voice/status")[0] == "location ~ status$"
    assert rules_of(text) == set()


def test_proxy_pass_is_not_inherited_by_a_nested_location() -> None:
    text = site(at("/voice/", PROPER + PASS + at("/voice/stream", "expires off;")))
    assert rules_of(text) == {"NG13"}


def test_a_location_with_a_slash_redirects_the_path_without_one() -> None:
    text = site(at("/voice/stream/", PROPER + PASS) + at("/", PROPER + PASS))
    [finding] = report_of(text).findings
    assert (finding.rule, finding.level) == ("NG14", "error")
    assert "301 by location /voice/stream/" in finding.saw
    assert "to the path with a slash" in finding.saw


def test_an_expression_that_cannot_be_read_is_told_and_taken_not_to_match() -> None:
    text = site(at(r"~ ^/voice/(?|a|b)", "return 404;") + at("/", PROPER + PASS))
    report = report_of(text)
    assert report.findings == ()
    assert "cannot be read here" in report.remarks[0]


# Paths behind proxy_pass


@pytest.mark.parametrize(
    ("location", "address", "target"),
    [
        ("/voice/", "http://127.0.0.1:8080", "/voice/stream"),
        ("/voice/", "http://127.0.0.1:8080/", "/stream"),
        ("/voice", "http://127.0.0.1:8080/", "//stream"),
        ("/voice/", "http://127.0.0.1:8080/fixed", "/fixedstream"),
        ("/voice/", "http://127.0.0.1:8080/fixed/", "/fixed/stream"),
        ("= /voice/stream", "http://127.0.0.1:8080/media", "/media"),
        ("/voice/", "http://unix:/run/gateway.sock:/", "/stream"),
        ("/voice/", "http://unix:/run/gateway.sock", "/voice/stream"),
        (r"~ ^/voice/(.+)$", "http://127.0.0.1:8080/calls/$1", "/calls/stream"),
        (r"~ ^/(?<app>\w+)/(?<rest>.+)$", "http://127.0.0.1:8080/$rest/$app", "/stream/voice"),
        ("/voice/", "http://127.0.0.1:8080$request_uri", "/voice/stream"),
        ("/voice/", "http://127.0.0.1:8080$uri$is_args$args", "/voice/stream"),
    ],
)
def test_what_the_gateway_is_asked_for(location: str, address: str, target: str) -> None:
    text = site(at(location, f"{PROPER} proxy_pass {address};"))
    assert becomes(text, "/voice/stream")[2] == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/voice/a%2Fb//stream", "/voice/a/b/stream"),
        ("/voice/./x/../stream", "/voice/stream"),
        ("/voice/a%20b", "/voice/a%20b"),
    ],
)
def test_a_path_that_is_replaced_was_normalised_before(path: str, target: str) -> None:
    text = voice("proxy_pass http://127.0.0.1:8080/voice/;")
    assert becomes(text, path, Paths(stream=path))[2] == target
    assert rules_of(text, Paths(stream=path)) == ({"NG12"} if path != target else set())
    raw = voice(PASS)
    assert becomes(raw, path, Paths(stream=path))[2] == path


def test_queries_are_passed_on_and_not_told() -> None:
    paths = Paths(stream="/voice/stream?token=hunter2")
    report = report_of(voice("proxy_pass http://127.0.0.1:8080/voice/;"), paths)
    assert report.findings == ()
    assert report.paths[1].target == report.paths[1].path == "/voice/stream?token=[hidden]"
    [lost] = report_of(voice("proxy_pass http://127.0.0.1:8080$uri;"), paths).findings
    assert (lost.rule, lost.level) == ("NG12", "error")
    assert "hunter2" not in lost.saw


def test_webhook_and_stream_that_lose_the_same_prefix_may_be_meant_so() -> None:
    alike = report_of(voice("proxy_pass http://127.0.0.1:8080/;"))
    assert [(each.rule, each.level) for each in alike.findings] == [("NG10", "warning")]
    other = at("= /voice/webhook", f"{PROPER} proxy_pass http://127.0.0.1:8080;")
    alone = report_of(voice("proxy_pass http://127.0.0.1:8080/;", server=other))
    assert [(each.rule, each.level) for each in alone.findings] == [("NG10", "error")]
    elsewhere = at("= /voice/webhook", "return 404;")
    alone = report_of(voice("proxy_pass http://127.0.0.1:8080/;", server=elsewhere))
    assert [(each.rule, each.level) for each in alone.findings] == [
        ("NG10", "warning"),
        ("NG15", "error"),
    ]
    glued = report_of(voice("proxy_pass http://127.0.0.1:8080/x;"))
    assert [(each.rule, each.level) for each in glued.findings] == [("NG10", "error")]


@pytest.mark.parametrize(
    ("rewrite", "target"),
    [
        ("rewrite ^/voice/(.*)$ /$1 break;", "/stream?a"),
        ("rewrite ^ /gone break;", "/gone?a"),
        ("rewrite ^/voice/(.*)$ /$1?b break;", "/stream?b&a"),
        ("rewrite ^/voice/(.*)$ /$1?b? break;", "/stream?b?"),
        ("rewrite ^/voice/(.*)$ /$1? break;", "/stream"),
        ("rewrite ^/phone/(.*)$ /$1 break;", "/voice/stream?a"),
        ("if ($request_method = GET) { rewrite ^ /get break; }", "/get?a"),
        ("if ($request_method = POST) { rewrite ^ /post break; }", "/voice/stream?a"),
        ("rewrite stream$ /voice/media break; rewrite media$ /never break;", "/voice/media?a"),
        ("set $to /set; rewrite ^ $to break;", "/set?a"),
    ],
)
def test_a_rewrite_changes_what_is_asked_for(rewrite: str, target: str) -> None:
    text = voice(f"{rewrite} {PASS}")
    [server] = servers(parse(text, FILE))
    [stream] = [
        follow(server, each)
        for each in requests_of(Paths(stream="/voice/stream?a"), "")
        if each.role == "stream"
    ]
    assert stream.target == target


def test_a_rewrite_without_break_looks_for_another_location() -> None:
    text = site(
        at("/voice/", "rewrite ^/voice/(.*)$ /calls/$1 last;")
        + at("/calls/", f"{PROPER} proxy_pass http://127.0.0.1:8080/;")
    )
    assert becomes(text, "/voice/stream") == (
        "location /calls/",
        "http://127.0.0.1:8080",
        "/stream",
    )


def test_rewrites_that_go_round_in_circles_are_answered_500() -> None:
    text = site(at("/a", "rewrite ^ /voice/x;") + at("/voice/", "rewrite ^ /a;"))
    assert rules_of(text) == {"NG15"}


def test_a_rewrite_of_the_server_comes_before_its_locations() -> None:
    text = site("    rewrite ^/voice/(.*)$ /calls/$1;\n" + at("/calls/", PROPER + PASS))
    assert becomes(text, "/voice/stream")[2] == "/calls/stream"
    assert {(each.rule, each.level) for each in report_of(text).findings} == {("NG11", "warning")}


# Who answers


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        ("try_files $uri /index.html;", {"NG13"}),
        ("try_files $uri =404;", {"NG13"}),
        ("try_files $uri @gateway;", set()),
        ("try_files /a /b @gateway;", set()),
        ("try_files $uri @nobody;", {"NG15"}),
        ("error_page 404 = @gateway; internal;", set()),
        ("error_page 418 = @gateway; if ($http_upgrade) { return 418; }", {"NG13"}),
        ("error_page 418 = @gateway; return 418;", set()),
        ("error_page 418 = @gateway; return 418 'teapot';", {"NG15"}),
        ("error_page 418 = /gateway; return 418;", set()),
        (f"internal; {PROPER} {PASS}", {"NG13"}),
        ("root /var/www;", {"NG13"}),
        ("return 204;", {"NG15"}),
        ("return https://elsewhere.example.com;", {"NG14"}),
        ("rewrite ^ https://elsewhere.example.com$request_uri permanent;", {"NG14"}),
        (f"limit_except GET {{ deny all; }} {PROPER} {PASS}", {"NG24"}),
        (f"limit_except POST {{ deny all; }} {PROPER} {PASS}", {"NG24"}),
        (f"limit_except GET POST {{ deny all; }} {PROPER} {PASS}", set()),
        (f"if ($http_user_agent ~* twilio) {{ return 403; }} {PROPER} {PASS}", {"NG15"}),
        (f"if ($http_user_agent ~* curl) {{ return 403; }} {PROPER} {PASS}", set()),
        (f"if ($http_origin = '') {{ return 403; }} {PROPER} {PASS}", {"NG15"}),
        (f"if ($remote_addr = 192.0.2.1) {{ return 403; }} {PROPER} {PASS}", set()),
        (f"if ($http_x_forwarded_proto != https) {{ return 301 /; }} {PROPER} {PASS}", set()),
        (f"if ($scheme = http) {{ return 301 https://$host$request_uri; }} {PASS}", {"NG14"}),
        (f"if ($is_known = 0) {{ return 403; }} {PROPER} {PASS}", {"NG15"}),
        (f"if ($is_near = 0) {{ return 403; }} {PROPER} {PASS}", set()),
        (f"if (!-f $request_filename) {{ {PASS} }} {PROPER}", set()),
        (f"if (-f /maintenance) {{ return 503; }} {PROPER} {PASS}", set()),
        (f"if ($uri !~ ^/voice/) {{ return 404; }} {PROPER} {PASS}", set()),
        (f"if ($http_upgrade) {{ {PASS} }} root /var/www; {PROPER}", {"NG13"}),
    ],
)
def test_who_answers_the_voice_paths(body: str, rules: set[str]) -> None:
    gateway = at("@gateway", PROPER + PASS)
    if "= /gateway" in body:
        gateway += at("/gateway", f"{PROPER} proxy_pass http://127.0.0.1:8080$request_uri;")
    geo = "geo $is_known { default 0; 192.0.2.0/24 1; } geo $is_near { 127.0.0.1 1; default 0; }"
    assert rules_of(site(at("/voice/", body) + gateway, http=geo)) == rules


def test_fastcgi_may_answer_the_webhook_and_never_the_stream() -> None:
    php = "fastcgi_pass 127.0.0.1:9000;"
    text = site(at("/voice/", PROPER + PASS) + at("= /voice/webhook", php))
    assert rules_of(text) == set()
    assert rules_of(site(at("/voice/", php))) == {"NG09"}


def test_a_script_decides_what_is_not_known() -> None:
    report = report_of(site(at("/voice/", "content_by_lua_block { ngx.say('}') }")))
    assert report.findings == ()
    assert "not known" in report.remarks[0]


def test_status_callbacks_that_nobody_takes_are_a_warning() -> None:
    text = site(at("= /voice/webhook", PROPER + PASS) + at("= /voice/stream", PROPER + PASS))
    assert [(each.rule, each.level) for each in report_of(text).findings] == [("NG13", "warning")]
    assert rules_of(text, Paths(status="")) == set()


# Servers


def test_the_server_that_names_the_paths_is_the_one_that_is_meant() -> None:
    other = f"server {{ listen 8480; server_name www.example.com; location / {{ {PASS} }} }}\n"
    assert rules_of(voice(PASS, http=other)) == set()
    assert "NG01" in rules_of(voice(PASS, http=other), Paths(host="www.example.com"))


def test_a_sound_server_speaks_for_several_without_a_path_of_ours() -> None:
    def server(name: str, headers: str) -> str:
        body = f"location / {{ {headers} {PASS} }}"
        return f"server {{ listen 8480; server_name {name}.example.com; {body} }}\n"

    assert rules_of(file(server("a", "") + server("voice", PROPER))) == set()
    assert "NG01" in rules_of(file(server("a", "") + server("voice", "")))


def test_a_server_for_plain_http_is_not_judged_beside_the_one_with_tls() -> None:
    plain = f"server {{ listen 8480; server_name voice.example.com; location / {{ {PASS} }} }}\n"
    text = voice(f"proxy_set_header X-Forwarded-Proto $scheme; {PASS}", listen=TLS, http=plain)
    assert rules_of(text) == set()
    assert rules_of(plain) >= {"NG01"}


def test_certbot_s_redirect_is_no_finding() -> None:
    plain = """server {
        if ($host = voice.example.com) { return 301 https://$host$request_uri; }
        listen 8480; server_name voice.example.com; return 404;
    }"""
    text = voice(f"proxy_set_header X-Forwarded-Proto $scheme; {PASS}", listen=TLS, http=plain)
    assert rules_of(text) == set()
    assert rules_of(file(plain)) == {"NG14"}


@pytest.mark.parametrize(
    ("names", "is_taken"),
    [
        ("voice.example.com", True),
        ("VOICE.example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("voice.*", True),
        (r"~^voice\.", True),
        (r"~^(?<sub>\w+)\.example\.com$", True),
        ("example.com", False),
        ("*.voice.example.com", False),
        ("_", False),
        (r"~^(?|a)", False),
    ],
)
def test_a_name_takes_a_host_as_nginx_would(names: str, is_taken: bool) -> None:
    text = file(
        "server { listen 8480 default_server; return 404; }\n"
        f"server {{ listen 8480; server_name {names}; location / {{ {PROPER} {PASS} }} }}"
    )
    found = rules_of(text, Paths(host="voice.example.com"))
    assert found == (set() if is_taken else {"NG16"})


def test_without_default_server_the_first_one_takes_every_other_name() -> None:
    first = f"server {{ listen 8480; server_name a.com; location / {{ {PROPER} {PASS} }} }}\n"
    second = "server { listen 8480; server_name b.com; return 404; }\n"
    hosted = Paths(host="voice.example.com")
    assert rules_of(file(first + second), hosted) == set()
    assert rules_of(file(second + first), hosted) == {"NG16"}


# Upstreams


def test_an_upstream_is_told_with_its_servers() -> None:
    text = voice("proxy_pass http://pool;", http="upstream pool { server a:1; server b:2; }")
    assert becomes(text, "/voice/stream")[1] == "http://pool (a:1, b:2)"


def test_an_address_in_a_variable_is_followed_as_far_as_it_is_known() -> None:
    by_map = "map $uri $gateway { ~^/voice/stream 127.0.0.1:8081; default 127.0.0.1:8080; }"
    text = voice("proxy_pass http://$gateway;", http=by_map)
    assert becomes(text, "/voice/stream")[1:] == ("http://127.0.0.1:8081", "/voice/stream")
    assert becomes(text, "/voice/webhook")[1] == "http://127.0.0.1:8080"
    unknown = voice("proxy_pass http://$geoip_region;")
    assert becomes(unknown, "/voice/stream")[1:] == ("http://$geoip_region", "/voice/stream")
    assert rules_of(unknown) == set()
    whole = voice("proxy_pass $backend;", server="    set $backend http://127.0.0.1:8080/x;\n")
    assert becomes(whole, "/voice/stream")[1:] == ("http://127.0.0.1:8080", "/x")


def test_userinfo_and_queries_of_an_address_are_not_told() -> None:
    report = report_of(stripping := voice("proxy_pass http://127.0.0.1:8080/x?token=hunter2;"))
    assert "hunter2" in stripping
    assert "hunter2" not in " ".join(each.saw for each in report.findings)
