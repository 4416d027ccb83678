"""Apache's linter: which line takes a path, and whether its upgrade is tunnelled."""

import pytest

from apache_snippets import (
    ADDRESS,
    FILE,
    PASS,
    PROPER,
    at,
    rules_of,
    site,
)
from doctor.linting.apache_hosts import hosts
from doctor.linting.apache_parser import parse
from doctor.linting.apache_passage import Passage, follow
from doctor.linting.findings import Paths
from doctor.linting.ways import requests_of

KEEP = "ProxyPreserveHost On"


def passage_of(body: str, path: str = "/voice/stream") -> Passage:
    [host] = hosts(parse(site(body), FILE))
    return follow(host, requests_of(Paths(stream=path), "")[1])


def url_of(body: str, path: str = "/voice/stream") -> str:
    """Where a path is passed to; how it ends, where it is not."""
    passage = passage_of(body, path)
    if not passage.is_proxied:
        return f"{passage.ending} {passage.code}".strip()
    return f"{passage.scheme}://{passage.address}{passage.target}"


# ProxyPass


@pytest.mark.parametrize(
    ("line", "path", "url"),
    [
        ("ProxyPass / http://h:1/", "/voice/stream", "http://h:1/voice/stream"),
        ("ProxyPass /voice http://h:1/x", "/voice/stream", "http://h:1/x/stream"),
        ("ProxyPass /voice http://h:1/x", "/voicemail", "static"),
        ("ProxyPass /voice http://h:1/x", "/voice", "http://h:1/x"),
        ("ProxyPass /voice/ http://h:1/x/", "/voice", "static"),
        ("ProxyPass /voice http://h:1/x/", "/voice/stream", "http://h:1/x//stream"),
        ("ProxyPass /voice/ http://h:1", "/voice/stream", "http://h:1stream/"),
        ("ProxyPass / http://h:1/", "/a//b/./c/../d%20e", "http://h:1/a/b/d%20e"),
        ("ProxyPass / http://h:1/", "/a?x=1", "http://h:1/a?x=1"),
        ("ProxyPass / http://h:1/", "/a%2Fb", "answered 404"),
        ("AllowEncodedSlashes NoDecode; ProxyPass / http://h:1/", "/a%20b", "http://h:1/a%20b"),
        ("ProxyPass /voice/stream !; ProxyPass / http://h:1/", "/voice/stream", "static"),
        ("ProxyPassMatch ^/voice/(.*)$ http://h:1/$1", "/voice/stream", "http://h:1/stream"),
        ("ProxyPassMatch ^/voice/ http://h:1", "/voice/stream", "http://h:1/voice/stream"),
        ("ProxyPassMatch ^/(?<a>v.*)/s !; ProxyPass / http://h:1/", "/voice/stream", "static"),
        ("ProxyPassMatch ^/(?|a) http://h:1/; ProxyPass / http://h:2/", "/a", "http://h:2/a"),
        (at("/voice", "ProxyPass http://h:1/x"), "/voice/stream", "http://h:1/x/stream"),
        (
            at("/", "ProxyPass http://h:1/") + ";" + at("/voice", "ProxyPass http://h:2/"),
            "/voice/stream",
            "http://h:2//stream",
        ),
        (
            "ProxyPass / http://h:1/;" + at("/voice", "ProxyPass http://h:2/v"),
            "/voice/stream",
            "http://h:2/v/stream",
        ),
        (
            at("^/voice/(.*)$", "ProxyPass http://h:1/$1", "LocationMatch"),
            "/voice/stream",
            "http://h:1/stream",
        ),
        (at("~ ^/voice", "ProxyPass http://h:1"), "/voice/stream", "static"),
        ("ProxyPass / unix:/run/app.sock|http://localhost/", "/a", "http://localhost/a"),
        ("ProxyPass / balancer://pool/", "/a", "balancer://pool/a"),
        ("ProxyPass / ${NOTHING}", "/a", "unknown"),
    ],
)
def test_where_a_path_is_passed_to(line: str, path: str, url: str) -> None:
    assert url_of(line, path) == url


# mod_rewrite


