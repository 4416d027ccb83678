"""All rules together: each has a case, a page, and nothing to say about what is healthy."""

import string
from dataclasses import replace

import pytest

import test_rules_handshake
import test_rules_names
import test_rules_routing
import test_rules_streams
import test_rules_switching
import test_rules_twilio
from doctor.diagnosis.places import GENERAL
from doctor.diagnosis.verdict import known_phases
from doctor.evidence import KINDS, HopKind, Pairs, Sight
from doctor.rules import EVIDENCE, RULES, read_page, rule
from sights import (
    HOST,
    SENT,
    Case,
    arrival,
    changed,
    head,
    plain,
    said,
    sight,
    skipped,
    upgrade,
    webhook,
)

MODULES = (
    test_rules_handshake,
    test_rules_names,
    test_rules_routing,
    test_rules_streams,
    test_rules_switching,
    test_rules_twilio,
)
CASES: list[Case] = [case for module in MODULES for case in module.CASES]
# The first set, whose ids and slugs are promised (they are never reused).
PROMISED = {
    "NE01": "name-unresolved",
    "NE02": "connection-refused",
    "NE03": "certificate-rejected",
    "NE04": "http2-negotiated",
    "NE05": "tls-to-plaintext",
    "HS01": "upgrade-stripped",
    "HS02": "connection-rewritten",
    "HS03": "http10-arrived",
    "HS04": "redirected",
    "HS05": "answered-before-sidecar",
    "HS06": "accept-mismatch",
    "HS07": "switch-lost",
    "HS08": "target-rewritten",
    "HS09": "subprotocol-dropped",
    "HS10": "host-rewritten",
    "FR01": "frames-held",
    "FR02": "ping-unanswered",
    "FR03": "frame-altered",
    "FR04": "large-message-cut",
    "CL01": "idle-cut",
    "CL02": "closed-without-close",
    "CL03": "hop-restarted",
    "CL04": "close-code-changed",
    "TW01": "signature-url-mismatch",
    "TW02": "stream-url-query",
    "TW03": "stream-url-not-wss",
    "TW04": "twiml-not-ok",
    "TW05": "stream-never-arrived",
    "TW06": "stream-advertised-but-unserved",
}
# What each program writes of an upgrade that is well, captured.
WELL: dict[HopKind, str] = {
    "nginx": "nginx/usual-upgrade",
    "haproxy": "haproxy/forwardfor-upgrade",
    "apache": "apache/preserve-host-upgrade",
    "caddy": "caddy/upgrade",
    "traefik": "traefik/upgrade",
    "envoy": "envoy/upgrade",
    "cloudflared": "cloudflare/upgrade",
    "tailscale": "tailscale-funnel/upgrade",
    "other": "ngrok/upgrade",
}


def test_every_rule_has_a_case_that_fires_and_one_that_stays_quiet_and_no_case_lacks_a_rule() -> (
    None
):
    told = [case.rule for case in CASES]
    assert sorted(told) == sorted(RULES)


def test_the_promised_rules_are_there_under_their_names() -> None:
    assert {name: RULES[name].slug for name in PROMISED} == PROMISED


def test_no_two_rules_share_a_slug() -> None:
    assert len({known.slug for known in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_page_is_whole_and_knows_the_kinds_that_it_fixes(name: str) -> None:
    page = RULES[name].page
    assert page.defect.endswith(".")
    assert page.defect[0] in string.ascii_uppercase
    assert "\n" not in page.defect
    for text in (page.why, page.evidence, page.fix, *page.fixes.values()):
        assert text
        assert text[0] not in string.whitespace
    assert set(page.fixes) <= set(KINDS)
    assert all(len(line) <= 100 for text in page.fixes.values() for line in text.splitlines())


def test_pages_hold_fixes_for_every_kind_of_ingress() -> None:
    counts = dict.fromkeys(KINDS, 0)
    for known in RULES.values():
        for kind in known.page.fixes:
            counts[kind] += 1  # type: ignore[index]
    assert all(count >= 5 for kind, count in counts.items() if kind not in ("other", "sidecar"))


def test_every_family_has_its_phase_and_its_place() -> None:
    assert known_phases() == {name[:2] for name in RULES}
    assert set(RULES) >= GENERAL


def healthy(kind: HopKind) -> Sight:
    """A hop as the program writes it, everything that is probed included and well."""
    if kind in ("gateway", "sidecar"):
        return sight(kind)
    version, fields = head(WELL[kind])
    host = next(str(value) for name, value in fields if name.lower() == "host")
    sent = changed(SENT, Host=host)
    exchange = upgrade(came=arrival(fields, version=version), sent=sent)
    seen = sight(kind, exchange, plain=plain(), webhook=webhook())
    return replace(seen, extra=test_rules_twilio.call())


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_has_anything_to_say_about_a_healthy_hop(kind: HopKind) -> None:
    assert said(healthy(kind)) == {}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"gateway", "sidecar"}))
def test_no_rule_has_anything_to_say_about_a_hop_in_front_of_a_healthy_one(kind: HopKind) -> None:
    inner, seen = healthy("nginx").probe, healthy(kind)
    assert said(replace(seen, behind=inner)) == {}


def test_a_hop_that_routes_the_voice_paths_alone_is_healthy() -> None:
    alone = sight("nginx", plain=plain(404, "nginx", arrived=False))
    assert said(alone) == {}


def test_a_rule_whose_evidence_is_missing_is_skipped_and_says_why() -> None:
    bare = replace(sight("nginx").probe, upgrade=None, echoes=())
    lacks = skipped(Sight(bare))
    needy = [known for known in RULES.values() if set(known.needs) & {"upgrade", "answer"}]
    assert needy
    assert all(lacks[known.id] for known in needy)
    assert lacks["FR01"] == EVIDENCE["echoes"][1]


def test_no_evidence_at_all_makes_no_rule_raise() -> None:
    for kind in KINDS:
        bare = replace(sight(kind).probe, upgrade=None, plain=None, webhook=None, phases=())
        assert said(Sight(bare)) == {}


# The registry itself


def broken(probe: object) -> None:
    """Something.

    Why:
        So.
    """


def unknown(moon: object) -> None:
    """Something.

    Why:
        So.
    Evidence:
        Seen.
    Fix:
        This.
    """


@pytest.mark.parametrize(
    ("rule_id", "check", "says"),
    [
        ("ZZ01", broken, "lacks Evidence, Fix"),
        ("HS01", unknown, "another rule's"),
        ("Z1", unknown, "is no rule's id"),
        ("ZZ02", unknown, "no evidence called moon"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule_id: str, check: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rule(rule_id)(check)  # type: ignore[arg-type]
    assert rule_id == "HS01" or rule_id not in RULES


def test_a_page_gives_the_fix_of_the_hop_s_own_kind_and_else_the_common_one() -> None:
    page = read_page(
        "ZZ03", "A defect.\n\nWhy:\n    a\nEvidence:\n    b\nFix nginx:\n    c\nFix:\n    d"
    )
    assert (page.fix_for("nginx"), page.fix_for("caddy")) == ("c", "d")


def test_what_is_said_quotes_no_secret() -> None:
    fields: Pairs = (*SENT, ("Authorization", None), ("X-Twilio-Signature", None))
    for case in CASES:
        for finding in said(case.fires).values():
            assert "None" not in finding.saw, finding
    assert said(sight("nginx", upgrade(came=arrival(fields)))) == {}
    assert HOST
