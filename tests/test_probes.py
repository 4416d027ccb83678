"""Armed probes: only an id that was armed means anything."""

import pytest

from proxy.exchange import Exchange
from proxy.http1 import RequestHead, parse_request_head
from proxy.probes import ARRIVALS_LIMIT, LIFETIME_S, PROBES_LIMIT, Asked, Probes, target_digest


def carrying(*values: str) -> RequestHead:
    """A request with these X-Hopscope-Probe lines."""
    lines = "".join(f"X-Hopscope-Probe: {value}\r\n" for value in values)
    return parse_request_head(f"GET /any HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())


def arrival(name: str) -> Exchange:
    return Exchange(name, 0.0, "192.0.2.1", "192.0.2.1", carrying())


def ids_of(probes: Probes, probe_id: str) -> list[str]:
    arrivals = probes.arrivals(probe_id, 1.0)
    assert arrivals is not None
    return [told["id"] for told in arrivals]


def armed(probes: Probes, now: float = 0.0) -> str:
    probe_id = probes.arm(now)
    assert probe_id is not None
    return probe_id


@pytest.mark.parametrize(
    ("value", "wants_echo"),
    [
        pytest.param("{}", False, id="id alone"),
        pytest.param("{}; echo", True, id="echo"),
        pytest.param("{};ECHO", True, id="echo without space, in capitals"),
        pytest.param("  {}  ;  echo  ", True, id="spaces"),
        pytest.param("{}; other", False, id="another wish"),
    ],
)
def test_an_armed_id_is_recognised_with_its_wish(value: str, wants_echo: bool) -> None:
    probes = Probes()
    probe_id = armed(probes)
    assert probes.read(carrying(value.format(probe_id)), 1.0) == Asked(probe_id, wants_echo)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((), id="absent"),
        pytest.param(("",), id="empty"),
        pytest.param(("0123456789abcdef",), id="unknown"),
        pytest.param(("0123456789abcdef; echo",), id="unknown with a wish"),
    ],
)
def test_an_id_that_was_not_armed_is_nobodys(values: tuple[str, ...]) -> None:
    probes = Probes()
    armed(probes)
    assert probes.read(carrying(*values), 1.0) is None


def test_two_ids_on_one_request_are_nobodys() -> None:
    probes = Probes()
    first, second = armed(probes), armed(probes)
    assert probes.read(carrying(first, second), 1.0) is None


def test_an_id_expires() -> None:
    probes = Probes()
    old, young = armed(probes, 0.0), armed(probes, 1.0)
    assert probes.read(carrying(old), LIFETIME_S - 0.1) is not None
    assert probes.read(carrying(old), LIFETIME_S) is None
    assert probes.arrivals(old, LIFETIME_S) is None
    assert probes.arrivals(young, LIFETIME_S) == []


def test_arrivals_are_kept_in_order_and_for_their_own_id() -> None:
    probes = Probes()
    first, second = armed(probes), armed(probes)
    for name in ("a", "b", "c"):
        probes.record(first, arrival(name))
    probes.record(second, arrival("d"))
    assert ids_of(probes, first) == ["a", "b", "c"]
    assert ids_of(probes, second) == ["d"]


def test_what_became_of_an_arrival_is_told_as_it_is_when_asked() -> None:
    probes = Probes()
    probe_id = armed(probes)
    arrived = arrival("a")
    probes.record(probe_id, arrived)
    before = probes.arrivals(probe_id, 1.0)
    arrived.fail("timeout", "http_response_timeout", "no answer", 503)
    after = probes.arrivals(probe_id, 1.0)
    assert before is not None
    assert after is not None
    assert (before[0]["outcome"], after[0]["outcome"]) == (None, "timeout")


def test_an_arrival_under_an_unknown_id_is_forgotten() -> None:
    probes = Probes()
    probes.record("nobody", arrival("a"))
    assert probes.arrivals("nobody", 0.0) is None


def test_arrivals_of_one_probe_are_bounded() -> None:
    probes = Probes()
    probe_id = armed(probes)
    for number in range(ARRIVALS_LIMIT + 1):
        probes.record(probe_id, arrival(str(number)))
    assert ids_of(probes, probe_id) == [str(number) for number in range(ARRIVALS_LIMIT)]


def test_armed_probes_are_bounded_until_they_expire() -> None:
    probes = Probes()
    ids = {armed(probes) for _ in range(PROBES_LIMIT)}
    assert len(ids) == PROBES_LIMIT
    assert probes.arm(1.0) is None
    assert probes.arm(LIFETIME_S) is not None


def test_a_disarmed_probe_is_nobody_s_and_leaves_its_place_to_another() -> None:
    probes = Probes()
    ids = [armed(probes) for _ in range(PROBES_LIMIT)]
    assert probes.disarm(ids[0])
    assert not probes.disarm(ids[0])
    assert probes.arrivals(ids[0], 1.0) is None
    assert probes.arm(1.0) is not None
    assert probes.arm(1.0) is None


def test_targets_that_are_shown_alike_are_told_apart_by_their_digest() -> None:
    probes = Probes()
    probe_id = probes.arm(0)
    assert probe_id is not None
    for query in ("a%2Fb", "a/b"):
        exchange = Exchange("i", 0, "", "")
        exchange.request = RequestHead(b"", "1.1", (), "GET", f"/voice/stream?token={query}")
        probes.record(probe_id, exchange)
    rows = probes.arrivals(probe_id, 1)
    assert rows is not None
    assert [row["target"] for row in rows] == ["/voice/stream?token=[hidden]"] * 2
    assert [row["target_digest"] for row in rows] == [
        target_digest("/voice/stream?token=a%2Fb"),
        target_digest("/voice/stream?token=a/b"),
    ]
    assert len({row["target_digest"] for row in rows}) == 2
