"""From evidence to a verdict: the guilty hop, what follows from it, and what cannot be told."""

from dataclasses import replace

import pytest

from doctor.diagnosis.verdict import EXIT_CODES, Diagnosis, diagnose, sights_of
from doctor.evidence import (
    Fault,
    Linted,
    Phase,
    PhaseName,
    Probe,
    Silence,
    Stamp,
    Untried,
)
from sights import (
    ECHOES,
    GATEWAY,
    HOST,
    SENT,
    SIDECAR,
    TLS,
    answer,
    arrival,
    broken_at,
    echoes,
    plain,
    probe,
    unreached,
    upgrade,
    without,
)

STRIPPED = upgrade(426, came=arrival(without("Upgrade", "Connection"), version="1.0", status=426))
NGINX = probe("nginx")
EDGE = probe("cloudflared", name="edge")
DOWN = unreached("sidecar", "connect", "refused")
# An nginx in front of it: nothing arrives.
DOWNED = probe("nginx", upgrade(502, "nginx"), plain=None, webhook=None)


def told(*probes: Probe) -> Diagnosis:
    return diagnose(sights_of(probes))


def rules(found: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.rule, finding.hop) for finding in found.findings]


def folded(found: Diagnosis) -> set[tuple[str, str]]:
    return {(finding.rule, finding.hop) for finding in found.consequences}


# Healthy


def test_a_chain_whose_hops_are_all_good_is_healthy() -> None:
    found = told(GATEWAY, SIDECAR, NGINX)
    assert (found.verdict, found.hop, found.phase, found.rule) == ("healthy", None, None, None)
    assert found.sentence == "Healthy: all 3 hops are good (gateway, sidecar, nginx)."
    assert (found.findings, found.exit_code) == ((), 0)


def test_a_hop_that_routes_the_voice_paths_alone_is_healthy() -> None:
    alone = probe("nginx", plain=plain(404, "nginx", arrived=False))
    assert told(GATEWAY, SIDECAR, alone).verdict == "healthy"


def test_a_warning_never_breaks_a_verdict() -> None:
    lenient = probe("nginx", upgrade(came=arrival(SENT, version="1.0")))
    found = told(GATEWAY, SIDECAR, lenient)
    assert (found.verdict, rules(found)) == ("healthy", [("HS12", "nginx")])
    assert found.sentence.endswith("; 1 to look at.")


def test_without_a_gateway_in_the_chain_it_is_told_that_nobody_asked_it() -> None:
    assert "the gateway itself was not asked" in told(SIDECAR, NGINX).sentence
    through = replace(upgrade(), arrivals=(arrival(was_echoed=False),))
    asked = told(replace(SIDECAR, through=through), NGINX)
    assert asked.sentence == "Healthy: all 2 hops are good (sidecar, nginx)."


def untried(phase: PhaseName, because: str) -> tuple[Untried, ...]:
    return (Untried(phase, because),)


def test_what_was_not_tried_is_told_beside_good_health() -> None:
    deaf = probe("nginx", echoes=(), untried=untried("echo", "no probe could be armed"))
    found = told(GATEWAY, SIDECAR, deaf)
    assert found.verdict == "healthy"
    assert found.sentence == (
        "Healthy: all 3 hops are good (gateway, sidecar, nginx); not seen: whether messages pass "
        "at nginx (no probe could be armed)."
    )
    skipped = {each.rule: each.because for each in found.skipped if each.hop == "nginx"}
    assert skipped["FR01"] == "no probe could be armed"
    assert skipped["CL01"] == "the stream was not left idle (--idle)"


@pytest.mark.parametrize(
    ("phase", "words"), [("idle", "a silent stream"), ("media", "media")], ids=["idle", "media"]
)
def test_what_was_asked_for_and_not_tried_leaves_nothing_to_be_called_healthy(
    phase: PhaseName, words: str
) -> None:
    sidecar = replace(SIDECAR, untried=untried(phase, "too many are armed"))
    nginx = probe("nginx", untried=untried(phase, "too many are armed"))
    found = told(GATEWAY, sidecar, nginx)
    assert found.verdict == "cannot_tell"
    assert found.sentence == (
        f"Cannot tell: asked for and not seen: {words} at sidecar, nginx (too many are armed). "
        "Nothing else is wrong."
    )


def test_what_a_hop_further_out_showed_was_seen_for_those_behind_it() -> None:
    sidecar = replace(SIDECAR, untried=untried("idle", "too many are armed"))
    assert told(GATEWAY, sidecar, probe("nginx", silence=Silence(9.0))).verdict == "healthy"
    cut = Silence(9.0, 5.0, "EOF without Close")
    assert told(GATEWAY, sidecar, probe("nginx", silence=cut)).rule == "CL01"


