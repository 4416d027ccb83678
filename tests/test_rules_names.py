"""NE: names, addresses, ports and certificates."""

from dataclasses import replace

import pytest

from doctor.evidence import Fault, HopKind, Phase, Sight
from sights import (
    TLS,
    Case,
    answer,
    broken_at,
    probe,
    said,
    sight,
    sight_of,
    unreached,
    upgrade,
)

PLAIN_TO_TLS = (
    "<html><center><h1>400 Bad Request</h1></center><center>The plain HTTP request was sent to "
    "HTTPS port</center><hr><center>nginx/1.22.1</center></html>"
)
NO_CERTIFICATE = (
    "<html><center><h1>400 Bad Request</h1></center><center>No required SSL certificate was sent"
    "</center><hr><center>nginx/1.22.1</center></html>"
)


def tls_broken(fault: Fault, detail: str, **changes: object) -> Sight:
    made = unreached("nginx", "tls", fault, url="https://voice.example.com")
    return sight_of(replace(made, phases=broken_at("tls", fault, detail), **changes))  # type: ignore[arg-type]


def own(body: str, **changes: object) -> Sight:
    return sight("nginx", upgrade(answer(400, body=body)), **changes)  # type: ignore[arg-type]


HTTPS = sight("nginx", url="https://voice.example.com")
EXPIRED = replace(TLS, not_after="2026-11-20T08:00:00Z", days_left=-3.0)
SOON = replace(TLS, not_after="2026-11-27T08:00:00Z", days_left=4.0)
INSIDE = "https://node.example.ts.net"

