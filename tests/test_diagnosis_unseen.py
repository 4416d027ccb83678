"""Hops that could not be probed, evidence that contradicts itself, and what cannot be told."""

from dataclasses import replace

import pytest

from diagnosed import EDGE, NGINX, STRIPPED, told
from doctor.diagnosis.verdict import diagnose, sights_of
from doctor.evidence import Phase, Stamp
from sights import (
    ECHOES,
    GATEWAY,
    HOST,
    SIDECAR,
    answer,
    arrival,
    broken_at,
    echoes,
    probe,
    unreached,
    upgrade,
)

# Holes


def test_a_break_around_a_hole_lies_between_two_hops() -> None:
    hole = replace(NGINX, phases=(), upgrade=None, plain=None, webhook=None, echoes=())
    found = told(GATEWAY, SIDECAR, hole, probe("tailscale", upgrade(400)))
    assert (found.verdict, found.hop, found.between) == ("broken", None, ("sidecar", "tailscale"))
    assert "nginx in between could not be probed" in found.sentence


def test_a_hidden_hop_is_named_by_the_words_of_its_answer() -> None:
    hole = replace(NGINX, phases=(), upgrade=None, plain=None, webhook=None, echoes=())
    found = told(GATEWAY, SIDECAR, hole, probe("tailscale", upgrade(403, "nginx")))
    assert (found.verdict, found.hop) == ("broken", "nginx")
    assert "is in its words" in found.sentence


def test_a_break_before_the_first_request_is_the_hop_s_own_whatever_is_hidden_behind() -> None:
    hole = replace(NGINX, phases=(), upgrade=None, plain=None, webhook=None, echoes=())
    found = told(GATEWAY, SIDECAR, hole, unreached("tailscale", "tls", "tls_eof"))
    assert (found.verdict, found.hop, found.rule) == ("broken", "tailscale", "NE11")


def test_a_hop_that_only_the_doctor_cannot_reach_is_no_break() -> None:
    inner = unreached("nginx", "resolve", "unresolved")
    found = told(GATEWAY, SIDECAR, inner, EDGE)
    assert found.verdict == "healthy"
    assert [(each.rule, each.level) for each in found.findings] == [("NE01", "warning")]


def test_an_inner_certificate_that_the_hop_in_front_takes_is_no_break() -> None:
    phases = (*broken_at("tls", "certificate_untrusted"), Phase("request", 0), Phase("response", 1))
    inner = replace(probe("nginx", url="https://10.0.0.2"), phases=phases)
    assert told(GATEWAY, SIDECAR, inner, EDGE).verdict == "healthy"
    assert told(GATEWAY, SIDECAR, inner).rule == "NE03"


def test_what_else_is_wrong_at_a_hop_with_such_a_certificate_is_not_forgotten() -> None:
    phases = (
        *broken_at("tls", "certificate_untrusted"),
        Phase("request", 1, "not_upgraded", "426"),
    )
    inner = probe("nginx", STRIPPED, url="https://10.0.0.2", phases=phases)
    found = told(GATEWAY, SIDECAR, inner, probe("cloudflared", STRIPPED))
    assert (found.hop, found.rule) == ("nginx", "HS01")


def test_a_gateway_that_could_not_be_asked_leaves_the_verdict_open() -> None:
    found = told(unreached("gateway", "connect", "refused"), SIDECAR, NGINX)
    assert (found.verdict, found.exit_code) == ("cannot_tell", 2)
    assert "gateway could not be probed" in found.sentence
    through = replace(upgrade(), arrivals=(arrival(was_echoed=False),))
    seen = told(unreached("gateway", "connect", "refused"), replace(SIDECAR, through=through))
    assert seen.verdict == "healthy"


def test_no_hops_are_no_health() -> None:
    assert told().verdict == "cannot_tell"
    assert told(replace(NGINX, phases=(), upgrade=None)).verdict == "cannot_tell"


# The innermost hop


