"""RO, UP and PO: answers that look alike, and are told apart."""

from dataclasses import replace

import pytest

from doctor.evidence import Exchange, HopKind, Sight
from own_answers import BYPASS, NOTHING_SAID, REFUSED, own, stamped, with_fields
from sights import (
    SENT,
    SIDECAR,
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

ENVOY = ("Server", "envoy")


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