CASES = (
    Case(
        "NE01",
        sight_of(unreached("nginx", "resolve", "unresolved")),
        "the name of nginx has no address",
        sight_of(unreached("nginx", "connect", "refused")),
    ),
    Case(
        "NE02",
        sight_of(unreached("sidecar", "connect", "refused")),
        "sidecar does not accept connections",
        sight_of(unreached("sidecar", "connect", "timeout")),
    ),
    Case(
        "NE03",
        tls_broken("certificate_expired", "certificate has expired", tls=EXPIRED),
        "the certificate of nginx ended on 2026-11-20",
        HTTPS,
    ),
    Case(
        "NE04",
        sight_of(
            unreached(
                "nginx",
                "tls",
                "http2",
                url="https://voice.example.com",
                tls=replace(TLS, alpn="h2"),
            )
        ),
        "nginx speaks HTTP/2 only: it chose h2",
        HTTPS,
    ),
    Case(
        "NE05",
        tls_broken("plaintext", "it answered TLS with: HTTP/1.1 400", tls=None),
        "nginx speaks no TLS on this port",
        HTTPS,
    ),
    Case(
        "NE06",
        sight_of(unreached("nginx", "connect", "timeout")),
        "nginx does not answer",
        sight_of(unreached("nginx", "connect", "refused")),
    ),
    Case(
        "NE07",
        sight_of(unreached("nginx", "connect", "unreachable")),
        "nginx cannot be reached",
        sight_of(unreached("nginx", "connect", "refused")),
    ),
    Case("NE08", own(PLAIN_TO_TLS), "answered that its port wants TLS", own(NO_CERTIFICATE)),
    Case(
        "NE09",
        tls_broken("tls_alert", "tlsv1 unrecognized name"),
        "nginx has no certificate for this name",
        tls_broken("tls_alert", "sslv3 alert handshake failure"),
    ),
    Case(
        "NE10",
        own(NO_CERTIFICATE, url="https://voice.example.com"),
        "nginx wants a client certificate",
        tls_broken("tls_alert", "sslv3 alert handshake failure"),
    ),
    Case(
        "NE11",
        tls_broken("tls_eof", "the connection was closed within the TLS handshake"),
        "nginx accepts connections and shakes no hands",
        tls_broken("tls_alert", "sslv3 alert handshake failure"),
    ),
    Case(
        "NE12",
        tls_broken("tls_alert", "tlsv1 alert protocol version"),
        "nginx refused the TLS handshake: tlsv1 alert protocol version",
        tls_broken("tls_alert", "tlsv1 unrecognized name"),
    ),
    Case(
        "NE13",
        sight("nginx", upgrade(None, fault="not_http", first_bytes="SSH-2.0-OpenSSH_9.2")),
        "'SSH-2.0-OpenSSH_9.2'",
        sight("nginx", upgrade(None, fault="not_http", first_bytes="\\x15\\x03\\x03")),
    ),
    Case(
        "NE14",
        sight("nginx", url="https://voice.example.com", tls=SOON),
        "the certificate of nginx ends on 2026-11-27",
        HTTPS,
        also=("TW07",),
    ),
    Case(
        "NE15",
        sight("tailscale", url=INSIDE, addresses=("100.101.102.103", "fd7a:115c:a1e0::1")),
        "tailscale was probed within the tailnet, at 100.101.102.103",
        sight("tailscale", url=INSIDE, addresses=("192.0.2.80", "100.101.102.103")),
        also=("TW07",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_and_says_what_was_seen(case: Case) -> None:
    assert case.says in said(case.fires)[case.rule].saw
    assert case.fires_alone, said(case.fires)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_stays_quiet_where_something_else_is_wrong(case: Case) -> None:
    assert case.rule not in said(case.quiet)


@pytest.mark.parametrize(
    ("fault", "tls", "says"),
    [
        ("certificate_name", TLS, "is for voice.example.com"),
        ("certificate_untrusted", replace(TLS, chain_length=1), "without an intermediate"),
        ("certificate_expired", None, "has expired"),
    ],
)
def test_a_rejected_certificate_is_told_as_what_is_wrong_with_it(
    fault: Fault, tls: object, says: str
) -> None:
    assert says in said(tls_broken(fault, "some words", tls=tls))["NE03"].saw


@pytest.mark.parametrize("alert", ["tlsv13 alert certificate required", "bad certificate"])
def test_a_missing_client_certificate_is_told_from_the_alert(alert: str) -> None:
    assert set(said(tls_broken("tls_alert", alert))) == {"NE10"}


def test_tls_1_3_tells_only_behind_the_handshake_that_a_certificate_is_missing() -> None:
    late = (Phase("resolve", 1), Phase("connect", 1), Phase("tls", 1))
    made = probe(
        "nginx",
        upgrade(None, fault="reset"),
        url="https://voice.example.com",
        phases=(*late, Phase("request", 1, "reset", "tlsv13 alert certificate required")),
    )
    assert "NE10" in said(sight_of(made))


def test_a_tls_alert_in_place_of_http_is_a_port_that_wants_tls() -> None:
    seen = sight("haproxy", upgrade(None, fault="not_http", first_bytes="\\x15\\x03\\x01"))
    assert "a TLS alert" in said(seen)["NE08"].saw


@pytest.mark.parametrize("kind", ["haproxy", "gateway"])
def test_a_port_that_hung_up_and_then_shook_hands_wants_tls(kind: HopKind) -> None:
    seen = sight(kind, upgrade(None, fault="eof"), tls=TLS)
    assert "hung up: its port speaks TLS" in said(seen)["NE08"].saw
    assert set(said(seen)) == {"NE08"}


def test_a_hop_that_answers_in_http2_frames_needs_no_tls_to_be_told() -> None:
    seen = sight("envoy", upgrade(None, fault="http2", first_bytes="\\x00\\x00\\x12\\x04"))
    assert "answered in HTTP/2 frames" in said(seen)["NE04"].saw


def test_a_name_of_one_s_own_that_resolves_within_the_tailnet_is_no_funnel() -> None:
    seen = sight("nginx", url="https://voice.example.com", addresses=("100.101.102.103",))
    assert "NE15" not in said(seen)