@pytest.mark.parametrize(
    ("rules", "url"),
    [
        ("RewriteRule ^/(.*) ws://h:1/$1 [P]", "ws://h:1/voice/stream"),
        ("RewriteRule ^/VOICE/(.*) ws://h:1/$1 [P,NC]", "ws://h:1/stream"),
        ("RewriteRule ^/VOICE/(.*) ws://h:1/$1 [P]", "http://h:9/voice/stream"),
        ("RewriteRule !^/admin ws://h:1/x [P]", "ws://h:1/x"),
        ("RewriteCond %{HTTP:Upgrade} websocket [NC]; RewriteRule ^ ws://h:1/a [P]", "ws://h:1/a"),
        (
            "RewriteCond %{HTTP:Upgrade} =WebSocket; RewriteRule ^ ws://h:1/a [P]",
            "http://h:9/voice/stream",
        ),
        ("RewriteCond %{HTTP:Upgrade} =WebSocket [NC]; RewriteRule ^ ws://h:1/a [P]", "ws://h:1/a"),
        (
            (
                "RewriteCond %{HTTP:Connection} upgrade [NC]; RewriteCond %{HTTP:Upgrade} ^web; "
                "RewriteRule ^ ws://h:1/a [P]"
            ),
            "ws://h:1/a",
        ),
        ("RewriteCond %{HTTP:Origin} .; RewriteRule ^ ws://h:1/a [P]", "http://h:9/voice/stream"),
        (
            (
                "RewriteCond %{HTTP:Origin} . [OR]; RewriteCond %{HTTP:Upgrade} .; "
                "RewriteRule ^ ws://h:1/a [P]"
            ),
            "ws://h:1/a",
        ),
        (
            "RewriteCond %{REQUEST_FILENAME} -f; RewriteRule ^ ws://h:1/a [P]",
            "http://h:9/voice/stream",
        ),
        ("RewriteCond %{REQUEST_URI} !-f; RewriteRule ^ ws://h:1/a [P]", "ws://h:1/a"),
        (
            "RewriteCond %{REMOTE_ADDR} ^192; RewriteRule ^ ws://h:1/a [P]",
            "http://h:9/voice/stream",
        ),
        (
            "RewriteCond %{REQUEST_URI} ^/voice/(.*)$; RewriteRule ^ ws://h:1/%1 [P]",
            "ws://h:1/stream",
        ),
        (
            "RewriteCond expr \"%{HTTP:Upgrade} == 'websocket'\"; RewriteRule ^ ws://h:1/a [P]",
            "ws://h:1/a",
        ),
        ("RewriteRule ^ - [F]", "answered 403"),
        ("RewriteRule ^ - [G]", "answered 410"),
        ("RewriteRule ^ - [R=503]", "answered 503"),
        ("RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]", "redirected 301"),
        ("RewriteRule ^ https://elsewhere.example.com/ [L]", "redirected 302"),
        ("RewriteRule ^/voice/(.*) /x/$1", "static"),
        ("RewriteRule ^/voice/(.*) /x/$1 [PT]", "http://h:9/x/stream"),
        ("RewriteRule ^/voice/(.*) /x/$1?a=1 [PT]", "http://h:9/x/stream?a=1"),
        ("RewriteRule ^/voice - [L]; RewriteRule ^ - [F]", "http://h:9/voice/stream"),
        ("RewriteRule ^/voice - [S=1]; RewriteRule ^ - [F]", "http://h:9/voice/stream"),
        ("RewriteRule ^/admin - [C]; RewriteRule ^ - [F]", "http://h:9/voice/stream"),
        ("RewriteRule ^/(?|a) - [F]", "http://h:9/voice/stream"),
        ("RewriteRule ^/%{NOTHING} - [F]", "http://h:9/voice/stream"),
    ],
)
def test_what_rewrite_rules_make_of_the_stream(rules: str, url: str) -> None:
    assert url_of(f"RewriteEngine On; {rules}; ProxyPass / http://h:9/") == url


def test_without_rewrite_engine_no_rule_is_asked() -> None:
    assert url_of("RewriteRule ^ - [F]; ProxyPass / http://h:9/") == "http://h:9/voice/stream"


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("Redirect / https://elsewhere/", "redirected 302"),
        ("Redirect permanent /voice https://elsewhere/", "redirected 301"),
        ("Redirect 307 /voice https://elsewhere/", "redirected 307"),
        ("RedirectPermanent / https://elsewhere/", "redirected 301"),
        ("Redirect gone /voice", "answered 410"),
        ("RedirectMatch 404 ^/voice", "answered 404"),
        ("Redirect /admin https://elsewhere/", "static"),
        ("WSGIScriptAlias / /srv/app.wsgi", "unknown"),
        (at("/voice", "SetHandler server-status"), "unknown"),
        ("DocumentRoot /var/www", "static"),
    ],
)
def test_who_answers_where_nothing_is_passed_on(line: str, ending: str) -> None:
    assert url_of(line) == ending


