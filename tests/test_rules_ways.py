"""How far an upgrade came and whose doing its answer is: the questions that many rules ask."""

from dataclasses import replace

import pytest

from doctor.evidence import Answer, Exchange, Phase, Probe, Sight, Stamp
from doctor.rules.causes import own_cause
from doctor.rules.ways import (
    gateway_answer,
    gateway_refusal,
    has_arrived,
    has_failed,
    has_token,
    is_gateway,
    is_in_front,
    is_proven_through,
    is_repeated,
    is_taken_by_gateway,
    own_answer,
    switched_behind,
    to_gateway,
    upgrade_answer,
    wants_tls,
    was_malformed,
)
from sights import (
    GATEWAY,
    SENT,
    SIDECAR,
    SWITCH,
    TLS,
    answer,
    arrival,
    plain,
    probe,
    sight,
    sight_of,
    unreached,
    upgrade,
    webhook,
)

BARE = sight_of(unreached("nginx", "connect", "refused"))
STAMPED = upgrade(404, "gateway", admin=False)
ECHOED = upgrade()
THROUGH = upgrade(came=arrival(was_echoed=False))


def behind_sidecar(exchange: Exchange) -> Sight:
    """A proxy between the gateway and the sidecar."""
    return replace(sight("nginx", exchange, behind=GATEWAY), has_sidecar=False)


def test_without_an_upgrade_nothing_is_known_of_it() -> None:
    assert upgrade_answer(None) is None
    assert upgrade_answer(BARE.probe) is None
    assert has_arrived(BARE) is None
    assert switched_behind(BARE) is None
    assert own_answer(BARE) is None
    assert gateway_answer(sight_of(unreached("gateway", "connect", "refused"))) is None
    assert not has_failed(BARE)
    assert not is_repeated(BARE)
    assert not is_repeated(replace(BARE, behind=probe("sidecar", upgrade(502))))


@pytest.mark.parametrize(
    ("seen", "is_so"),
    [
        (sight("gateway"), True),
        (sight("sidecar"), False),
        (sight("sidecar", behind=None), True),
        (sight("nginx", behind=None), False),
    ],
)
def test_a_sidecar_speaks_for_the_gateway_only_where_nothing_is_behind_it(
    seen: Sight, is_so: bool
) -> None:
    assert is_gateway(seen) is is_so
    assert (to_gateway(seen) is not None) is is_so


@pytest.mark.parametrize(
    ("seen", "is_so"),
    [
        (sight("nginx"), True),
        (sight("sidecar"), False),
        (replace(sight("gateway"), has_sidecar=True), False),
        (behind_sidecar(ECHOED), False),
    ],
)
def test_only_hops_that_have_the_sidecar_behind_them_are_in_front(seen: Sight, is_so: bool) -> None:
    assert is_in_front(seen) is is_so


def test_a_port_wants_tls_only_where_it_was_dialled_in_plain() -> None:
    assert wants_tls(sight("nginx", tls=TLS))
    assert not wants_tls(sight("nginx", url="https://voice.example.com"))
    assert not wants_tls(sight("nginx"))


# Arrival


@pytest.mark.parametrize(
    ("seen", "is_so"),
    [
        (sight("nginx"), True),
        (sight("nginx", upgrade(404, "nginx")), False),
        (sight("nginx", replace(upgrade(404, "gateway"), arrivals=())), True),
        (sight("nginx", STAMPED), True),
        (sight("nginx", upgrade(404, "nginx", admin=False)), None),
        (replace(sight("gateway", upgrade(answer(404))), has_sidecar=True), None),
        (behind_sidecar(upgrade(404, "nginx")), None),
    ],
)
def test_an_upgrade_arrived_where_it_was_recorded_or_stamped(
    seen: Sight, is_so: bool | None
) -> None:
    assert has_arrived(seen) is is_so


def test_the_101_behind_is_the_one_among_the_arrivals_whatever_else_came() -> None:
    first, second = arrival(status=503), arrival()
    seen = sight("nginx", upgrade(502, "nginx", came=None, arrivals=(first, second)))
    assert switched_behind(seen) == second
    assert switched_behind(sight("nginx", upgrade(502, "nginx"))) is None


@pytest.mark.parametrize("name", ["request", "response"])
def test_an_upgrade_failed_by_its_phases(name: str) -> None:
    phases = (Phase("connect", 1), Phase(name, 1, "timeout"))  # type: ignore[arg-type]
    assert has_failed(sight("nginx", phases=phases))
    assert not has_failed(sight("nginx", phases=(Phase("connect", 1, "refused"),)))
    assert not has_failed(sight("nginx", phases=(Phase("request", 1), Phase("echo", 1, "cut"))))


# Repeated


