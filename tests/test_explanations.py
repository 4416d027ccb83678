"""What a record of the sidecar's says by itself."""

from typing import Any

import pytest

from doctor.diagnosis.explanations import explain
from proxy.handshake import request_violations, response_violations
from proxy.http1 import parse_request_head, parse_response_head

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
WHOLE = {
    "Host": "voice.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
SWITCH = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
}


def _head(first: str, fields: dict[str, str]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _row(
    outcome: str,
    *,
    version: str = "1.1",
    changed: dict[str, str] | None = None,
    answer: dict[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A row with the violations that such a request and such a 101 really have."""
    first = f"GET /voice/stream HTTP/{version}"
    request = parse_request_head(_head(first, WHOLE | (changed or {})))
    found = request_violations(request)
    if outcome == "upgraded":
        switch = _head("HTTP/1.1 101 Switching Protocols", SWITCH | (answer or {}))
        found += response_violations(request, parse_response_head(switch))
    known = {"outcome": outcome, "status": None, "error": None, "upstream": "http://127.0.0.1:1"}
    return known | {"ingress": "nginx", "violations": [each.line() for each in found]} | fields


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (_row("upgraded", status=101), None),
        (_row("not_an_upgrade", changed={"Upgrade": "", "Connection": ""}, status=404), "HS01"),
        (_row("not_an_upgrade", changed={"Upgrade": "", "Connection": "close"}), "HS01"),
        (_row("refused", changed={"Connection": "close"}, status=400), "HS02"),
        (_row("refused", version="1.0", status=426), "HS03"),
        (_row("upgraded", version="1.0", status=101), "HS12"),
        (_row("refused", changed={"Sec-WebSocket-Key": ""}, status=400), "HS11"),
        (_row("refused", changed={"Sec-WebSocket-Version": "8"}, status=426), "HS18"),
        (_row("upgraded", answer={"Sec-WebSocket-Accept": "wrong"}), "HS06"),
        (_row("upgraded", answer={"Upgrade": ""}), "AN01"),
        (_row("upgraded", answer={"Content-Encoding": "gzip"}), "AN02"),
        (_row("upgraded", answer={"Sec-WebSocket-Protocol": "chat"}), "AN03"),
        (_row("refused", status=404), "AN04"),
        (_row("refused", status=200), "AN05"),
        (_row("refused", status=500), "AN06"),
        (_row("refused", status=403), "AN07"),
        (_row("refused", status=302), None),
        (_row("refused", status=404, error="destination_not_found"), "RO06"),
        (_row("refused", status=429, error="connection_limit_reached"), None),
        (_row("unreachable", status=503, error="connection_refused"), "UP07"),
        (_row("timeout", status=503, error="http_response_timeout"), "AN09"),
        (_row("upstream_closed", status=503, error="connection_terminated"), "AN10"),
        (_row("malformed", upstream=None, error="http_request_error", violations=[]), "UP09"),
        (_row("malformed", error="http_protocol_error"), None),
        (_row("client_left"), None),
    ],
)
def test_a_record_is_explained_by_the_rule_that_it_shows(
    row: dict[str, Any], rule: str | None
) -> None:
    told = explain(row)
    assert (told and told["rule"]) == rule


def test_the_fix_is_for_the_ingress_that_the_record_names() -> None:
    bent = _row("not_an_upgrade", changed={"Upgrade": "", "Connection": ""})
    nginx, other = explain(bent), explain(bent | {"ingress": "unknown"})
    assert nginx is not None
    assert other is not None
    assert "proxy_set_header Upgrade $http_upgrade" in nginx["fix"]
    assert "proxy_set_header" not in other["fix"]
    assert (nginx["slug"], nginx["why"]) == ("upgrade-stripped", other["why"])


def test_what_the_gateway_answered_is_mended_at_the_gateway() -> None:
    told = explain(_row("refused", status=404))
    assert told is not None
    assert "@app.websocket" in told["fix"]
