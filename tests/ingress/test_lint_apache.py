"""Apache and its linter agree: what is a configuration, where a request goes, what is sent."""

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apache_snippets import LOADED, PAIRS, at, lines
from calls.certificates import OURS
from doctor.linting.apache_case import Case
from doctor.linting.apache_hosts import hosts
from doctor.linting.apache_parser import Config, parse
from doctor.linting.apache_passage import Passage, follow
from doctor.linting.apache_upgrade import is_tunnelled
from doctor.linting.findings import Paths
from doctor.linting.ways import requests_of
from head_echo import echoing_heads
from programs import end, free_port, require, wait_for_port

CONFIGS = Path(__file__).parent.parent / "configs" / "apache"
# Root's server must be told whose its workers are; others may not be told.
OWN = "User nobody\nGroup #65534\n" if os.geteuid() == 0 else ""


def prepared(folder: Path, text: str) -> Path:
    (folder / "voice.pem").write_text(OURS)
    file = folder / "apache2.conf"
    own = f"PidFile {folder}/apache2.pid\nErrorLog {folder}/error.log\nMutex posixsem\n"
    file.write_text(text + own + f"DefaultRuntimeDir {folder}\n" + OWN)
    return file


def command(file: Path, *options: str) -> list[str]:
    return [require("apache2"), "-d", str(file.parent), "-f", str(file), *options]


def assert_accepted(file: Path) -> None:
    test = subprocess.run(command(file, "-t"), capture_output=True, text=True, check=False)
    assert "Syntax OK" in test.stderr, test.stderr


@pytest.mark.parametrize("rule", PAIRS)
def test_apache_accepts_the_files_in_which_a_rule_fires_or_is_quiet(
    rule: str, tmp_path: Path
) -> None:
    for text in (PAIRS[rule].fires, PAIRS[rule].quiet):
        assert_accepted(prepared(tmp_path, text))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("apache2.conf")), ids=str)
