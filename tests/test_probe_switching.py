"""What an answer to an upgrade means: by its status, its flaws, its stamp and what arrived."""

from typing import Any

import pytest

from doctor.evidence import Answer, Arrival, Exchange, Hop, Phase, Probe, Stamp
from doctor.probing.asking import judge_switch
from doctor.probing.chain import is_behind, public_host, settled, with_strangers
from doctor.probing.options import ProbeOptions
from doctor.probing.switching import has_switched, is_gateways_own, is_refusal

GATEWAY = Hop("gateway", "gateway", "http://127.0.0.1:8081")
SIDECAR = Hop("sidecar", "sidecar", "http://127.0.0.1:8080")
FRONT = Hop("front", "nginx", "https://voice.example.com")


def _answer(status: int, body: str = "", stamp: Stamp | None = None, *flaws: Any) -> Answer:
    return Answer(status, "", "1.1", (), body, stamp, flaws)


def _exchange(answer: Answer | None, arrivals: tuple[Arrival, ...] | None = None) -> Exchange:
    fault = "" if answer is None or answer.status == 101 else "not_upgraded"
    return Exchange(
        "upgrade",
        "GET",
        "/voice/stream",
        (),
        1.0,
        answer,
        fault,  # type: ignore[arg-type]
        arrivals=arrivals,
    )


def _arrival(status: int) -> Arrival:
    return Arrival("i", "GET", "/", "1.1", (), "", "nginx", "upgraded", status)


@pytest.mark.parametrize(
    ("exchange", "is_so"),
    [
        (_exchange(_answer(200), (_arrival(101),)), True),
        (_exchange(None, (_arrival(101),)), True),
        (_exchange(_answer(101), ()), False),
        (_exchange(_answer(502), (_arrival(426),)), False),
        (_exchange(_answer(200, stamp=Stamp("i", 101))), True),
        (_exchange(_answer(101, stamp=Stamp("i", 426))), False),
        (_exchange(_answer(503, stamp=Stamp("i", None, "connection_refused"))), False),
        (_exchange(_answer(101)), True),
        (_exchange(_answer(404)), False),
        (_exchange(None), False),
    ],
)
def test_whether_a_101_was_given_is_told_by_the_best_witness(
    exchange: Exchange, is_so: bool
) -> None:
    assert has_switched(exchange) is is_so


@pytest.mark.parametrize(
    ("hop", "answer", "is_so"),
    [
        (GATEWAY, _answer(401), True),
        (GATEWAY, _answer(403), True),
        (GATEWAY, _answer(404), False),
        (GATEWAY, None, False),
        (FRONT, _answer(403), False),
        (FRONT, _answer(403, "", Stamp("i", 403)), True),
        (FRONT, _answer(403, "", Stamp("i", 404)), False),
        (SIDECAR, _answer(403, "", Stamp("i", None, "connection_refused")), False),
    ],
)
def test_a_refusal_is_the_gateways_where_it_is_known_to_be(
    hop: Hop, answer: Answer | None, is_so: bool
) -> None:
    assert is_refusal(hop, _exchange(answer)) is is_so


def test_the_flaws_of_a_101_are_told_the_worst_first() -> None:
    def flaw(field: str, saw: str = "x") -> dict[str, str]:
        return {"section": "4.1", "field": field, "saw": saw, "wanted": "y"}

    assert judge_switch(_answer(101)) == ("", "")
    assert judge_switch(_answer(404)) == ("not_upgraded", "404")
    assert judge_switch(_answer(101, "", None, flaw("Content-Length", "0"))) == ("", "")
    length = _answer(101, "", None, flaw("Content-Length", "5"))
    assert judge_switch(length) == ("bad_101", "Content-Length: saw 5, wanted y")
    accept = _answer(101, "", None, flaw("Sec-WebSocket-Accept"))
    assert judge_switch(accept)[0] == "bad_accept"
    assert judge_switch(_answer(101, "", None, flaw("Upgrade")))[0] == "bad_101"


def _probe(hop: Hop, exchange: Exchange, fault: str = "") -> Probe:
    phase = Phase("request", 1.0, fault)  # type: ignore[arg-type]
    return Probe(hop, (phase,), upgrade=exchange)


def test_a_refusal_is_settled_by_the_gateways_own_words_alone() -> None:
    gateway = _probe(GATEWAY, _exchange(_answer(403, "bad signature")))
    same = _probe(FRONT, _exchange(_answer(403, "bad signature")), "not_upgraded")
    other = _probe(FRONT, _exchange(_answer(403, "forbidden")), "not_upgraded")
    known = _probe(FRONT, _exchange(_answer(403, "bad signature"), ()), "not_upgraded")
    assert settled([gateway, same])[1].is_good
    assert settled([gateway, other])[1] == other
    assert settled([gateway, known])[1] == known, "nothing arrived: it is no word of the gateway's"
    assert settled([same]) == [same]
    broken = _probe(GATEWAY, _exchange(_answer(404)), "not_upgraded")
    assert settled([broken, same])[1] == same
    assert is_gateways_own(same, gateway)
    assert not is_gateways_own(Probe(FRONT, ()), gateway)
    missing = _probe(GATEWAY, _exchange(_answer(404, "x")))
    assert not is_gateways_own(_probe(FRONT, _exchange(_answer(404, "x"))), missing)


def test_strangers_are_told_where_an_upgrade_went_wrong_and_did_not_arrive() -> None:
    lost = _probe(FRONT, _exchange(_answer(502), ()), "not_upgraded")
    assert with_strangers(lost, ("tls",)).upgrade is not None
    for probe, strangers in (
        (lost, ("tls",)),
        (lost, ()),
        (_probe(FRONT, _exchange(_answer(426), (_arrival(426),))), ("tls",)),
        (_probe(FRONT, _exchange(_answer(502))), ("tls",)),
        (_probe(FRONT, _exchange(_answer(101), ())), ("tls",)),
    ):
        told = with_strangers(probe, strangers)  # type: ignore[arg-type]
        assert told.upgrade is not None
        assert told.upgrade.strangers == (strangers if probe is lost else ())


def test_callers_send_the_name_of_the_outermost_hop() -> None:
    assert public_host([SIDECAR, FRONT], ProbeOptions()) == "voice.example.com"
    assert public_host([FRONT, SIDECAR], ProbeOptions()) is None
    assert public_host([SIDECAR], ProbeOptions(host="v.example.com:8443")) == "v.example.com:8443"
    localhost = Hop("a", "other", "http://localhost:80")
    assert public_host([localhost], ProbeOptions()) is None
    assert public_host([], ProbeOptions()) is None


def test_what_the_sidecar_is_in_front_of_cannot_be_echoed() -> None:
    hops = [GATEWAY, Hop("inner", "nginx", "http://127.0.0.1:1"), SIDECAR, FRONT]
    assert [is_behind(hops, index) for index in range(4)] == [True, True, False, False]
    assert [is_behind([GATEWAY, FRONT], index) for index in range(2)] == [True, False]