def test_a_redirect_does_not_take_what_proxypass_takes() -> None:
    assert rules_of(site(f"{PROPER}; Redirect / https://elsewhere/")) == set()


# Upgrades


@pytest.mark.parametrize(
    ("body", "rules"),
    [
        (f"ProxyPass / {ADDRESS}/ upgrade=WebSocket", set()),
        (f"ProxyPass / {ADDRESS}/ upgrade=ANY", set()),
        (f"ProxyPass / {ADDRESS}/ upgrade=NONE", {"AP01"}),
        ("ProxyPass / ws://127.0.0.1:8080/", set()),
        (f"RewriteEngine On; RewriteRule ^/(.*) {ADDRESS}/$1 [P]", {"AP01"}),
        (
            (
                f"RewriteEngine On; RewriteRule ^/(.*) {ADDRESS}/$1 [P]; "
                f"{at(f'{ADDRESS}/', 'ProxySet upgrade=websocket', 'Proxy')}"
            ),
            set(),
        ),
        (f"RewriteEngine On; RewriteRule ^/voice/(.*) {ADDRESS}/voice/$1 [P]; {PASS}", set()),
        (
            (
                f"{at('balancer://pool', f'BalancerMember {ADDRESS} upgrade=websocket', 'Proxy')}; "
                "ProxyPass / balancer://pool/"
            ),
            set(),
        ),
        (
            (
                f"{at('balancer://pool', f'BalancerMember {ADDRESS}', 'Proxy')}; "
                "ProxyPass / balancer://pool/"
            ),
            {"AP01"},
        ),
        (
            (
                f"{at('balancer://pool', 'BalancerMember ws://127.0.0.1:8080', 'Proxy')}; "
                "ProxyPass / balancer://pool/"
            ),
            set(),
        ),
        (f"ProxyPass /web {ADDRESS}; ProxyPass /voice {ADDRESS}/voice upgrade=websocket", {"AP03"}),
        (
            f"ProxyPass /web {ADDRESS}/web; ProxyPass /voice {ADDRESS}/voice upgrade=websocket",
            set(),
        ),
        (
            (
                f"ProxyPass /voice {ADDRESS}/voice; "
                "ProxyPass /voice/stream ws://127.0.0.1:8080/voice/stream"
            ),
            {"AP02"},
        ),
    ],
)
def test_which_worker_tunnels_an_upgrade(body: str, rules: set[str]) -> None:
    assert rules_of(site(f"{KEEP}; {body}")) == rules


@pytest.mark.parametrize(
    ("header", "rules"),
    [
        ("unset Upgrade", {"AP04"}),
        ("unset Upgrade early", {"AP04"}),
        ("unset Connection", set()),
        ("set Connection close", set()),
        ("set Upgrade h2c", {"AP04"}),
        ("set Upgrade websocket", set()),
        ("unset Sec-WebSocket-Key", {"AP04"}),
        ("edit Sec-WebSocket-Key a b", set()),
        ("unset Upgrade env=tidy", set()),
        ('unset Upgrade "expr=%{REQUEST_URI} =~ m#^/voice/#"', {"AP04"}),
        ('unset Upgrade "expr=%{REQUEST_URI} !~ m#^/voice/#"', set()),
        ("unset X-Twilio-Signature", {"AP20"}),
        ("set Host localhost", {"AP18"}),
        ("setifempty Upgrade h2c", set()),
    ],
)
def test_headers_are_followed(header: str, rules: set[str]) -> None:
    assert rules_of(site(f"{PROPER}; RequestHeader {header}")) == rules
    assert rules_of(site(f"{PROPER}; {at('/voice', f'RequestHeader {header}')}")) == rules
    assert rules_of(site(PROPER, main=f"Timeout 300; RequestHeader {header}")) == rules


@pytest.mark.parametrize(
    ("main", "parameter", "fires"),
    [
        ("Timeout 60", "", True),
        ("Timeout 61", "", False),
        ("Timeout 5", "timeout=60", True),
        ("Timeout 5", "timeout=61", False),
        ("Timeout 5; ProxyTimeout 300", "", False),
        ("Timeout 5; ProxyTimeout 300", "timeout=10", True),
        ("ProxyTimeout 10", "", True),
        ("Timeout 5", "timeout=5mi", False),
        ("Timeout soon", "", False),
    ],
)
def test_the_longer_one_of_two_timeouts_counts(main: str, parameter: str, fires: bool) -> None:
    text = site(f"{PROPER} {parameter}", main=main)
    assert rules_of(text) == ({"AP07"} if fires else set())
