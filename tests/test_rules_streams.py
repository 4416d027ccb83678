"""AN, FR and CL: what gateways answer, and what hops do to messages, silence and closes."""

from dataclasses import replace

import pytest

from doctor.evidence import Fault, Pairs, Phase, Sight, Silence, Stamp
from sights import (
    ECHOES,
    GATEWAY,
    SENT,
    SIDECAR,
    SOAK,
    SWITCH,
    Case,
    answer,
    arrival,
    changed,
    echoes,
    probe,
    said,
    sight,
    sight_of,
    upgrade,
)


def gateway(status: int, *, body: str = "", fields: Pairs = (), sent: Pairs = SENT) -> Sight:
    return sight("gateway", upgrade(answer(status, body=body, fields=fields), sent=sent))


def switched(fields: Pairs, fault: Fault | None = "bad_101") -> Sight:
    return sight("gateway", upgrade(answer(101, fields=fields), fault=fault))


def ended(detail: str) -> Sight:
    made = probe("gateway", upgrade(answer(101, fields=SWITCH)))
    return sight_of(replace(made, phases=(*made.phases, Phase("echo", 1, "cut", detail))))


def battery(**faults: tuple[Fault, str]) -> Sight:
    return sight("other", echoes=echoes(**faults))


def idle(died: float | None, how: str = "EOF without a Close") -> Sight:
    return sight("nginx", silence=Silence(400.0, died, how))


SIGNED = (*SENT, ("X-Twilio-Signature", None))
ZERO = ("Content-Length", "0")
MERGED = tuple(
    replace(each, saw="came back in one frame") if each.name.startswith("frag") else each
    for each in ECHOES
)

