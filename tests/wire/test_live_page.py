"""The live page's files, who may have them, and the doctor behind its button."""

import http.client
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pytest

from peers import RawUpstream, RunningSidecar
from proxy.admin import Admin
from proxy.settings import HostPort

HTML = {"Accept": "text/html,application/xhtml+xml"}


def _ask(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer.status, told, answer.headers


def test_a_browser_gets_the_page_and_a_machine_what_runs(sidecar: RunningSidecar) -> None:
    status, body, headers = _ask(sidecar.admin_port, "GET", "/", HTML)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")
    assert json.loads(_ask(sidecar.admin_port, "GET", "/")[1])["hopscope"] == "proxy"


@pytest.mark.parametrize("name", [file.name for file in (files("proxy") / "page").iterdir()])
def test_each_file_is_served_under_a_strict_policy(name: str, sidecar: RunningSidecar) -> None:
    status, body, headers = _ask(sidecar.admin_port, "GET", f"/page/{name}")
    assert (status, body) == (200, (files("proxy") / "page" / name).read_bytes())
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["../admin.py", "%2e%2e%2fadmin.py", "nothing.js", ""])
def test_nothing_else_is_served(name: str, sidecar: RunningSidecar) -> None:
    assert _ask(sidecar.admin_port, "GET", f"/page/{name}")[0] == 404


def test_the_page_holds_nothing_and_so_needs_no_token(sidecar: RunningSidecar) -> None:
    admin = Admin(sidecar.sidecar, "s3cret")
    port = sidecar.call(lambda: admin.start(HostPort("127.0.0.1", 0))).port
    try:
        assert _ask(port, "GET", "/", HTML)[0] == 200
        assert _ask(port, "GET", "/page/main.js")[0] == 200
        assert _ask(port, "GET", "/")[0] == 401
        assert _ask(port, "GET", "/api/sessions", HTML)[0] == 401
        assert _ask(port, "POST", "/page/main.js")[0] == 401
    finally:
        sidecar.call(admin.close)


def test_under_a_name_that_was_rebound_not_even_the_page_is_had(sidecar: RunningSidecar) -> None:
    assert _ask(sidecar.admin_port, "GET", "/", HTML | {"Host": "evil.example"})[0] == 403


def test_a_handshake_comes_with_what_is_to_be_said_of_it(
    sidecar: RunningSidecar, upstream: RawUpstream
) -> None:
    client, _ = sidecar.upgrade(upstream)
    path = f"/api/handshakes/{sidecar.event('handshake')['id']}"
    assert json.loads(_ask(sidecar.admin_port, "GET", path)[1])["explanation"] is None
    told = {"rule": "XX01", "slug": "odd", "defect": "d", "why": "w", "fix": "f"}
    sidecar.admin.explain = lambda row: told if row["outcome"] == "upgraded" else None
    assert json.loads(_ask(sidecar.admin_port, "GET", path)[1])["explanation"] == told
    client.close()


def _examine(sidecar: RunningSidecar, body: bytes, kind: str = "application/json") -> int:
    path = "/api/examinations"
    return _ask(sidecar.admin_port, "POST", path, {"Content-Type": kind}, body)[0]


def test_the_doctor_is_asked_with_the_public_url_or_without(sidecar: RunningSidecar) -> None:
    assert _examine(sidecar, b"{}") == 404
    asked: list[str | None] = []

    async def examine(public_url: str | None) -> Mapping[str, Any] | None:
        asked.append(public_url)
        return {"diagnosis": {"verdict": "healthy"}} if len(asked) < 3 else None

    sidecar.admin.examine = examine
    assert json.loads(_ask(sidecar.admin_port, "GET", "/")[1])["can_examine"] is True
    assert _examine(sidecar, b"{}") == 200
    assert _examine(sidecar, b'{"public_url": "https://voice.example.com"}') == 200
    assert _examine(sidecar, b"{}") == 409
    assert asked == [None, "https://voice.example.com", None]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"public_url": 1}', "application/json", 400),
        (b"{}", "text/plain", 415),  # what a form of another page could send without asking
        (b"[" * 20_000, "application/json", 413),
    ],
)
def test_a_body_that_is_none_is_refused(
    body: bytes, kind: str, status: int, sidecar: RunningSidecar
) -> None:
    async def examine(_public_url: str | None) -> Mapping[str, Any] | None:
        raise AssertionError("never asked")

    sidecar.admin.examine = examine
    assert _examine(sidecar, body, kind) == status
