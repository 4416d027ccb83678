"""What became of a target, by the digest of what arrived."""

from dataclasses import replace

import pytest

from doctor.evidence import Arrival
from doctor.probing.passed import TargetSeen
from doctor.probing.targets import Variant, judge_target, rewritings, variants
from proxy.probes import target_digest
from sights import arrival

PATH = "/voice/stream"
BY_NAME = {variant.name: variant for variant in variants(PATH)}


def arrived(target: str) -> Arrival:
    return replace(arrival(target=target), target_digest=target_digest(target))


def judged(name: str, *targets: str) -> TargetSeen:
    return judge_target(BY_NAME[name], 101, tuple(map(arrived, targets)))


def test_every_variant_is_the_streams_path_with_something_behind_it() -> None:
    assert BY_NAME["as it is"].target == PATH
    assert all(variant.target.startswith(PATH) for variant in variants(PATH))
    assert len({variant.target for variant in variants(PATH)}) == len(variants(PATH))
    assert all(target.isascii() and " " not in target for _, target in _pairs())


def _pairs() -> list[tuple[str, str]]:
    return [(variant.name, variant.target) for variant in variants(PATH)]


def test_what_arrives_as_it_was_sent_is_kept_though_it_is_shown_without_its_values() -> None:
    seen = judged("query", BY_NAME["query"].target)
    assert (seen.fate, seen.arrived, seen.status) == ("kept", "", 101)


@pytest.mark.parametrize(
    ("name", "came"),
    [
        ("escaped slash %2F", f"{PATH}/a/b"),
        ("escaped letter %7E", f"{PATH}/~a"),
        ("double slash", f"{PATH}/a"),
        ("dot segments", f"{PATH}/b"),
        ("trailing slash", PATH),
        ("; in the path", f"{PATH}/a"),
        ("; in the path", f"{PATH}/a%3Bv=1"),
        ("; in the query", f"{PATH}?a=1&b=2&c=3"),
        ("; in the query", f"{PATH}?c=3"),
        ("; in the query", PATH),
        ("bad escape in the query", f"{PATH}?c=3"),
        ("query", f"{PATH}?a=1&b=x%2Fy%20z"),
        ("query", "/stream?a=1&b=x%2Fy+z"),
        ("as it is", "/stream"),
    ],
)
def test_usual_rewritings_are_told_in_full_though_an_arrival_hides_values(
    name: str, came: str
) -> None:
    seen = judged(name, came)
    assert (seen.fate, seen.arrived) == ("changed", came)


def test_what_nobody_knows_is_told_as_the_arrival_shows_it() -> None:
    seen = judged("query", "/elsewhere?x=secret")
    assert (seen.fate, seen.arrived) == ("changed", "/elsewhere?x=[hidden]")


def test_what_did_not_arrive_is_lost_and_what_cannot_be_known_is_unknown() -> None:
    variant = BY_NAME["double slash"]
    assert judge_target(variant, 404, ()).fate == "lost"
    assert judge_target(variant, 101, None).fate == "unknown"
    old = replace(arrived(variant.target), target_digest="")
    assert judge_target(variant, 101, (old,)).fate == "unknown"


def test_rewritings_begin_with_the_target_itself_and_are_bounded() -> None:
    for variant in (*variants(PATH), Variant("bare", "/")):
        found = list(rewritings(variant.target))
        assert found[0] == variant.target
        assert len(found) < 2000
