"""From evidence to a verdict: healthy or not, the guilty hop, and its phase."""

from dataclasses import replace

import pytest

from diagnosed import NGINX, STRIPPED, folded, rules, told
from doctor.diagnosis.verdict import EXIT_CODES, diagnose, sights_of
from doctor.evidence import Fault, Linted, Phase, PhaseName, Silence, Stamp, Untried
from sights import GATEWAY, SENT, SIDECAR, answer, arrival, echoes, plain, probe, unreached, upgrade

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
    assert asked.sentence == "Healthy: both hops are good (sidecar, nginx)."


def test_a_hop_that_is_alone_is_called_good_and_not_counted() -> None:
    assert told(GATEWAY).sentence == "Healthy: gateway is good."


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


# What all of them have


def test_every_hop_sees_the_one_behind_and_its_own_configuration() -> None:
    first, second = sights_of((GATEWAY, SIDECAR), stream_path="/media", linted={"sidecar": ()})
    assert (first.behind, second.behind, second.stream_path) == (None, GATEWAY, "/media")


def test_verdicts_have_the_exit_codes_of_the_command_line() -> None:
    assert EXIT_CODES == {"healthy": 0, "broken": 1, "cannot_tell": 2}
