"""RO, UP and PO: hops that have no way to the sidecar, do not get through, or keep callers out."""

from dataclasses import replace

import pytest

from doctor.evidence import Exchange, HopKind, Pairs, Sight, Stamp, Stranger
from doctor.rules import RULES, addressed
from sights import (
    SENT,
    SIDECAR,
    SWITCH,
    Case,
    answer,
    arrival,
    plain,
    probe,
    said,
    sight,
    sight_of,
    unreached,
    upgrade,
    webhook,
)


def own(kind: HopKind, status: int, by: str = "", **more: object) -> Sight:
    """A hop that answered by itself, in its own words unless told otherwise."""
    return sight(kind, upgrade(status, by or kind), **more)  # type: ignore[arg-type]


def with_fields(kind: HopKind, status: int, *fields: tuple[str, str], body: str = "") -> Sight:
    pairs: Pairs = fields
    return sight(kind, upgrade(answer(status, fields=pairs, body=body)))


def stranger(kind: HopKind, what: Stranger, status: int = 502) -> Sight:
    return sight(kind, upgrade(status, kind, strangers=(what,)))


def stamped(error: str, details: str, status: int = 503) -> Exchange:
    return upgrade(answer(status, stamp=Stamp("01", None, error, details)))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("nginx", "location /voice/ { proxy_pass http://127.0.0.1:9000; }   # takes both paths"),
        (
            "tailscale",
            "tailscale funnel --bg --set-path /talk/ws http://127.0.0.1:9000/talk/ws",
        ),
        ("tailscale", "Or one mount for everything: tailscale funnel --bg 9000"),
        ("caddy", "voice.example.com { reverse_proxy 127.0.0.1:9000 }"),
    ],
)
def test_a_fix_names_the_hop_behind_and_the_path_as_they_are(kind: HopKind, line: str) -> None:
    behind = probe("sidecar", url="http://127.0.0.1:9000")
    seen = replace(own(kind, 404, "go"), behind=behind, stream_path="/talk/ws")
    assert line in addressed(RULES["RO01"].page.fix_for(kind), seen).splitlines()


def test_a_fix_stays_as_it_is_written_where_nothing_behind_is_known() -> None:
    seen = replace(own("tailscale", 404, "go"), behind=None)
    fix = RULES["RO01"].page.fix_for("tailscale")
    assert addressed(fix, seen) == fix


def test_a_fix_for_the_sidecar_itself_keeps_its_own_addresses() -> None:
    seen = sight("sidecar", upgrade(404, "gateway"))
    fix = "hopscope proxy --listen 127.0.0.1:8080"
    assert addressed(fix, seen) == fix


ENVOY = ("Server", "envoy")
NOTHING_SAID = replace(plain(200, "", arrived=False), answer=answer(200, body=""))
BYPASS = upgrade(answer(101, fields=SWITCH))
SILENT = upgrade(None, fault="timeout")
SECURE = probe("nginx", name="inner", url="https://10.0.0.2")
REFUSED = stamped("connection_refused", "nothing listens on 127.0.0.1:8081")
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


# Look-alikes


@pytest.mark.parametrize(
    ("kind", "status", "by", "rule"),
    [
        ("nginx", 502, "nginx", "UP01"),
        ("nginx", 503, "nginx", "PO04"),
        ("haproxy", 502, "haproxy", "UP01"),
        ("apache", 503, "apache", "UP01"),
        ("apache", 502, "apache", "UP01"),
        ("caddy", 502, "caddy", "UP01"),
        ("traefik", 502, "traefik", "UP01"),
        ("traefik", 503, "traefik", "UP01"),
        ("envoy", 503, "envoy", "UP01"),
        ("tailscale", 502, "tailscale", "UP01"),
        ("traefik", 504, "traefik", "UP02"),
        ("envoy", 404, "envoy-empty", "RO01"),
        ("tailscale", 404, "go", "RO01"),
        ("apache", 404, "apache", "RO01"),
        ("nginx", 404, "nginx", "RO01"),
        ("nginx", 403, "nginx", "PO01"),
        ("nginx", 401, "nginx", "PO02"),
        ("nginx", 405, "nginx", "PO06"),
        ("nginx", 500, "nginx", "HS05"),
    ],
)
@pytest.mark.parametrize("admin", [True, False])
def test_one_status_has_one_cause(
    kind: HopKind, status: int, by: str, rule: str, admin: bool
) -> None:
    exchange = upgrade(status, by, admin=admin)
    assert set(said(sight(kind, exchange))) == {rule}


