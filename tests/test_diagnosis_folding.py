"""Of several faults in a chain: which is the verdict, which stays, and which only follows."""

from dataclasses import replace

from diagnosed import DOWN, DOWNED, STRIPPED, folded, rules, told
from doctor.diagnosis.verdict import diagnose, sights_of
from doctor.evidence import Phase, Silence
from sights import (
    ECHOES,
    GATEWAY,
    HOST,
    SIDECAR,
    TLS,
    answer,
    arrival,
    broken_at,
    probe,
    upgrade,
    without,
)


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
