"""HS: what hops make of the 101 on its way back, and upgrades that they answer themselves."""

from dataclasses import replace

import pytest

from doctor.evidence import Answer, Exchange, Fault, Phase, Stamp
from sights import (
    SENT,
    SIDECAR,
    SWITCH,
    Case,
    answer,
    arrival,
    changed,
    phases_of,
    plain,
    probe,
    said,
    sight,
    sight_of,
    upgrade,
)

WRONG = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
STAMP = Stamp("01", 101)


def switch(**changes: str | None) -> Answer:
    """A stamped 101 with some fields changed on the way."""
    return replace(answer(101, fields=changed(SWITCH, **changes)), stamp=STAMP)


def lost(status: int | None, by: str = "", fault: Fault = "not_upgraded") -> Exchange:
    """The sidecar said 101, and something else came."""
    given = None if status is None else answer(status, by)
    return upgrade(given, came=arrival(), fault=fault)


MISMATCH = upgrade(switch(Sec_WebSocket_Accept=WRONG), came=arrival(), fault="bad_accept")
UNASKED = probe("other", upgrade(answer(101, fields=SWITCH)))
HUNG_UP = replace(
    UNASKED, phases=(*UNASKED.phases, Phase("echo", 1, "cut", "EOF right behind the 101"))
)
HELD = upgrade(switch(), came=arrival(), ms=4500.0)
REDIRECT = (("Location", "https://voice.example.com/voice/stream"),)
NO_UPGRADES = sight("envoy", upgrade(403, "envoy-empty"))

CASES = (
    Case(
        "HS04",
        sight("nginx", upgrade(answer(301, "nginx", fields=REDIRECT))),
        "nginx redirects the upgrade to https://voice.example.com/voice/stream (301)",
        sight("nginx", upgrade(answer(302, fields=(("Location", "/oauth2/start"),)))),
    ),
    Case(
        "HS05",
        sight("nginx", upgrade(500, "nginx")),
        "nginx answered 500 Internal Server Error itself (in the words of nginx): nothing arrived",
        sight("nginx", upgrade(404, "nginx")),
    ),
    Case(
        "HS06",
        sight("haproxy", MISMATCH),
        f"and came back with {WRONG}",
        sight("haproxy", upgrade(switch(), came=arrival())),
    ),
    Case(
        "HS07",
        sight("caddy", lost(200, "caddy")),
        "caddy lost the 101: it left the sidecar, and 200 OK came back",
        sight("caddy", upgrade(answer(200, "caddy"))),
    ),
    Case(
        "HS15",
        NO_UPGRADES,
        "envoy does not have upgrades to websocket enabled",
        sight("envoy", upgrade(403, "envoy-empty"), plain=plain(403, "envoy-empty", arrived=False)),
    ),
    Case(
        "HS16",
        sight_of(HUNG_UP),
        "other answered 101 without asking the sidecar, and then the stream ended: EOF",
        sight_of(UNASKED),
    ),
    Case(
        "HS17",
        sight("other", HELD),
        "other held the 101 back: it left the sidecar at once and came after 4.5 s",
        sight("other", replace(HELD, ms=900.0)),
    ),
    Case(
        "HS20",
        sight("nginx", upgrade(answer(404, "nginx"), came=arrival(SENT, status=403))),
        "nginx replaced the answer: 403 left the sidecar, and 404 came back",
        sight("nginx", upgrade(answer(403, "nginx"), came=arrival(SENT, status=403))),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_alone_and_says_what_was_seen(case: Case) -> None:
    assert case.says in said(case.fires)[case.rule].saw
    assert case.fires_alone, said(case.fires)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_stays_quiet_where_something_else_is_wrong(case: Case) -> None:
    assert case.rule not in said(case.quiet)


def test_a_gateway_s_wrong_accept_is_the_gateway_s() -> None:
    wrong = replace(answer(101, fields=changed(SWITCH, Sec_WebSocket_Accept=WRONG)))
    gateway = sight("gateway", upgrade(wrong, fault="bad_accept"))
    assert WRONG in said(gateway)["HS06"].saw
    passed_on = sight("nginx", MISMATCH, behind=probe("sidecar", MISMATCH))
    assert "HS06" not in said(passed_on)


def test_a_missing_accept_is_told_as_missing() -> None:
    gone = upgrade(switch(Sec_WebSocket_Accept=None), came=arrival(), fault="bad_accept")
    assert "came back with none" in said(sight("haproxy", gone))["HS06"].saw


def test_a_key_that_was_changed_on_the_way_in_is_not_told_as_a_wrong_answer() -> None:
    seen = arrival(changed(SENT, Sec_WebSocket_Key="AAAAAAAAAAAAAAAAAAAAAA=="))
    exchange = upgrade(switch(Sec_WebSocket_Accept=WRONG), came=seen, fault="bad_accept")
    assert set(said(sight("other", exchange))) == {"HS11"}


@pytest.mark.parametrize(
    ("status", "by"), [(502, "haproxy"), (500, "traefik"), (200, "caddy"), (502, "envoy")]
)
def test_a_lost_101_is_never_told_as_an_upstream_that_is_down(status: int, by: str) -> None:
    found = said(sight(by, lost(status, by)))  # type: ignore[arg-type]
    assert set(found) == {"HS07"}


def test_a_101_after_which_nothing_came_is_lost_too() -> None:
    assert "(timeout)" in said(sight("nginx", lost(None, fault="timeout")))["HS07"].saw


def test_a_hop_that_passes_a_lost_101_on_is_not_accused() -> None:
    inner = probe("caddy", lost(200, "caddy"))
    assert said(sight("nginx", lost(200, "caddy"), behind=inner)) == {}


def test_envoy_s_empty_403_is_a_rule_of_its_own_where_plain_requests_are_refused_too() -> None:
    seen = sight("envoy", upgrade(403, "envoy-empty"), plain=plain(403, "envoy", arrived=False))
    assert set(said(seen)) == {"PO01"}


def test_a_redirect_of_the_gateway_is_told_at_the_gateway_alone() -> None:
    given = answer(307, fields=(("Location", "/voice/stream/"),))
    gateway = probe("gateway", upgrade(given))
    assert "to /voice/stream/ (307)" in said(sight_of(gateway))["HS04"].saw
    stamped = upgrade(replace(given, stamp=Stamp("01", 307)), admin=False)
    assert "HS04" not in said(sight("sidecar", stamped, behind=gateway))


def test_without_the_admin_address_only_what_a_program_says_in_its_own_words_is_its_own() -> None:
    silent = probe("sidecar", upgrade(admin=False))
    told = sight("nginx", upgrade(500, "nginx", admin=False), behind=silent)
    assert "the sidecar's stamp is not on it" in said(told)["HS05"].saw
    page = sight("nginx", upgrade(answer(200, body="<html>"), admin=False), behind=silent)
    assert said(page) == {}
    nameless = sight("other", upgrade(answer(404, body="?"), admin=False), behind=silent)
    assert said(nameless) == {}


def test_an_answer_with_the_stamp_was_never_made_in_front() -> None:
    stamped = upgrade(404, "gateway", admin=False)
    assert said(sight("nginx", stamped)) == {}


def test_the_phases_of_the_builders_are_those_of_the_prober() -> None:
    names = [phase.name for phase in phases_of(probe("nginx"))]
    assert names == ["resolve", "connect", "request", "response", "echo", "close"]
    assert probe("nginx").is_good
    assert SIDECAR.is_good