@pytest.mark.parametrize("status", [200, 403, 404, 429, 500, 502, 503, 504])
def test_what_came_from_behind_the_sidecar_was_not_made_in_front(status: int) -> None:
    exchange = upgrade(status, "gateway", came=arrival(SENT, status=status, was_echoed=False))
    assert said(sight("nginx", exchange, behind=probe("sidecar", exchange))) == {}


@pytest.mark.parametrize("status", [404, 502, 503])
def test_what_the_hop_behind_answers_alike_is_only_passed_on(status: int) -> None:
    inner = probe("nginx", upgrade(status, "nginx"))
    assert said(sight("cloudflared", upgrade(status, "nginx"), behind=inner)) == {}


def test_the_webhook_tells_a_missing_path_from_a_missing_name() -> None:
    path = said(sight("tailscale", upgrade(404, "go")))["RO01"].saw
    assert "/voice/webhook does arrive, so only the stream's path is missing" in path
    name = sight("tailscale", upgrade(404, "go"), webhook=webhook(404, "go", arrived=False))
    assert "it may be the name" in said(name)["RO01"].saw


def test_haproxy_s_503_is_a_missing_backend_where_the_webhook_has_one() -> None:
    assert set(said(own("haproxy", 503, webhook=webhook(503, "haproxy", arrived=False)))) == {
        "UP01"
    }
    assert set(said(own("haproxy", 503))) == {"RO01"}


def test_one_503_of_many_meanings_is_told_as_all_of_them() -> None:
    nowhere = webhook(503, "haproxy", arrived=False)
    assert (
        "no backend was chosen, or a rule" in said(own("haproxy", 503, webhook=nowhere))["UP01"].saw
    )
    assert "or it was told to for maintenance" in said(own("nginx", 503))["PO04"].saw
    assert "there is no such cluster, or" in said(with_fields("envoy", 503, ENVOY))["UP01"].saw
    spoken = with_fields("envoy", 503, ENVOY, body="no healthy upstream")
    assert "(" not in said(spoken)["UP01"].saw


@pytest.mark.parametrize("kind", ["haproxy", "apache", "caddy", "traefik", "envoy", "other"])
def test_a_503_in_words_that_are_no_program_s_is_not_taken_for_a_lost_upstream(
    kind: HopKind,
) -> None:
    page = "<html><title>Sorry</title>\n<p>Back soon</p></html>"
    found = said(with_fields(kind, 503, body=page))
    assert set(found) == {"HS05"}
    assert "for maintenance or for an upstream that is down ('Sorry Back soon')" in (
        found["HS05"].saw
    )


def test_a_503_of_haproxy_s_that_nginx_passes_on_with_its_own_name_is_about_an_upstream() -> None:
    body = answer(503, "haproxy").body
    relayed = with_fields("nginx", 503, ("Server", "nginx/1.22.1"), body=body)
    assert set(said(relayed)) == {"UP01"}


def test_nginx_s_503_is_never_about_its_upstreams_whoever_wrote_the_page() -> None:
    assert set(said(with_fields("nginx", 503, body="Back soon"))) == {"PO04"}


@pytest.mark.parametrize("kind", ["nginx", "haproxy", "caddy", "other"])
def test_a_502_is_about_an_upstream_whoever_wrote_the_page(kind: HopKind) -> None:
    assert set(said(with_fields(kind, 502, body="Back soon"))) == {"UP01"}


def test_a_hop_that_is_in_trouble_itself_is_named_behind_the_one_that_does_not_reach_it() -> None:
    down = unreached("sidecar", "connect", "refused")
    assert "sidecar, which is itself in trouble" in said(own("nginx", 502, behind=down))["UP01"].saw


def test_strangers_at_the_sidecar_s_port_are_told_of_the_hop_in_front_of_it_alone() -> None:
    inner = probe("haproxy", upgrade(502, "haproxy", strangers=("tls",)))
    front = sight("nginx", upgrade(502, "nginx", strangers=("tls",)), behind=inner)
    assert "UP03" not in said(front)
    assert "UP03" in said(sight_of(inner))


