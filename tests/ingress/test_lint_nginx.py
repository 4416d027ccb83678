"""nginx and its linter agree: what is a configuration, where a request goes, what is sent there."""

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from calls.certificates import OURS
from doctor.linting.findings import Paths
from doctor.linting.nginx_case import Case
from doctor.linting.nginx_parser import parse
from doctor.linting.nginx_passage import Passage, follow
from doctor.linting.nginx_servers import servers
from doctor.linting.ways import requests_of
from head_echo import echoing_heads
from nginx_snippets import MAP, PAIRS, PASS, PROPER, at
from programs import end, free_port, require, wait_for_port

CONFIGS = Path(__file__).parent.parent / "configs" / "nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def prepared(folder: Path, text: str) -> Path:
    """A file that nginx may be started with by anybody."""
    (folder / "voice.pem").write_text(OURS)
    (folder / "voice.key").write_text(OURS)
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in TEMPORARY)
    own = f"pid {folder}/nginx.pid;\n"
    file = folder / "nginx.conf"
    file.write_text(own + text.replace("http {\n", f"http {{ access_log off;\n{paths}", 1))
    return file


def command(file: Path, *options: str) -> list[str]:
    log = str(file.parent / "error.log")
    return [require("nginx"), "-p", str(file.parent), "-e", log, "-c", str(file), *options]


def assert_accepted(file: Path) -> None:
    test = subprocess.run(command(file, "-t"), capture_output=True, text=True, check=False)
    assert "test is successful" in test.stderr, test.stderr


@pytest.mark.parametrize("rule", PAIRS)
def test_nginx_accepts_the_files_in_which_a_rule_fires_or_is_quiet(
    rule: str, tmp_path: Path
) -> None:
    for text in (PAIRS[rule].fires, PAIRS[rule].quiet):
        assert_accepted(prepared(tmp_path, text))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("nginx.conf")), ids=str)
