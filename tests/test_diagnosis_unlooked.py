"""What a report leaves open: a line for people, and every rule in the HTML."""

from dataclasses import replace

import pytest

from diagnosed import EDGE, NGINX, STRIPPED, told
from doctor.diagnosis.html import page
from doctor.diagnosis.unlooked import unlooked
from doctor.evidence import Exchange, Probe, Silence, Soak
from sights import GATEWAY, SIDECAR, probe, unreached, upgrade

OPTIONS = "silence (--idle SECONDS), media (--soak SECONDS), a call (hopscope call WEBHOOK_URL)"
NOT_ARRIVED = upgrade(404, "nginx")
UNKNOWN = upgrade(404, "nginx", admin=False)


def lines(*probes: Probe) -> list[str]:
    return list(unlooked(told(*probes), probes))


@pytest.mark.parametrize("chain", [(SIDECAR,), (GATEWAY, SIDECAR), (GATEWAY, SIDECAR, NGINX, EDGE)])
def test_a_healthy_chain_has_one_line_which_names_the_options(chain: tuple[Probe, ...]) -> None:
    found = told(*chain)
    assert len({each.because for each in found.skipped}) > 3
    assert lines(*chain) == [f"not looked at: {OPTIONS}"]


def test_what_was_looked_at_is_not_offered_though_a_hop_behind_did_not_show_it() -> None:
    assert lines(GATEWAY, SIDECAR, replace(NGINX, silence=Silence(1.0))) == [
        "not looked at: media (--soak SECONDS), a call (hopscope call WEBHOOK_URL)"
    ]
    looked = replace(NGINX, silence=Silence(1.0), soak=Soak(1.0, 50, 50, 1.0, 21.0))
    assert lines(GATEWAY, SIDECAR, looked) == ["not looked at: a call (hopscope call WEBHOOK_URL)"]


def test_a_gateway_alone_is_not_offered_what_takes_a_sidecar() -> None:
    assert lines(GATEWAY) == ["not looked at: a call (hopscope call WEBHOOK_URL)"]


def test_a_sidecar_whose_record_is_not_known_is_offered_its_admin_address() -> None:
    unrecorded = probe("nginx", upgrade(admin=False))
    assert lines(GATEWAY, SIDECAR, unrecorded) == [
        f"not looked at: what arrives at the sidecar (--admin URL), {OPTIONS}"
    ]


def test_a_sidecar_that_recorded_nothing_is_not_offered_the_address_that_told_so() -> None:
    bypassing = replace(NGINX, upgrade=replace(upgrade(), arrivals=()))
    assert lines(GATEWAY, SIDECAR, bypassing) == [f"not looked at: {OPTIONS}"]


@pytest.mark.parametrize(
    ("exchange", "why"),
    [
        (NOT_ARRIVED, "nothing of the upgrade arrived at the sidecar"),
        (UNKNOWN, "what arrived at the sidecar is not known (--admin URL)"),
    ],
    ids=["not-arrived", "not-known"],
)
def test_of_a_break_it_is_told_why_nothing_is_said_of_what_arrived(
    exchange: Exchange, why: str
) -> None:
    [line] = lines(GATEWAY, SIDECAR, probe("nginx", exchange))
    assert line.startswith("not judged at nginx: HS01, HS02, HS03, ")
    assert line.endswith(f" more; {why}")


def test_a_break_that_was_judged_by_what_arrived_has_no_line() -> None:
    assert lines(GATEWAY, SIDECAR, probe("nginx", STRIPPED)) == []


def test_where_nothing_was_sent_nothing_is_said_of_what_arrived() -> None:
    assert lines(GATEWAY, SIDECAR, unreached("nginx", "connect", "refused")) == []


def test_a_hop_that_is_good_in_front_of_a_broken_one_still_has_its_options() -> None:
    broken = probe("gateway", upgrade(404, "gateway"))
    assert lines(broken, SIDECAR, NGINX) == [f"not looked at: {OPTIONS}"]


def test_a_hop_that_was_not_probed_does_not_hide_the_options_of_those_behind_it() -> None:
    hole = replace(NGINX, phases=(), upgrade=None)
    assert lines(GATEWAY, SIDECAR, hole) == [f"not looked at: {OPTIONS}"]


def test_nothing_was_probed_and_nothing_is_offered() -> None:
    assert lines() == []


def test_the_html_has_every_rule_of_every_hop_folded() -> None:
    found = told(GATEWAY, SIDECAR)
    html = page(found, (GATEWAY, SIDECAR), "2026-01-01")
    _, _, folded = html.partition("<details>")
    listed, closed, rest = folded.partition("</details>")
    assert closed
    assert f"<summary>Not looked at ({len(found.skipped)})</summary>" in listed
    for each in found.skipped:
        assert f"<li>{each.rule} at {each.hop}: " in listed
    assert "<li>" not in rest
    assert "<details>" not in page(replace(found, skipped=()), (SIDECAR,), "2026-01-01")