@pytest.mark.parametrize(
    ("ours", "theirs", "is_so"),
    [
        (upgrade(502, "nginx"), upgrade(502, "nginx"), True),
        (upgrade(502, "nginx"), upgrade(503, "nginx"), False),
        (upgrade(None, fault="eof"), upgrade(None, fault="eof"), True),
        (upgrade(None, fault="eof"), upgrade(None, fault="reset"), False),
        (STAMPED, STAMPED, True),
        (STAMPED, upgrade(404, "nginx"), True),
        (upgrade(404, "nginx"), STAMPED, False),
        (upgrade(502, "nginx"), upgrade(), False),
    ],
)
def test_what_ended_alike_behind_is_repeated_but_not_an_answer_that_lost_its_stamp(
    ours: Exchange, theirs: Exchange, is_so: bool
) -> None:
    assert is_repeated(sight("nginx", ours, behind=probe("haproxy", theirs))) is is_so


# Whose answer


@pytest.mark.parametrize(
    ("seen", "is_own"),
    [
        (sight("nginx", upgrade(404, "nginx")), True),
        (sight("nginx", upgrade(answer(404, body="anything"))), True),
        (sight("nginx"), False),
        (sight("nginx", STAMPED), False),
        (sight("nginx", upgrade(404, came=SENT)), False),
        (sight("sidecar", upgrade(answer(404, "nginx"))), False),
        (replace(sight("gateway", upgrade(answer(404, "nginx"))), has_sidecar=True), False),
        (behind_sidecar(upgrade(404, "nginx")), True),
        (behind_sidecar(upgrade(answer(404, body="?"))), False),
        (behind_sidecar(upgrade(404, "apache")), False),
    ],
)
def test_an_answer_is_a_hop_s_own_where_nothing_arrived_or_only_it_writes_so(
    seen: Sight, is_own: bool
) -> None:
    assert (own_answer(seen) is not None) is is_own


@pytest.mark.parametrize(
    ("given", "is_own"),
    [
        (answer(404, "nginx"), True),
        (answer(404, "haproxy"), True),
        (answer(404, body="anything"), False),
        (answer(200, "caddy"), False),
        (answer(299, "caddy"), False),
        (answer(300, "caddy"), True),
    ],
)
def test_without_the_admin_address_only_errors_in_a_program_s_words_are_somebody_s(
    given: Answer, is_own: bool
) -> None:
    stamped = probe("sidecar", upgrade(admin=False))
    exchange = replace(upgrade(admin=False), answer=given, fault="not_upgraded")
    assert (own_answer(sight("nginx", exchange, behind=stamped)) is not None) is is_own


def test_another_program_s_words_are_nobody_s_where_no_stamp_is_known_behind() -> None:
    unknown = probe("other", upgrade(answer(101, fields=SWITCH), admin=False))
    exchange = upgrade(404, "haproxy", admin=False)
    assert own_answer(sight("nginx", exchange, behind=unknown)) is None
    assert own_answer(sight("haproxy", exchange, behind=unknown)) is not None
    assert own_answer(sight("nginx", exchange, behind=None)) is None


def test_the_gateway_s_answer_is_no_101_and_from_behind_the_sidecar() -> None:
    assert gateway_answer(sight("gateway")) is None
    assert gateway_answer(sight("gateway", upgrade(answer(404)))) is not None
    assert gateway_answer(sight("nginx", upgrade(answer(404)))) is None
    own = Stamp("01", None, "destination_not_found")
    assert gateway_answer(sight("sidecar", upgrade(answer(404, stamp=own)), behind=None)) is None
    assert gateway_answer(sight("sidecar", upgrade(answer(404)), behind=None)) is None
    assert gateway_answer(sight("sidecar", STAMPED, behind=None)) is not None


def failed(**changes: object) -> Sight:
    """A hop through which the gateway refuses what it takes through the hop behind."""
    through = upgrade(421, came=arrival(status=421, was_echoed=False))
    phases = (Phase("connect", 1), Phase("request", 1, "not_upgraded"))
    made = replace(probe("nginx", through=through), phases=phases)
    return replace(sight_of(made), **changes)  # type: ignore[arg-type]


def test_a_gateway_refuses_through_a_hop_what_it_takes_behind_it() -> None:
    refusal = gateway_refusal(failed())
    assert refusal is not None
    assert refusal.status == 421


@pytest.mark.parametrize(
    "seen",
    [
        replace(failed(), behind=probe("sidecar", through=failed().probe.through)),
        sight("nginx", through=failed().probe.through),
        sight("nginx", upgrade(404, "nginx")),
        sight("nginx", upgrade(426, came=SENT)),
        sight("gateway", upgrade(answer(404))),
        sight("nginx", upgrade(None, fault="eof")),
    ],
)
def test_what_the_gateway_refuses_anyway_or_never_saw_is_no_such_refusal(seen: Sight) -> None:
    assert gateway_refusal(seen) is None