CASES = (
    Case(
        "AN01",
        switched(changed(SWITCH, Connection=None)),
        "gateway answered a malformed 101: Connection is missing (wanted: Upgrade)",
        switched((*SWITCH, ("Transfer-Encoding", "chunked"))),
    ),
    Case(
        "AN02",
        switched((*SWITCH, ("Transfer-Encoding", "chunked"))),
        "announces a body: Transfer-Encoding: chunked",
        switched((*SWITCH, ZERO), None),
    ),
    Case(
        "AN03",
        switched((*SWITCH, ("Sec-WebSocket-Protocol", "audio"))),
        "selects what was not offered: Sec-WebSocket-Protocol: audio",
        switched(changed(SWITCH, Connection=None)),
    ),
    Case(
        "AN04",
        gateway(404),
        "gateway has no WebSocket at /voice/stream: it answered 404",
        gateway(400),
    ),
    Case("AN05", gateway(200, body="<html>"), "something else than a WebSocket", gateway(404)),
    Case("AN06", gateway(500), "answered 500 Internal Server Error to a whole", gateway(404)),
    Case(
        "AN07",
        gateway(426, body="no\nOrigin"),
        "426 Upgrade Required to a whole upgrade: 'no Origin'",
        gateway(404),
    ),
    Case("AN08", gateway(403, sent=SIGNED), "403 Forbidden to a signed upgrade", gateway(403)),
    Case(
        "AN09",
        sight("gateway", upgrade(None, fault="timeout", ms=8000.0)),
        "gateway took the upgrade and did not answer in 8.0 s",
        sight("gateway", upgrade(None, fault="eof")),
    ),
    Case(
        "AN10",
        sight("gateway", upgrade(None, fault="eof")),
        "gateway closed the connection in place of an answer",
        sight("gateway", upgrade(None, fault="timeout")),
    ),
    Case(
        "AN11",
        ended("right behind the 101: Close 1011"),
        "gateway answered 101 and ended the stream at once: right behind the 101: Close 1011",
        battery(text_1_B=("cut", "EOF")),
    ),
    Case(
        "AN12",
        switched((*SWITCH, ZERO), None),
        "a 101 with Content-Length: 0",
        switched((*SWITCH, ("Content-Length", "12"))),
    ),
    Case(
        "FR01",
        battery(text_1_B=("missing", "nothing came"), ping=("held", "it came behind another")),
        "other holds messages back: ping: it came behind another",
        battery(text_1_B=("missing", "nothing came")),
    ),
    Case(
        "FR02",
        battery(ping=("missing", "no pong came")),
        "pings: no pong came",
        battery(ping=("cut", "EOF")),
    ),
    Case(
        "FR03",
        battery(text_1_KiB=("altered", "byte 3")),
        "other changes messages: text 1 KiB: byte 3",
        battery(text_1_KiB=("held", "late")),
    ),
    Case(
        "FR04",
        battery(binary_1_MiB=("cut", "Close 1009")),
        "other does not pass binary 1 MiB: Close 1009; binary 64 KiB came back",
        battery(text_1_KiB=("cut", "EOF")),
    ),
    Case(
        "FR05",
        battery(text_1_B=("missing", "nothing came in 3 s")),
        "other does not pass messages on: text 1 B: nothing came in 3 s",
        battery(ping=("missing", "no pong")),
    ),
    Case(
        "FR06",
        battery(text_1_KiB=("cut", "EOF without a Close")),
        "other ended the stream: text 1 KiB: EOF without a Close",
        battery(text_1_KiB=("cut", "Close 1001 going away")),
    ),
    Case(
        "FR07",
        sight("nginx", soak=replace(SOAK, fault="held", worst_gap_ms=900.0)),
        "100 of 100 frames came back, the worst gap was 900 ms",
        sight("nginx", soak=replace(SOAK, fault="cut")),
    ),
    Case(
        "FR08",
        sight("other", echoes=MERGED),
        "other joins fragments: fragments 3 came back in one frame",
        sight("other", echoes=MERGED, behind=probe("sidecar", echoes=MERGED)),
    ),
    Case(
        "CL01",
        idle(60.2),
        "after 60.2 s: EOF without a Close; that is the default of nginx",
        idle(None),
    ),
    Case(
        "CL02",
        battery(close_4000_by_client=("close_lost", "EOF without a Close")),
        "other drops the Close: close 4000 by client",
        battery(close_4000_by_client=("close_changed", "Close 1000")),
    ),
    Case(
        "CL03",
        battery(text_1_KiB=("cut", "Close 1001 going away")),
        "other went away while a stream was open: Close 1001",
        battery(text_1_KiB=("cut", "Close 1011")),
    ),
    Case(
        "CL04",
        battery(close_4000_by_client=("close_changed", "Close 1000")),
        "other changes the Close: close 4000 by client: Close 1000 came",
        battery(close_4000_by_client=("close_lost", "EOF")),
    ),
    Case(
        "CL05",
        battery(close_4001_by_server=("missing", "no Close came")),
        "other does not pass the end of a stream on",
        battery(close_4001_by_server=("close_lost", "EOF")),
    ),
    Case(
        "CL06",
        sight("nginx", soak=replace(SOAK, received=1500, fault="cut")),
        "nginx ended a stream in use after about 30 s of media",
        sight("nginx", soak=replace(SOAK, fault="held")),
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
    "faults",
    [
        {"ping": ("missing", "no pong")},
        {"text_1_B": ("missing", "nothing")},
        {"text_1_KiB": ("altered", "byte 3")},
        {"binary_1_MiB": ("cut", "EOF")},
        {"text_1_KiB": ("cut", "EOF")},
        {"text_1_KiB": ("cut", "Close 1001")},
        {"text_1_B": ("held", "late")},
        {"close_4000_by_client": ("close_lost", "EOF")},
        {"close_4000_by_client": ("close_changed", "Close 1000")},
        {"close_4000_by_client": ("missing", "no Close")},
    ],
)
def test_what_the_hop_behind_does_too_is_not_this_hop_s_doing(
    faults: dict[str, tuple[Fault, str]],
) -> None:
    bad = echoes(**faults)
    assert len(said(sight("nginx", echoes=bad))) == 1
    assert said(sight("nginx", echoes=bad, behind=probe("sidecar", echoes=bad))) == {}


@pytest.mark.parametrize("died", [60.0, 1.2])
def test_a_stream_that_dies_of_silence_behind_is_the_business_of_the_hop_behind(
    died: float,
) -> None:
    behind = probe("haproxy", silence=Silence(400.0, died, "EOF"))
    assert said(sight("nginx", silence=Silence(400.0, died, "EOF"), behind=behind)) == {}


def test_an_age_that_is_nobody_s_default_is_told_as_it_is() -> None:
    assert "default" not in said(idle(45.0))["CL01"].saw


def test_a_silent_stream_that_ended_by_a_restart_was_not_cut_for_its_silence() -> None:
    assert set(said(idle(12.0, "Close 1001 "))) == {"CL03"}


def test_closes_are_not_judged_where_messages_do_not_pass() -> None:
    seen = battery(text_1_B=("missing", "nothing"), close_1000_by_client=("missing", "no Close"))
    assert set(said(seen)) == {"FR05"}


def test_a_sidecar_speaks_for_a_gateway_that_was_not_probed() -> None:
    refused = upgrade(404, "gateway", came=arrival(SENT, status=404, was_echoed=False))
    alone = sight("sidecar", refused, behind=None)
    assert "the gateway behind sidecar has no WebSocket" in said(alone)["AN04"].saw
    assert "AN04" not in said(sight("sidecar", refused, behind=GATEWAY))


def test_what_goes_through_to_the_gateway_counts_more_than_the_echo() -> None:
    through = upgrade(500, "gateway", came=arrival(SENT, status=500, was_echoed=False))
    assert set(said(sight("sidecar", through=through, behind=None))) == {"AN06"}


@pytest.mark.parametrize("status", [401, 403])
def test_an_unsigned_upgrade_may_be_refused(status: int) -> None:
    assert said(gateway(status)) == {}


def test_a_101_that_a_hop_bent_is_told_at_that_hop_alone() -> None:
    bent = replace(answer(101, fields=changed(SWITCH, Upgrade=None)), stamp=Stamp("01", 101))
    exchange = upgrade(bent, came=arrival(), fault="bad_101")
    assert set(said(sight("nginx", exchange))) == {"AN01"}
    assert said(sight("cloudflared", exchange, behind=probe("nginx", exchange))) == {}


def test_a_gateway_that_ends_its_stream_at_once_is_not_told_of_the_hops_in_front() -> None:
    cut = (*SIDECAR.phases[:4], Phase("echo", 1, "cut", "EOF"))
    inner = ended("EOF right behind the 101").probe
    passed_on = replace(SIDECAR, echoes=(), phases=cut)
    assert "AN11" not in said(sight_of(passed_on, inner))
