"""caller -> Funnel -> the real tailscaled: which path arrives behind which mount."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from doctor.linting.findings import Paths
from doctor.linting.tailscale_config import read_parts
from head_echo import echoing_heads
from ingress.tunnels.tailscale.callers import arrived, ask
from ingress.tunnels.tailscale.tailnet import Tailnet

NOT_FOUND = "404"
MOUNTS = {
    "/": "",
    "/voice": "",
    "/exact/stream": "",
    "/sym/stream": "/sym/stream",
    "/slash/": "/base/",
    "/moved": "/v1/stream",
}
# What is asked, and what arrives behind the mount that takes it.
TABLE = [
    ("/", "/stream", "/stream"),
    ("/", "/voice/stream", "/voice/stream"),
    ("/", "//voice/stream", "//voice/stream"),
    ("/voice", "/voice/stream", "/stream"),
    ("/voice", "/voice", "/"),
    ("/voice", "/voice/", "/"),
    ("/voice", "/voicestream", NOT_FOUND),
    ("/voice", "//voice/stream", NOT_FOUND),
    ("/voice", "/v%6Fice/stream", NOT_FOUND),
    ("/voice", "/voice/a%2Fb", "/a%2Fb"),
    ("/voice", "/voice//stream", "//stream"),
    ("/voice", "/voice/stream?a=1&b=%2F", "/stream?a=1&b=%2F"),
    ("/exact/stream", "/exact/stream", "/"),
    ("/exact/stream", "/exact/stream/token", "/token"),
    ("/sym/stream", "/sym/stream", "/sym/stream"),
    ("/sym/stream", "/sym/stream/", "/sym/stream/"),
    ("/sym/stream", "/sym/stream/token", "/sym/stream/token"),
    ("/slash/", "/slash/stream", "/base/stream"),
    ("/moved", "/moved", "/v1/stream"),
    ("/moved", "/moved/token", "/v1/stream/token"),
]


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    with echoing_heads() as address:
        yield address


@pytest.mark.parametrize(("mount", "asked", "arrives"), TABLE)
def test_a_mount_is_taken_off_and_the_targets_path_put_in_front(
    tailnet: Tailnet, backend: str, mount: str, asked: str, arrives: str
) -> None:
    target = f"http://{backend}{MOUNTS[mount]}"
    tailnet.cli("funnel", "--bg", "--yes", "--set-path", mount, target)
    if arrives == NOT_FOUND:
        head, body = ask(tailnet, asked)
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert body == b"404 page not found\n"
    else:
        assert arrived(tailnet, asked)["target"] == arrives


@pytest.mark.parametrize(("mount", "asked", "arrives"), [row for row in TABLE if "?" not in row[1]])
def test_the_linter_says_of_the_same_configuration_what_arrives(
    tailnet: Tailnet, mount: str, asked: str, arrives: str
) -> None:
    """Its rewriting is written after tailscaled's source; here the two are compared."""
    target = f"http://127.0.0.1:8080{MOUNTS[mount]}"
    tailnet.cli("funnel", "--bg", "--yes", "--set-path", mount, target)
    text = tailnet.cli("serve", "status", "--json")
    ((server,),) = (part.servers() for part in read_parts(text, Path("serve.json")))
    stream = server.ways(Paths("/elsewhere", asked)).stream
    assert stream.is_served == (arrives != NOT_FOUND)
    assert server.is_funnel
    if stream.is_served:
        assert stream.target == arrives


def test_a_query_that_go_finds_odd_loses_what_is_odd(tailnet: Tailnet, backend: str) -> None:
    tailnet.cli("funnel", "--bg", "--yes", f"http://{backend}")
    assert arrived(tailnet, "/voice/stream?a=1;b=2&c=3")["target"] == "/voice/stream?c=3"
    assert arrived(tailnet, "/voice/stream?a=%zz&c=3")["target"] == "/voice/stream?c=3"
    assert arrived(tailnet, "/voice/stream?b=2&a=%41")["target"] == "/voice/stream?b=2&a=%41"


def test_the_longest_mount_takes_a_path(tailnet: Tailnet, backend: str) -> None:
    tailnet.cli("funnel", "--bg", "--yes", f"http://{backend}/all")
    tailnet.cli("funnel", "--bg", "--yes", "--set-path", "/voice", f"http://{backend}/some")
    assert arrived(tailnet, "/voice/stream")["target"] == "/some/stream"
    assert arrived(tailnet, "/voices")["target"] == "/all/voices"