def test_a_head_is_malformed_by_the_sidecar_s_word_alone() -> None:
    refused = upgrade(answer(400, stamp=Stamp("01", None, "http_request_error", "two Hosts")))
    assert was_malformed(sight("nginx", refused)) == "two Hosts"
    assert was_malformed(sight("sidecar", refused)) is None
    assert was_malformed(sight("nginx", refused, behind=probe("haproxy", refused))) is None
    assert was_malformed(sight("nginx", upgrade(400, "nginx"))) is None


# Proof


def only(**exchanges: Exchange) -> Probe:
    """A hop of which nothing is known but these exchanges."""
    bare = replace(probe("nginx"), upgrade=None, plain=None, webhook=None)
    return replace(bare, **exchanges)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("front", "sidecar", "gateway"),
    [
        (only(upgrade=ECHOED), True, False),
        (only(upgrade=THROUGH), True, True),
        (only(plain=plain()), True, True),
        (only(webhook=webhook()), True, True),
        (only(plain=plain(404, "nginx", arrived=False)), False, False),
        (only(upgrade=STAMPED), True, True),
        (only(upgrade=replace(STAMPED, arrivals=())), True, True),
        (only(upgrade=replace(ECHOED, answer=None)), True, False),
        (only(upgrade=upgrade(503, came=arrival(status=503, error="dns_error"))), True, False),
        (only(upgrade=upgrade(503, came=arrival(status=None, was_echoed=False))), True, False),
        (
            only(upgrade=upgrade(answer(503, stamp=Stamp("01", None, "dns_error")), admin=False)),
            True,
            False,
        ),
        (only(), False, False),
    ],
)
def test_what_was_recorded_or_stamped_has_passed_the_sidecar_and_an_answer_the_gateway(
    front: Probe, sidecar: bool, gateway: bool
) -> None:
    assert is_proven_through(front, SIDECAR) is sidecar
    assert is_proven_through(front, GATEWAY) is gateway


@pytest.mark.parametrize(
    ("exchange", "is_so"),
    [
        (THROUGH, True),
        (ECHOED, False),
        (upgrade(403, came=arrival(status=403, was_echoed=False)), True),
        (upgrade(404, came=arrival(status=404, was_echoed=False)), False),
        (upgrade(answer(403, "nginx"), came=arrival(status=101, was_echoed=False)), False),
        (upgrade(admin=False), True),
        (upgrade(403, "gateway", admin=False), True),
        (upgrade(answer(403, "nginx"), admin=False), False),
        (upgrade(None, fault="eof"), False),
    ],
)
def test_the_gateway_takes_an_upgrade_by_a_101_or_by_refusing_who_is_not_twilio(
    exchange: Exchange, is_so: bool
) -> None:
    assert is_taken_by_gateway(exchange) is is_so


@pytest.mark.parametrize(
    ("value", "is_so"),
    [
        ("Upgrade", True),
        ("keep-alive, UPGRADE", True),
        ("upgrades", False),
        ("", False),
        (None, False),
    ],
)
def test_a_token_is_one_of_a_list_in_any_case(value: str | None, is_so: bool) -> None:
    assert has_token(value, "upgrade") is is_so


# HAProxy's one 503


@pytest.mark.parametrize(
    ("hook", "cause"),
    [
        (webhook(), "no_route"),
        (replace(webhook(), arrivals=None), "no_route"),
        (replace(webhook(), answer=None), "no_route"),
        (webhook(503, "haproxy", arrived=False), "upstream"),
        (None, "upstream"),
        (replace(webhook(), answer=None, arrivals=()), "upstream"),
    ],
)
def test_a_webhook_that_arrives_shows_that_haproxy_lacks_a_backend_for_the_stream(
    hook: Exchange | None, cause: str
) -> None:
    seen = sight("haproxy", upgrade(503, "haproxy"), webhook=hook)
    assert own_cause(seen) == cause
    assert own_cause(sight("caddy", upgrade(503, "caddy"), webhook=hook)) == "upstream"


def test_one_path_for_both_shows_nothing_of_the_other() -> None:
    seen = replace(sight("haproxy", upgrade(503, "haproxy")), webhook_path="/voice/stream")
    assert own_cause(seen) == "upstream"


def test_haproxy_s_502_is_about_its_upstream_whatever_the_webhook_does() -> None:
    assert own_cause(sight("haproxy", upgrade(502, "haproxy"))) == "upstream"
    assert own_cause(sight("haproxy", upgrade(404, "haproxy"))) == "no_route"
    assert own_cause(sight("haproxy")) is None
