"""Calls are placed one a second, and no later than somebody would wait for."""

from gateway.pace import Pace


def test_the_first_call_goes_at_once_and_the_next_ones_a_second_apart() -> None:
    pace = Pace(1.0, 10.0)
    assert [pace.reserve(100.0) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_time_that_passed_counts() -> None:
    pace = Pace(1.0, 10.0)
    pace.reserve(100.0)
    assert pace.reserve(100.75) == 0.25
    assert pace.reserve(200.0) == 0.0


def test_a_wait_beyond_the_limit_is_refused_and_takes_no_turn() -> None:
    pace = Pace(1.0, 2.0)
    assert [pace.reserve(100.0) for _ in range(5)] == [0.0, 1.0, 2.0, None, None]
    assert pace.reserve(101.0) == 2.0
