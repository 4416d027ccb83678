"""RO, UP and PO: hops that have no way to the sidecar, do not get through, or keep callers out."""

import pytest

from own_answers import BYPASS, NOTHING_SAID, REFUSED, own, stamped, stranger, with_fields
from sights import Case, arrival, probe, said, sight, upgrade

SILENT = upgrade(None, fault="timeout")
SECURE = probe("nginx", name="inner", url="https://10.0.0.2")
NO_ROUTE = stamped("destination_not_found", "no route matches; the routes are: other", 404)
MALFORMED = stamped("http_request_error", "more than one Host", 400)

CASES = (
    Case(
        "RO01",
        own("traefik", 404, "go"),
        "traefik has no route for /voice/stream",
        own("nginx", 502),
    ),
    Case("RO02", own("caddy", 200), "with an empty body", own("caddy", 502)),
    Case(
        "RO03",
        sight("nginx", upgrade(None, fault="eof")),
        "nginx closed the connection without an answer, and nothing arrived",
        sight("nginx", upgrade(None, fault="eof", came=arrival())),
    ),
    Case(
        "RO04",
        with_fields("nginx", 200, ("Content-Type", "text/html; charset=utf-8"), body="<html>"),
        "nginx answered 200 with text/html itself",
        own("caddy", 200),
    ),
    Case(
        "RO05",
        sight("nginx", BYPASS),
        "nginx goes around the sidecar",
        sight("nginx"),
    ),
    Case(
        "RO07",
        sight("cloudflared", BYPASS, plain=NOTHING_SAID),
        "cloudflared gives the 101 itself and speaks no HTTP",
        sight("cloudflared", BYPASS),
    ),
    Case(
        "RO06",
        sight("sidecar", NO_ROUTE),
        "sidecar has no route for /voice/stream: no route matches; the routes are: other",
        sight("nginx", NO_ROUTE),
    ),
    Case(
        "UP01",
        own("nginx", 502),
        "nginx does not reach sidecar, which answers the doctor at http://127.0.0.1:8080: it "
        "answered 502 itself, and nothing arrived at the sidecar",
        own("nginx", 504),
    ),
    Case("UP02", own("nginx", 504), "nginx waited in vain for sidecar", own("nginx", 502)),
    Case("UP03", stranger("nginx", "tls"), "nginx speaks TLS to the sidecar", own("nginx", 502)),
    Case("UP04", stranger("caddy", "http2"), "caddy speaks HTTP/2", stranger("caddy", "tls")),
    Case("UP05", stranger("haproxy", "proxy"), "a PROXY header", stranger("haproxy", "tls")),
    Case(
        "UP06",
        own("nginx", 502, behind=SECURE),
        "nginx does not get through to inner, which answers the doctor at https://10.0.0.2 by TLS",
        own("nginx", 502),
    ),
    Case(
        "UP07",
        sight("sidecar", REFUSED),
        "sidecar does not reach the gateway: nothing listens on 127.0.0.1:8081",
        sight("nginx", REFUSED),
    ),
    Case(
        "UP08",
        sight("traefik", SILENT),
        "traefik took the upgrade and never answered",
        sight("traefik", upgrade(None, fault="timeout", came=arrival())),
    ),
    Case(
        "UP09",
        sight("nginx", MALFORMED),
        "nginx sends what the sidecar must refuse: more than one Host",
        sight("nginx", MALFORMED, behind=probe("sidecar", MALFORMED)),
    ),
    Case("PO01", own("haproxy", 403), "haproxy answered 403 Forbidden itself", own("haproxy", 401)),
    Case(
        "PO02",
        with_fields("nginx", 401, ("WWW-Authenticate", "Basic")),
        "it wants a login (Basic)",
        own("nginx", 403),
    ),
    Case(
        "PO03",
        with_fields("cloudflared", 403, ("cf-mitigated", "challenge"), ("cf-ray", "8f-AMS")),
        "cf-mitigated: challenge",
        with_fields("cloudflared", 403, ("cf-ray", "8f-AMS")),
    ),
    Case("PO04", own("traefik", 429), "a limit is reached", own("traefik", 503)),
    Case(
        "PO05",
        own("envoy", 431),
        "the head of the request is too long",
        own("envoy", 404, "envoy-empty"),
    ),
    Case("PO06", own("haproxy", 400), "does not pass this request on", own("haproxy", 404)),
    Case(
        "PO07",
        with_fields("other", 200, ("ngrok-error-code", "ERR_NGROK_6024"), body="<html>"),
        "the tunnel's warning page (ERR_NGROK_6024)",
        with_fields("other", 200, body="<html>"),
    ),
    Case(
        "PO08",
        with_fields("cloudflared", 530, ("Server", "cloudflare"), body="error code: 1033"),
        "the tunnel has no agent connected (by cloudflare)",
        with_fields("cloudflared", 502, ("Server", "cloudflare"), body="error code: 502"),
    ),
    Case(
        "PO09",
        with_fields("other", 403, ("ngrok-error-code", "ERR_NGROK_727")),
        "ERR_NGROK_727",
        with_fields("other", 404, ("ngrok-error-code", "ERR_NGROK_3200")),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_and_says_what_was_seen(case: Case) -> None:
    assert case.says in said(case.fires)[case.rule].saw
    assert case.fires_alone, said(case.fires)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_stays_quiet_where_something_else_is_wrong(case: Case) -> None:
    assert case.rule not in said(case.quiet)
