"""HAProxy and its linter agree: what is a configuration, where a request goes, what is sent."""

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from calls.certificates import OURS
from doctor.linting.findings import Paths
from doctor.linting.haproxy_parser import parse
from doctor.linting.haproxy_passage import Passage, follow
from doctor.linting.ways import requests_of
from haproxy_snippets import DEFAULTS, PAIRS, lines
from head_echo import echoing_heads
from programs import end, free_port, require, wait_for_port

CONFIGS = Path(__file__).parent.parent / "configs" / "haproxy"


def assert_accepted(file: Path) -> None:
    command = [require("haproxy"), "-c", "-f", file.name]
    test = subprocess.run(command, capture_output=True, text=True, check=False, cwd=file.parent)
    assert test.returncode == 0, test.stderr


def prepared(folder: Path, text: str) -> Path:
    (folder / "voice.pem").write_text(OURS)
    (folder / "ca.pem").write_text(OURS)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    return file


@pytest.mark.parametrize("rule", PAIRS)
def test_haproxy_accepts_the_files_in_which_a_rule_fires_or_is_quiet(
    rule: str, tmp_path: Path
) -> None:
    for text in (PAIRS[rule].fires, PAIRS[rule].quiet):
        assert_accepted(prepared(tmp_path, text))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.cfg")), ids=str)
def test_haproxy_accepts_the_example_files(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    assert_accepted(prepared(tmp_path, path.read_text()))


# What stands in a frontend; its name is its place in the list.
RULES = (
    "",
    "http-request set-path /x%[path]",
    "http-request set-path %[path,regsub(^/voice,)]",
    "http-request set-path %[path,regsub(e,E,g)]",
    "http-request replace-path /voice/(.*) /\\1",
    "http-request replace-path stream /\\1media",
    "http-request replace-pathq /voice/(.*) /\\1",
    "http-request replace-uri ([^?]*)\\?.* \\1",
    "http-request set-uri /fixed",
    "http-request set-pathq /fixed?b=2",
    "http-request set-query b=2",
    "http-request set-var(txn.p) path; http-request set-path /a%[var(txn.p)]",
    "http-request set-path /get if METH_GET; http-request set-path /post if METH_POST",
    "http-request set-path /t1 if { path_beg -i /VOICE/ }",
    "http-request set-path /t2 if { path_dir voice }",
    "http-request set-path /t3 if { path_dir oice }",
    "http-request set-path /t4 if { hdr(upgrade) -i WebSocket }",
    "http-request set-path /t5 if { hdr_sub(user-agent) Twilio } { path_end stream }",
    "http-request set-path /t6 if { hdr(origin) -m found }",
    "http-request set-path /t7 unless { path_beg /voice } or { ssl_fc }",
    "http-request set-path /t8 if !{ ssl_fc } { path,field(3,/) stream }",
    "http-request set-path /t9 if { path,word(1,/) voice }",
    "http-request set-path /t10 if { path_reg ^/voice/(stream|media)$ }",
    "http-request set-path /t11 if { query -m found }",
    "acl a path /a; acl a path_beg /voice; http-request set-path /t12 if a",
    "http-request deny if { path_sub stream }",
    "http-request deny deny_status 429 if { path_sub stream }",
    "http-request return status 402 if { method GET }",
    "http-request redirect location /elsewhere code 307",
    "redirect prefix http://other code 301 if { path_beg /voice }",
    "http-request allow if { path_beg /voice }; http-request deny",
    "http-request del-header Upgrade",
    "http-request del-header Sec-WebSocket-Ve -m beg",
    "http-request del-header ^up -m reg",
    "http-request set-header Upgrade %[req.hdr(upgrade),upper]",
    "http-request replace-header Upgrade web(.*) net\\1",
    "http-request replace-value Host (.*)\\.com \\1.org",
    "http-request set-header Host %[req.hdr(host),lower,field(1,.)]",
    "http-request add-header X-Forwarded-Proto https",
    "http-request set-path /t13 if HTTP_1.1 TRUE !FALSE",
    "http-request set-path /t14 if { url_beg /voice } { base_beg Voice.example.com/voice }",
    "use_backend none if { path_sub stream }",
)
PATHS = ("/voice/stream", "/voice/a%2Fb//stream?x=1")
HOST = "Voice.example.com"


@pytest.fixture(scope="module")
def haproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[int], Path]]:
    """A frontend for each of RULES: their ports, and the file."""
    ports = [free_port() for _ in RULES]
    fronts = "".join(
        f"frontend f{place}\n{lines(f'bind 127.0.0.1:{port}; {rules}; default_backend voice')}"
        for place, (port, rules) in enumerate(zip(ports, RULES, strict=True))
    )
    with echoing_heads() as address:
        text = f"{DEFAULTS}{fronts}backend voice\n    server one {address}\nbackend none\n"
        file = prepared(tmp_path_factory.mktemp("haproxy"), text)
        process = subprocess.Popen([require("haproxy"), "-db", "-f", str(file)])
        try:
            wait_for_port(ports[-1])
            yield ports, file
        finally:
            end(process)


def passage_of(file: Path, place: int, path: str) -> Passage:
    config = parse(file.read_text(), file)
    stream = requests_of(Paths(stream=path), HOST)[1]
    return follow(config.proxies[place], stream, config)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", range(len(RULES)), ids=[rules or "none" for rules in RULES])
def test_a_request_ends_where_the_linter_says(
    place: int, path: str, haproxy: tuple[list[int], Path]
) -> None:
    ports, file = haproxy
    passage = passage_of(file, place, path)
    headers = {key: each for key, each in passage.request.headers.items() if each}
    headers |= {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
    connection = http.client.HTTPConnection("127.0.0.1", ports[place], timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if not passage.is_proxied:
        assert answer.status == int(passage.code)
        return
    seen = json.loads(body)
    assert seen["target"] == passage.target
    for name in ("upgrade", "connection", "host", "x-forwarded-proto"):
        assert seen["fields"].get(name, "") == (passage.state.headers.get(name) or ""), name