def test_a_sidecar_that_says_what_the_unprobed_gateway_answered_is_not_guilty() -> None:
    refused = upgrade(404, "gateway", came=arrival(status=404, was_echoed=False))
    found = told(probe("sidecar", refused), probe("nginx", refused))
    assert (found.verdict, found.hop, found.rule) == ("broken", None, "AN04")
    assert "The gateway behind sidecar, which was not probed itself" in found.sentence


def test_a_sidecar_that_does_not_reach_its_unprobed_gateway_is_named() -> None:
    stamp = Stamp("01", None, "connection_refused", "nothing listens on 127.0.0.1:8081")
    found = told(probe("sidecar", upgrade(answer(503, stamp=stamp))))
    assert (found.verdict, found.hop, found.rule) == ("broken", "sidecar", "UP07")


@pytest.mark.parametrize("admin", [True, False])
def test_from_outside_the_stamp_alone_tells_front_from_behind(admin: bool) -> None:
    behind = upgrade(404, "gateway", admin=admin)
    found = told(probe("other", behind, url=f"https://{HOST}"))
    assert (found.verdict, found.hop) == ("broken", None)
    assert "was not probed itself" in found.sentence


def test_without_a_stamp_a_public_url_alone_cannot_be_told() -> None:
    found = told(probe("other", upgrade(answer(404, body="?"), admin=False)))
    assert (found.verdict, found.hop) == ("cannot_tell", None)
    assert "--hops" in found.sentence
    assert "--admin" in found.sentence


def test_a_public_url_that_answers_in_the_words_of_its_kind_is_guilty_by_itself() -> None:
    found = told(probe("tailscale", upgrade(404, "go", admin=False)))
    assert (found.verdict, found.hop, found.rule) == ("broken", "tailscale", "RO01")


def test_a_name_that_does_not_resolve_is_nobody_else_s() -> None:
    found = told(unreached("other", "resolve", "unresolved"))
    assert (found.verdict, found.hop, found.phase, found.rule) == (
        *("broken", "other", "resolve", "NE01"),
    )


# Contradictions


def test_a_fault_of_the_sidecar_that_only_one_way_shows_cannot_be_told() -> None:
    stamp = Stamp("01", None, "connection_refused", "nothing listens")
    flapping = probe("nginx", upgrade(answer(503, stamp=stamp)))
    found = told(GATEWAY, SIDECAR, flapping)
    assert (found.verdict, found.hop) == ("cannot_tell", None)
    assert "Run the doctor again" in found.sentence


def test_a_bad_hop_behind_a_good_one_cannot_be_what_breaks_calls() -> None:
    bad = replace(SIDECAR, echoes=echoes(text_1_B=("missing", "nothing")))
    bad = replace(bad, phases=(*SIDECAR.phases[:4], Phase("echo", 1, "missing", "text 1 B")))
    found = told(GATEWAY, bad, NGINX)
    assert (found.verdict, found.hop) == ("cannot_tell", None)
    assert "nginx in front of it" in found.sentence


def test_a_fault_in_the_path_stays_a_fault_though_the_hop_in_front_is_good() -> None:
    inner = probe("nginx", upgrade(came=arrival(target="/stream")))
    front = probe("cloudflared", upgrade(came=arrival(target="/stream")), echoes=ECHOES)
    found = told(GATEWAY, SIDECAR, inner, front)
    assert (found.verdict, found.hop, found.rule) == ("broken", "nginx", "HS08")


# Chains of another make


def test_a_proxy_between_gateway_and_sidecar_is_judged_by_the_answers_alone() -> None:
    bad = probe("nginx", upgrade(answer(502, "nginx")), echoes=())
    phases = (*SIDECAR.phases[:2], Phase("request", 1, "not_upgraded", "502"))
    through = upgrade(502, "gateway", came=arrival(status=502, was_echoed=False))
    sidecar = replace(SIDECAR, through=through, phases=phases)
    sights = sights_of((GATEWAY, bad, sidecar))
    assert [each.has_sidecar for each in sights] == [False, False, True]
    found = diagnose(sights)
    assert (found.verdict, found.hop) == ("broken", "nginx")