def test_a_break_is_told_whatever_was_not_tried() -> None:
    sidecar = replace(SIDECAR, untried=untried("idle", "too many are armed"))
    found = told(GATEWAY, sidecar, probe("nginx", STRIPPED))
    assert (found.verdict, found.rule) == ("broken", "HS01")


# Configurations


def test_what_is_written_never_decides_a_verdict_and_is_told_of_the_guilty_hop_first() -> None:
    note = Linted("NG07", "slug", "nginx.conf", 3, "saw", "fix", "warning")
    slip = replace(note, rule="NG01", level="error")
    linted = {"sidecar": (slip,), "nginx": (note, slip)}
    found = diagnose(sights_of((GATEWAY, SIDECAR, NGINX), linted=linted))
    assert (found.verdict, found.findings) == ("healthy", ())
    broken = diagnose(sights_of((GATEWAY, SIDECAR, probe("nginx", STRIPPED)), linted=linted))
    assert [(each.hop, each.found.rule) for each in broken.configuration] == [
        ("nginx", "NG01"),
        ("nginx", "NG07"),
        ("sidecar", "NG01"),
    ]
    assert {finding.rule for finding in broken.findings} == {"HS01"}


# Guilty


def test_a_hop_is_guilty_that_is_bad_while_the_one_behind_is_good() -> None:
    found = told(GATEWAY, SIDECAR, probe("nginx", STRIPPED), probe("cloudflared", STRIPPED))
    assert (found.verdict, found.hop, found.phase, found.rule) == (
        *("broken", "nginx", "request", "HS01"),
    )
    assert found.sentence.startswith("nginx removed the Upgrade header: the upgrade left the ")
    assert found.sentence.endswith(".")
    assert rules(found) == [("HS01", "nginx")]
    assert found.exit_code == 1


def test_a_gateway_that_is_bad_itself_is_guilty_though_all_echoes_are_good() -> None:
    found = told(probe("gateway", upgrade(answer(404))), SIDECAR, NGINX)
    assert (found.verdict, found.hop, found.rule) == ("broken", "gateway", "AN04")


def test_a_gateway_that_is_down_is_guilty_and_the_sidecar_s_503_follows() -> None:
    refused = Stamp("01", None, "connection_refused", "nothing listens on 127.0.0.1:8081")
    through = upgrade(answer(503, stamp=refused), came=arrival(status=503, was_echoed=False))
    phases = (*SIDECAR.phases[:2], Phase("request", 1, "not_upgraded", "503"))
    sidecar = replace(SIDECAR, through=through, phases=phases, plain=None, webhook=None)
    nginx = replace(NGINX, plain=None, webhook=None)
    found = told(unreached("gateway", "connect", "refused"), sidecar, nginx)
    assert (found.hop, found.phase, found.rule) == ("gateway", "connect", "NE02")
    assert folded(found) == {("UP07", "sidecar")}
    alone = told(GATEWAY, sidecar, NGINX)
    assert (alone.verdict, alone.hop, alone.rule) == ("broken", "sidecar", "UP07")


def test_a_hop_is_guilty_that_changes_the_path_though_its_stream_is_echoed() -> None:
    found = told(GATEWAY, SIDECAR, probe("nginx", upgrade(came=arrival(target="/stream"))))
    assert (found.verdict, found.hop, found.phase, found.rule) == (
        *("broken", "nginx", "request", "HS08"),
    )


def test_where_no_rule_knows_the_cause_hop_phase_and_answer_are_named() -> None:
    odd = upgrade(400, "gateway", came=arrival(status=400, was_echoed=False))
    found = told(GATEWAY, SIDECAR, probe("nginx", odd))
    assert (found.verdict, found.hop, found.phase, found.rule) == (
        *("broken", "nginx", "request", None),
    )
    assert found.sentence == (
        "nginx does not upgrade: 400 (from behind the sidecar); sidecar behind it does."
    )


def test_an_unstamped_answer_that_no_rule_knows_is_told_as_unstamped() -> None:
    odd = upgrade(answer(204), admin=False)
    found = told(GATEWAY, SIDECAR, probe("nginx", odd))
    assert (found.hop, found.rule) == ("nginx", None)
    assert "(without the sidecar's stamp)" in found.sentence


@pytest.mark.parametrize(
    ("faults", "phase", "rule"),
    [
        ({"text_1_B": ("missing", "nothing")}, "echo", "FR05"),
        ({"close_4000_by_client": ("close_changed", "Close 1000")}, "close", "CL04"),
    ],
)
def test_the_phase_is_the_first_that_broke(
    faults: dict[str, tuple[Fault, str]], phase: str, rule: str
) -> None:
    found = told(GATEWAY, SIDECAR, probe("other", echoes=echoes(**faults)))
    assert (found.phase, found.rule) == (phase, rule)


# Folding