def test_nginx_accepts_the_example_files(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    assert_accepted(prepared(tmp_path, path.read_text()))


# Bodies of a server{}; @ is where the upstream listens.
BODIES = dict(
    enumerate(
        (
            at("/", PASS),
            at("/voice/", PROPER + PASS),
            at("/voice/", "proxy_pass http://@/;"),
            at("/voice/", "proxy_pass http://@/fixed;"),
            at("/voice", "proxy_pass http://@/;"),
            at("/voice/stream/", PASS) + at("/", "return 204;"),
            at("= /voice/stream/", PASS) + at("/voice/stream", "proxy_pass http://@/x;"),
            at("/voice/stream", "proxy_pass http://@/p;") + at("~ stream", PASS),
            at("^~ /voice/", "proxy_pass http://@/p;") + at("~ stream", PASS),
            at("~ ^/(?<app>[a-z]+)/(.+)$", "proxy_pass http://@/$2/$app;"),
            at("/voice/", PASS + at("/voice/stream", "proxy_pass http://@/in/;") + at("~ x", PASS)),
            at("/voice/", PASS + at("~ stream$", "proxy_pass http://@/re$uri;")) + at("~ v", PASS),
            at("/voice/", "try_files $uri @a;") + at("@a", PROPER + PASS),
            at("/voice/", "try_files $uri /index.html;") + at("/index.html", "return 403;"),
            at("/voice/", "try_files $uri =410;"),
            at("/voice/", "error_page 418 = @a; return 418;") + at("@a", PASS),
            at("/voice/", "error_page 404 = @a;") + at("@a", "rewrite ^ /a break; " + PASS),
            at("/voice/", f"internal; {PASS}"),
            at("/voice/", f"rewrite ^/voice/(.*)$ /$1 break; {PASS}"),
            at("/voice/", "rewrite ^/voice/(.*)$ /$1 break; proxy_pass http://@/x/;"),
            at("/voice/", "rewrite ^/voice/(.*)$ /b/$1;") + at("/b/", "proxy_pass http://@/c/;"),
            at("/voice/", "rewrite ^/voice/(.*)$ /b/$1 last;") + at("/b", f"return 402; {PASS}"),
            "    rewrite ^/voice/(.*)$ /b/$1;\n" + at("/b/", PASS),
            "    rewrite ^ https://elsewhere.example.com$request_uri?;\n",
            at("/voice/", "return 307 /elsewhere;"),
            at("/voice/", f"if ($http_upgrade) {{ proxy_pass http://@; }} {PROPER}"),
            at("/voice/", f"if ($http_upgrade = '') {{ return 403; }} {PROPER} {PASS}"),
            at("/voice/", f"if ($http_user_agent !~ Twilio) {{ return 403; }} {PASS}"),
            at("/voice/", "set $to /set; proxy_pass http://@$to$is_args$args;"),
            at("/voice/", f"proxy_set_header X-Own nginx; {PASS}") + PROPER,
            at("/voice/", f"proxy_set_header Host $server_name:$server_port; {PASS}"),
            at("/voice/", PROPER.replace("$connection_upgrade", "'keep-alive'") + PASS),
            at("/voice/", "limit_except POST { deny all; } " + PASS),
            at("/voice/", "deny all; " + PASS),
            "    root /nowhere;\n",
            "    return 421;\n" + at("/", PASS),
            "    if ($uri ~ ^/voice/(.*)$) { set $rest $1; }\n"
            + at("/", "proxy_pass http://@/m/$rest;"),
        )
    )
)
PATHS = ("/voice/stream", "/voice/a%2Fb//stream?x=1", "/voice/./stream/../x%7E")


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with echoing_heads() as address:
        yield address


@pytest.fixture(scope="module")
def nginx(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """One nginx with a server{} for each body: its port and its file."""
    port = free_port()
    blocks = "".join(
        f"server {{ listen 127.0.0.1:{port}; server_name n{name}.example.com;\n{body}}}\n"
        for name, body in BODIES.items()
    )
    text = f"events {{}}\nhttp {{\nroot /nonexistent;\n{MAP}\n{blocks}}}\n"
    text = text.replace("http://@", f"http://{upstream}").replace("127.0.0.1:8080", upstream)
    file = prepared(tmp_path_factory.mktemp("nginx"), text)
    process = subprocess.Popen(command(file, "-g", "daemon off; worker_processes 1;"))
    try:
        wait_for_port(port)
        yield port, file
    finally:
        end(process)


@pytest.fixture(scope="module")
def passages(nginx: tuple[int, Path]) -> dict[tuple[int, str], Passage]:
    """What the linter says of each body and path."""
    _, file = nginx
    found = servers(parse(file.read_text(), file))
    return {
        (place, path): follow(server, requests_of(Paths(stream=path), "")[1])
        for place, server in enumerate(found)
        for path in PATHS
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BODIES)
def test_a_request_ends_where_the_linter_says(
    name: int, path: str, nginx: tuple[int, Path], passages: dict[tuple[int, str], Passage]
) -> None:
    port, _ = nginx
    passage = passages[name, path]
    case = Case(passage, (), Paths())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    host = f"n{name}.example.com"
    headers = dict(passage.request.headers) | {"Host": host, "Sec-WebSocket-Key": "key"}
    connection.request("GET", path, headers={key: each for key, each in headers.items() if each})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if not passage.is_proxied:
        assert answer.status == int(passage.code or 404)
        return
    refused = [each for each in passage.scopes if any(rule.name == "deny" for rule in each)]
    if refused:
        assert answer.status == 403
        return
    seen = json.loads(body)
    assert seen["target"] == passage.target
    for field in ("upgrade", "connection", "host"):
        directive = case.header(field)
        # nginx's own, where nothing is set: the upstream's address, and that it will hang up.
        own = {"host": passage.host, "connection": "close", "upgrade": ""}[field]
        sent = case.header_value(directive) if directive else own
        assert seen["fields"].get(field, "") == sent
    version = passage.effective("proxy_http_version")
    assert seen["version"] == f"HTTP/{version.args[0] if version else '1.0'}"
