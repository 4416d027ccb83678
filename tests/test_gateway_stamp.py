"""Who made an answer, by the sidecar's stamp: the gateway's reader, beside the doctor's."""

import pytest

from doctor.probing.stamp import parse_stamp
from gateway.stamp import Answerer, answerer
from proxy.exchange import Exchange

STAMPS = [
    'hopscope; received-status=404; id="i"',
    'edge; error=x; details="a, hopscope; b", hopscope; received-status=404; id="i"',
    'hopscope; received-status=404; id="i", "edge"; received-status=502',
    'hopscope; error=connection_refused; details="nothing; id=x; listens"; id="i"',
    ' hopscope ;  received-status = 404 ; id="i" ; ?',
    '"hopscope"; received-status=404; id="i"',
    "hopscope; id=i",
    "",
    "edge",
    'edge; details="hopscope"',
    "hopscope2",
    '"a, hopscope',
    'hopscope; id=x; details="' + '\\"' * 20000,
]


@pytest.mark.parametrize("value", STAMPS)
def test_both_readers_agree(value: str) -> None:
    known, told = parse_stamp([value]), answerer([("Proxy-Status", value)])
    if known is None:
        assert told == Answerer("in_front")
    else:
        assert told == Answerer("sidecar" if known.error else "gateway", known.id)


def test_what_the_sidecar_writes_is_read() -> None:
    exchange = Exchange("01m84070dm2s2t0113", 0, "", "", status=404)
    assert answerer([("proxy-status", exchange.stamp)]) == Answerer("gateway", exchange.id)
    exchange.fail("unreachable", "connection_refused", 'nothing "listens"', 503)
    assert answerer([("PROXY-STATUS", exchange.stamp)]) == Answerer("sidecar", exchange.id)


def test_an_answer_without_a_stamp_was_made_in_front_unless_it_is_the_gateways() -> None:
    assert answerer([("Server", "nginx")]) == Answerer("in_front")
    assert answerer([("Server", "hopscope-gateway")]) == Answerer("gateway")


def test_of_no_answer_nobody_is_the_maker() -> None:
    assert answerer([]) == Answerer(None)