def test_a_stranger_that_the_sidecar_answered_is_told_as_what_it_was() -> None:
    refusal = stamped("http_request_error", "a PROXY protocol header arrived", 400)
    seen = sight("haproxy", replace(refusal, strangers=("proxy",)))
    assert {"UP05", "UP09"} == set(said(seen))


def test_envoy_names_a_handshake_with_its_upstream_that_failed() -> None:
    body = (
        "upstream connect error or disconnect/reset before headers. reset reason: remote "
        "connection failure, transport failure reason: TLS_error:|268435581:SSL routines:"
        "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end"
    )
    seen = sight("envoy", upgrade(answer(503, "envoy", body=body)))
    assert set(said(seen)) == {"UP06"}


@pytest.mark.parametrize(
    ("code", "rule"),
    [(3004, "UP01"), (8012, "UP01"), (3200, "PO08"), (6024, "PO07"), (725, "PO09")],
)
def test_ngrok_s_codes_are_told_apart(code: int, rule: str) -> None:
    seen = with_fields("other", 404, ("ngrok-error-code", f"ERR_NGROK_{code}"), body="<html>")
    assert set(said(seen)) == {rule}


@pytest.mark.parametrize(
    "location",
    [
        "https://team.cloudflareaccess.com/cdn-cgi/access/login/voice",
        "/oauth2/start?rd=%2Fvoice",
        "https://voice.example.com/login",
    ],
)
def test_a_redirect_to_a_login_is_a_login(location: str) -> None:
    assert set(said(with_fields("nginx", 302, ("Location", location)))) == {"PO02"}


def test_a_reset_in_place_of_an_answer_is_told_with_who_else_is_silent() -> None:
    dead = unreached("sidecar", "connect", "refused")
    seen = sight("other", upgrade(None, fault="reset"), behind=dead)
    assert "sidecar behind it does not answer the doctor, either" in said(seen)["RO03"].saw


def test_the_sidecar_s_own_trouble_is_seen_on_plain_requests_that_no_echo_answers() -> None:
    refused = replace(plain(503), answer=REFUSED.answer)
    assert set(said(sight("sidecar", plain=refused))) == {"UP07"}
    assert said(sight("nginx", plain=refused)) == {}


def test_without_the_admin_address_silence_accuses_nobody() -> None:
    seen = sight("traefik", upgrade(None, fault="timeout", admin=False))
    assert said(seen) == {}
    assert said(sight("nginx", upgrade(None, fault="eof", admin=False), behind=SIDECAR)) == {}


@pytest.mark.parametrize("status", [404, 410, 418, 421, 503])
def test_an_empty_answer_of_cloudflareds_last_rule_is_no_route_whatever_its_number(
    status: int,
) -> None:
    made = with_fields("cloudflared", status, ("CF-RAY", "8f1d2c3b4a5e6f70-FRA"))
    assert {"RO01"} <= said(made).keys() <= {"RO01", "HS05"}


def test_an_empty_503_of_another_is_no_missing_rule() -> None:
    typed = with_fields("cloudflared", 503, ("CF-RAY", "1-FRA"), ("Content-Type", "text/html"))
    assert "RO01" not in said(typed)
    assert "RO01" not in said(with_fields("nginx", 503))


def test_a_gateway_that_says_nothing_to_plain_requests_is_not_taken_for_raw_tcp() -> None:
    behind = replace(SIDECAR, plain=NOTHING_SAID)
    bypass = sight("cloudflared", BYPASS, plain=NOTHING_SAID, behind=behind)
    assert said(bypass).keys() == {"RO05"}


def test_a_502_of_the_edge_to_upgrades_alone_is_no_unreached_upstream() -> None:
    """As cloudflared does it on a Unix socket, over HTTP/2."""
    alone = with_fields("cloudflared", 502, body="error code: 502")
    assert "UP01" in said(replace_plain(alone, plain(502, arrived=False)))
    assert said(replace_plain(alone, plain())).keys() == {"HS15"}


def replace_plain(made: Sight, exchange: Exchange) -> Sight:
    return replace(made, probe=replace(made.probe, plain=exchange))