def test_what_only_repeats_a_break_is_folded_under_it() -> None:
    front = replace(DOWNED, hop=replace(DOWNED.hop, name="edge", kind="cloudflared"))
    found = told(GATEWAY, DOWN, DOWNED, front)
    assert (found.verdict, found.hop, found.rule) == ("broken", "sidecar", "NE02")
    assert rules(found) == [("NE02", "sidecar")]
    assert folded(found) == {("UP01", "nginx")}


def test_a_fault_with_evidence_of_its_own_stays_a_finding() -> None:
    expired = replace(
        replace(DOWNED, hop=replace(DOWNED.hop, url="https://voice.example.com"), tls=TLS),
        phases=(*broken_at("tls", "certificate_expired"), Phase("request", 1, "not_upgraded")),
    )
    found = told(GATEWAY, DOWN, expired)
    assert found.hop == "sidecar"
    assert rules(found) == [("NE02", "sidecar"), ("NE03", "nginx")]
    assert folded(found) == {("UP01", "nginx")}


def test_of_two_faults_at_two_hops_the_inner_one_is_the_verdict() -> None:
    prefix = upgrade(came=arrival(target="/stream"))
    both = upgrade(426, came=arrival(without("Upgrade"), target="/stream", status=426))
    found = told(GATEWAY, SIDECAR, probe("nginx", prefix), probe("cloudflared", both))
    assert (found.hop, found.rule) == ("nginx", "HS08")
    assert rules(found) == [("HS08", "nginx"), ("HS01", "cloudflared")]


def test_of_two_faults_at_one_hop_both_are_told_causes_first() -> None:
    phases = (*broken_at("tls", "certificate_name"), Phase("request", 1, "not_upgraded", "426"))
    both = probe("nginx", STRIPPED, url="https://voice.example.com", phases=phases)
    found = told(GATEWAY, SIDECAR, both)
    assert (found.phase, found.rule) == ("tls", "NE03")
    assert rules(found)[:2] == [("NE03", "nginx"), ("HS01", "nginx")]


def test_a_rule_that_only_describes_gives_way_to_one_that_knows() -> None:
    came = arrival(without("Upgrade"), status=426)
    replaced = upgrade(answer(404, "nginx"), came=came)
    found = told(GATEWAY, SIDECAR, probe("nginx", replaced))
    assert rules(found) == [("HS01", "nginx")]
    assert folded(found) == {("HS20", "nginx")}


def test_an_advertised_stream_explains_what_the_gateway_answers_to_it() -> None:
    call = {
        "webhook": {"status": 200},
        "twiml": f'<Response><Connect><Stream url="wss://{HOST}/voice/stream"/></Connect></Response>',
    }
    gateway = probe("gateway", upgrade(answer(404)))
    found = diagnose(sights_of((gateway, SIDECAR), extra={"call": call}))
    assert (found.rule, rules(found)) == ("TW06", [("TW06", "gateway")])
    assert ("AN04", "gateway") in folded(found)


def test_what_the_echo_shows_does_not_follow_from_what_the_gateway_does() -> None:
    gateway = probe("gateway", upgrade(answer(404)))
    cut = probe("nginx", silence=Silence(9.0, 2.0, "EOF"))
    found = told(gateway, replace(SIDECAR, silence=Silence(9.0)), cut)
    assert rules(found) == [("AN04", "gateway"), ("CL01", "nginx")]
    unasked = probe("nginx", upgrade(502, "nginx"))
    assert rules(told(gateway, SIDECAR, unasked)) == [("AN04", "gateway"), ("UP01", "nginx")]


def test_a_prefix_that_is_cut_on_purpose_is_no_fault() -> None:
    """The hops behind were asked for the public path, which is not theirs."""
    public = "/telephone/voice/stream"
    gateway = probe("gateway", replace(upgrade(answer(404)), target=public))
    through = upgrade(404, "gateway", came=arrival(target=public, status=404, was_echoed=False))
    sidecar = probe(
        "sidecar",
        replace(upgrade(came=arrival(target=public)), target=public),
        through=replace(through, target=public),
        phases=(*SIDECAR.phases[:2], Phase("request", 1, "not_upgraded", "404")),
    )
    taken = upgrade(came=arrival(target="/voice/stream", was_echoed=False))
    nginx = probe(
        "nginx",
        replace(upgrade(came=arrival(target="/voice/stream")), target=public),
        through=replace(taken, target=public),
        echoes=ECHOES,
    )
    assert told(gateway, sidecar, nginx).verdict == "healthy"
    refused = replace(nginx, through=replace(through, target=public))
    assert told(gateway, sidecar, refused).hop == "gateway"


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


def test_every_hop_sees_the_one_behind_and_its_own_configuration() -> None:
    first, second = sights_of((GATEWAY, SIDECAR), stream_path="/media", linted={"sidecar": ()})
    assert (first.behind, second.behind, second.stream_path) == (None, GATEWAY, "/media")


def test_verdicts_have_the_exit_codes_of_the_command_line() -> None:
    assert EXIT_CODES == {"healthy": 0, "broken": 1, "cannot_tell": 2}