def test_apache_accepts_the_example_files(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    assert_accepted(prepared(tmp_path, path.read_text().replace('"."', f'"{tmp_path}"')))


# What stands in a virtual host; @ is where the upstream listens.
REWRITE = "RewriteEngine On; "
NOT_GET = at("", "Require not method GET; Require ip 127", "RequireAll")
BODIES = (
    "ProxyPass / http://@/",
    "ProxyPass / http://@/ upgrade=websocket",
    "ProxyPass / ws://@/",
    "ProxyPass /voice http://@/x",
    "ProxyPass /voice/ http://@/",
    "ProxyPass /voice http://@/x/",
    "ProxyPass /voice/ http://@",
    "ProxyPass /voi http://@/",
    "ProxyPass /voice/stream !; ProxyPass / http://@/",
    "ProxyPass / http://@/; ProxyPass /voice/stream ws://@/voice/stream",
    "ProxyPass /voice/stream ws://@/voice/stream; ProxyPass / http://@/",
    "ProxyPass /web http://@/; ProxyPass /voice http://@/voice upgrade=websocket",
    "ProxyPass /web http://@/web; ProxyPass /voice http://@/voice upgrade=websocket",
    "ProxyPassMatch ^/voice/(.*)$ http://@/m/$1",
    "ProxyPassMatch ^/voice/ http://@",
    at("/voice", "ProxyPass http://@/l"),
    f"{at('/', 'ProxyPass http://@/l1/')}; {at('/voice', 'ProxyPass http://@/l2')}",
    f"ProxyPass / http://@/; {at('/voice/', 'ProxyPass http://@/l3/')}",
    at("^/voice/(.*)$", "ProxyPass http://@/lm/$1", "LocationMatch"),
    at("~ ^/voice", "ProxyPass http://@"),
    f"{at('balancer://one', 'BalancerMember http://@', 'Proxy')}; ProxyPass / balancer://one/",
    (
        f"{at('balancer://two', 'BalancerMember http://@ upgrade=websocket', 'Proxy')}; "
        "ProxyPass / balancer://two/"
    ),
    f"{REWRITE}RewriteRule ^/(.*) ws://@/$1 [P]",
    f"{REWRITE}RewriteRule ^/(.*) http://@/$1 [P]",
    (
        f"{REWRITE}RewriteCond %{{HTTP:Upgrade}} =WebSocket; RewriteRule ^ ws://@/a [P]; "
        "ProxyPass / http://@/"
    ),
    f"{REWRITE}RewriteCond %{{HTTP:Upgrade}} =WebSocket [NC]; RewriteRule ^ ws://@/a [P]",
    (
        f"{REWRITE}RewriteCond %{{HTTP:Origin}} . [OR]; RewriteCond %{{HTTP:Upgrade}} .; "
        "RewriteRule ^/(.*)/ http://@/$1 [P]"
    ),
    f"{REWRITE}RewriteCond %{{REQUEST_URI}} ^/voice/(.*)$; RewriteRule ^ http://@/%1 [P]",
    (
        f"{REWRITE}RewriteCond expr \"%{{HTTP:Upgrade}} == 'websocket'\"; "
        "RewriteRule ^ http://@/e [P]; ProxyPass / http://@/"
    ),
    f"{REWRITE}RewriteRule ^/voice - [F]",
    f"{REWRITE}RewriteRule ^/voice - [G]",
    f"{REWRITE}RewriteRule ^/voice - [R=503]",
    f"{REWRITE}RewriteRule ^ https://elsewhere.test/ [R=307,L]",
    f"{REWRITE}RewriteRule ^ https://elsewhere.test/ [L]",
    f"{REWRITE}RewriteRule ^/voice/(.*) /x/$1; ProxyPass / http://@/",
    f"{REWRITE}RewriteRule ^/voice/(.*) /x/$1 [PT]; ProxyPass / http://@/",
    f"{REWRITE}RewriteRule ^/voice/(.*) /x/$1?a=1 [PT]; ProxyPass / http://@/",
    f"{REWRITE}RewriteRule ^/voice/(.*) /x/$1?a=1 [PT,QSA]; ProxyPass / http://@/",
    f"{REWRITE}RewriteRule ^/voice - [S=1]; RewriteRule ^ - [F]; ProxyPass / http://@/",
    f"{REWRITE}RewriteRule ^/admin - [C]; RewriteRule ^ - [F]; ProxyPass / http://@/",
    "RewriteRule ^ - [F]; ProxyPass / http://@/",
    "ProxyPass / http://@/; Redirect / https://elsewhere.test/",
    "Redirect permanent /voice https://elsewhere.test/",
    "Redirect 307 /voi https://elsewhere.test/",
    "Redirect gone /voice",
    "RedirectMatch 404 ^/voice",
    f"ProxyPass / http://@/; {at('/voice', 'Require all denied')}",
    f"ProxyPass / http://@/; {at('/voi', 'Require all denied')}",
    f"ProxyPass / http://@/; {at('/voice', 'Require method POST')}",
    f"ProxyPass / http://@/; {at('/voice', 'Require ip 192.0.2')}",
    f"ProxyPass / http://@/; {at('/voice', NOT_GET)}",
    (
        f"ProxyPass / http://@/; {at('/', 'Require all denied')}; "
        f"{at('/voice', 'Require all granted')}"
    ),
    f"ProxyPass / http://@/; {at('*', 'Require all denied', 'Proxy')}",
    f"ProxyPass / http://@/; {at('/voice', at('POST', 'Require all denied', 'LimitExcept'))}",
    f"ProxyPass / http://@/; {at('/voice', 'Require expr %{HTTP_USER_AGENT} =~ /Mozilla/')}",
    f"ProxyPass / http://@/; {at('/voice', 'Require expr !(%{HTTP:Upgrade} == `h2c`)')}".replace(
        "`", "'"
    ),
    f"ProxyPass / http://@/; {at('/voice', 'Order deny,allow; Deny from all')}",
    "ProxyPass / http://@/ upgrade=websocket; RequestHeader unset Upgrade",
    "ProxyPass / http://@/ upgrade=websocket; RequestHeader unset Upgrade early",
    "ProxyPass / http://@/ upgrade=websocket; RequestHeader set Connection close",
    "ProxyPass / http://@/ upgrade=websocket; RequestHeader unset Sec-WebSocket-Key",
    (
        "ProxyPass / http://@/ upgrade=websocket; RequestHeader unset Upgrade "
        '"expr=%{REQUEST_URI} !~ m#^/voice/#"'
    ),
    "ProxyPreserveHost On; ProxyPass / http://@/; RequestHeader set X-Forwarded-Proto https",
    (
        "ProxyPreserveHost On; ProxyPass / http://@/; "
        "RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}"
    ),
    "DocumentRoot /nonexistent",
)
PATHS = ("/voice/stream", "/voice/a//b/./c%20d?x=1")


@pytest.fixture(scope="module")
def apache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Config]]:
    """One Apache with a virtual host for each of BODIES: its port and what the linter read."""
    port = free_port()
    with echoing_heads() as address:
        blocks = "".join(
            f"<VirtualHost *:{port}>\n    ServerName n{place}.test\n{lines(body)}</VirtualHost>\n"
            for place, body in enumerate(BODIES)
        ).replace("@", address)
        text = f"{LOADED}Listen 127.0.0.1:{port}\nServerName localhost\n{blocks}"
        file = prepared(tmp_path_factory.mktemp("apache"), text)
        assert_accepted(file)
        process = subprocess.Popen(command(file, "-DFOREGROUND"))
        try:
            wait_for_port(port)
            yield port, parse(text, file)
        finally:
            end(process)


def expected_status(passage: Passage) -> int:
    """Of what Apache answers itself."""
    if passage.is_proxied:
        return 403
    return int(passage.code or 404)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", range(len(BODIES)), ids=BODIES)
def test_a_request_ends_where_the_linter_says(
    place: int, path: str, apache: tuple[int, Config]
) -> None:
    port, config = apache
    host = hosts(config)[place]
    passage = follow(host, requests_of(Paths(stream=path), f"n{place}.test")[1])
    headers = {key: each for key, each in passage.request.headers.items() if each}
    headers |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    is_glued = "stream" in passage.address or "/a" in passage.address
    if not passage.is_proxied or passage.refusal is not None:
        assert answer.status == expected_status(passage)
        return
    if is_glued or (not passage.address.rpartition(":")[2].isdigit() and not passage.members):
        assert answer.status >= 500
        return
    seen = json.loads(body)
    assert seen["target"] == passage.target
    upgrade = passage.header("upgrade")
    is_upgrade = is_tunnelled(passage) and (upgrade is None or upgrade.value != "")
    assert ("upgrade" in seen["fields"]) == is_upgrade
    case = Case(passage, (), Paths(), config)
    assert case.is_stream
    preserves = passage.effective("proxypreservehost") is not None
    member = passage.members[0].args[0].partition("://")[2] if passage.members else ""
    assert seen["fields"]["host"] == (f"n{place}.test" if preserves else member or passage.address)
    proto = passage.header("x-forwarded-proto")
    assert seen["fields"].get("x-forwarded-proto") == (proto.value if proto else None)
    key = passage.header("sec-websocket-key")
    assert ("sec-websocket-key" in seen["fields"]) == (key is None or key.value != "")
