"""The sidecar's stamp among the members of Proxy-Status."""

import pytest

from doctor.evidence import Stamp
from doctor.probing.stamp import parse_stamp
from proxy.exchange import Exchange


def test_the_stamp_of_an_answer_that_was_passed_on_is_read() -> None:
    exchange = Exchange("01m84070dm2s2t0113", 0, "", "", status=101)
    assert parse_stamp([exchange.stamp]) == Stamp("01m84070dm2s2t0113", 101)


def test_the_stamp_of_an_error_of_the_sidecar_is_read_whatever_its_details_hold() -> None:
    exchange = Exchange("1d", 0, "", "")
    exchange.fail("unreachable", "connection_refused", 'nothing; listens, on "x"=1', 503)
    assert parse_stamp([exchange.stamp]) == Stamp(
        "1d", None, "connection_refused", "nothing; listens, on 'x'=1"
    )


@pytest.mark.parametrize(
    "value",
    [
        'edge; error=x; details="a, hopscope; b", hopscope; received-status=404; id="i"',
        'hopscope; received-status=404; id="i", "edge"; received-status=502',
        'HOST.example;a=b,hopscope;received-status=404;id="i"',
        ' hopscope ;  received-status = 404 ; ID="i" ; ?',
        '"hopscope"; received-status=404; id="i"',
    ],
)
def test_it_is_found_between_the_stamps_of_other_proxies(value: str) -> None:
    assert parse_stamp([value]) == Stamp("i", 404)


def test_it_is_found_on_any_line() -> None:
    assert parse_stamp(["edge", 'hopscope; id="i"']) == Stamp("i")


@pytest.mark.parametrize(
    "value", ["", "edge", 'edge; details="hopscope"', "xhopscope", "hopscope2", '"a, hopscope']
)
def test_what_is_not_the_sidecars_is_no_stamp(value: str) -> None:
    assert parse_stamp([value]) is None
    assert parse_stamp([]) is None


def test_escapes_in_a_string_are_undone_and_wrong_numbers_are_left_out() -> None:
    stamp = parse_stamp([r'hopscope; details="a \"b\" \\c"; received-status=abc; id=x'])
    assert stamp == Stamp("x", None, "", r'a "b" \c')


def test_a_bent_stamp_is_read_in_time() -> None:
    stamp = parse_stamp(['hopscope; id=x; details="' + '\\"' * 20000])
    assert stamp is not None
    assert stamp.id == "x"
