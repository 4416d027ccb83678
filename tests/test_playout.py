"""What was sent, what was heard of it, and what is still to be played."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.playout import MARKS_LIMIT, Playout

quickly = settings(derandomize=True, deadline=None, max_examples=100)

FRAME = b"\xff" * 160


def sent(*script: tuple[float, bytes | int | str]) -> Playout:
    """A playout to which audio, or a mark of that name, was sent at those times."""
    playout = Playout()
    for now, what in script:
        if isinstance(what, str):
            playout.mark_sent(what)
        else:
            playout.audio_sent(what, now)
    return playout


def test_nothing_is_ahead_of_nothing() -> None:
    playout = Playout()
    assert (playout.ahead_s(5.0), playout.heard(5.0), playout.sent) == (0.0, 0, 0)
    assert (playout.may_send(5.0), playout.marks) == (0.0, [])


def test_audio_is_played_in_real_time_from_when_it_was_sent() -> None:
    playout = sent((10.0, FRAME * 25), (10.0, 4000))
    assert playout.sent == 8000
    heard = [(now, playout.heard(now), playout.ahead_s(now)) for now in (10.0, 10.25, 11.0, 99.0)]
    assert heard == [(10.0, 0, 1.0), (10.25, 2000, 0.75), (11.0, 8000, 0.0), (99.0, 8000, 0.0)]


def test_what_is_sent_after_silence_is_played_from_then_on() -> None:
    playout = sent((10.0, 800), (20.0, 800))
    assert playout.ahead_s(20.0) == pytest.approx(0.1)
    assert (playout.heard(20.0), playout.heard(20.05), playout.heard(20.1)) == (800, 1200, 1600)


@pytest.mark.parametrize(
    ("ahead_s", "limit_s", "wait_s"),
    [
        pytest.param(0.0, 1.0, 0.0, id="nothing sent"),
        pytest.param(0.5, 1.0, 0.0, id="room"),
        pytest.param(0.98, 1.0, 0.0, id="room for just one"),
        pytest.param(1.0, 1.0, 0.02, id="full"),
        pytest.param(3.0, 1.0, 2.02, id="one large piece was sent"),
        pytest.param(0.2, 0.1, 0.12, id="a lower limit"),
        pytest.param(0.0, 0.01, 0.0, id="a limit below a frame, nothing left"),
        pytest.param(0.02, 0.01, 0.02, id="a limit below a frame, one left"),
    ],
)
def test_a_frame_may_be_sent_when_there_is_room(
    ahead_s: float, limit_s: float, wait_s: float
) -> None:
    playout = sent((10.0, round(ahead_s * 8000)))
    assert playout.may_send(10.0, limit_s) == pytest.approx(wait_s)


def test_whoever_waits_as_told_keeps_the_buffer_full_and_never_over() -> None:
    playout, now, waits = Playout(), 1e6 / 3, 0
    for _ in range(500):
        wait_s = playout.may_send(now)
        waits += wait_s > 0
        now += wait_s
        assert playout.may_send(now) == 0.0
        playout.audio_sent(FRAME, now)
        assert playout.ahead_s(now) <= 1.0 + 1e-6
    assert waits == 450
    assert playout.ahead_s(now) == pytest.approx(1.0)


def test_a_mark_corrects_the_estimate() -> None:
    playout = sent((10.0, 8000), (10.0, "half"), (10.0, 8000), (10.0, "end"))
    assert playout.heard(11.3) == 10_400
    assert playout.mark_played("half", 11.3) is True  # so 0.3 s late, or the way takes as long
    assert playout.heard(11.3) == 8000
    assert playout.ahead_s(11.3) == pytest.approx(1.0)
    assert playout.heard(11.8) == 12_000
    assert playout.marks == ["end"]


def test_a_mark_that_comes_early_is_believed() -> None:
    playout = sent((10.0, 8000), (10.0, "end"))
    assert playout.mark_played("end", 10.6) is True
    assert (playout.heard(10.6), playout.ahead_s(10.6)) == (8000, 0.0)


def test_a_mark_without_audio_before_it_tells_nothing() -> None:
    playout = sent((10.0, "begin"), (10.0, 8000))
    assert playout.mark_played("begin", 10.1) is True
    assert playout.ahead_s(10.1) == pytest.approx(0.9)


def test_marks_are_echoed_in_order_and_names_may_recur() -> None:
    playout = sent((0.0, 800), (0.0, "a"), (0.0, 800), (0.0, "a"), (0.0, 800), (0.0, "b"))
    assert playout.marks == ["a", "a", "b"]
    assert playout.mark_played("a", 0.1) is True
    assert playout.heard(0.1) == 800
    assert playout.mark_played("a", 0.25) is True
    assert playout.heard(0.25) == 1600
    assert playout.marks == ["b"]


def test_a_mark_out_of_order_takes_nothing_back() -> None:
    playout = sent((0.0, 800), (0.0, "a"), (0.0, 800), (0.0, "b"), (0.0, 800))
    assert playout.mark_played("b", 0.2) is True
    assert playout.mark_played("a", 0.25) is True
    assert playout.heard(0.25) == 2000
    assert playout.marks == []


def test_a_mark_that_was_never_sent_tells_nothing() -> None:
    playout = sent((0.0, 8000), (0.0, "a"))
    assert playout.mark_played("b", 0.5) is False
    assert (playout.heard(0.5), playout.marks) == (4000, ["a"])
    assert playout.mark_played("a", 1.0) is True
    assert playout.mark_played("a", 1.0) is False


def test_a_clear_keeps_what_was_heard_and_forgets_the_rest() -> None:
    playout = sent((10.0, 16_000))
    playout.cleared(10.5)
    assert (playout.sent, playout.heard(10.5), playout.ahead_s(10.5)) == (4000, 4000, 0.0)
    assert playout.heard(12.0) == 4000
    playout.audio_sent(800, 12.0)
    assert playout.heard(12.05) == 4400
    assert playout.ahead_s(12.05) == pytest.approx(0.05)


def test_marks_that_a_clear_flushed_were_not_heard() -> None:
    playout = sent((0.0, 800), (0.0, "heard"), (0.0, 8000), (0.0, "flushed"))
    playout.cleared(0.5)
    playout.audio_sent(800, 0.5)
    playout.mark_sent("flushed")  # the same name again, this time to be heard
    assert playout.marks == ["heard", "flushed", "flushed"]
    echoes = [playout.mark_played(name, 0.55) for name in ("heard", "flushed")]
    assert echoes == [True, False]
    # Neither echo was taken for one of what came after the clear.
    assert playout.heard(0.55) == 4400
    assert playout.ahead_s(0.55) == pytest.approx(0.05)
    assert playout.mark_played("flushed", 0.7) is True
    assert playout.heard(0.7) == playout.sent == 4800


def test_a_second_clear_heard_no_more_than_the_first() -> None:
    playout = sent((0.0, 800), (0.0, "a"))
    playout.cleared(0.05)
    playout.audio_sent(1600, 1.0)
    playout.mark_sent("b")
    playout.cleared(1.1)
    assert [playout.mark_played(name, 1.2) for name in "ab"] == [False, False]
    assert playout.sent == playout.heard(1.2) == 1200


def test_a_clear_of_nothing_changes_nothing() -> None:
    playout = sent((0.0, 800), (0.0, "a"))
    playout.cleared(5.0)
    assert (playout.sent, playout.ahead_s(5.0), playout.marks) == (800, 0.0, ["a"])
    assert playout.mark_played("a", 5.1) is True


def test_marks_that_never_come_back_are_bounded() -> None:
    playout = sent(*((0.0, str(number)) for number in range(MARKS_LIMIT + 5)))
    assert len(playout.marks) == MARKS_LIMIT
    assert playout.mark_played("4", 0.0) is False
    assert playout.mark_played("5", 0.0) is True


class Twilio:
    """Its buffer: plays bytes, echoes marks; everything takes `way_s` there and back."""

    def __init__(self, way_s: float) -> None:
        self.way_s = way_s
        self.played = 0.0
        self.echoes: deque[tuple[float, str]] = deque()
        self._queue: deque[tuple[float, float | str]] = deque()  # arrived at, bytes or a mark
        self._now = 0.0

    def receive(self, what: float | str, now: float) -> None:
        self._queue.append((now + self.way_s, what))

    def clear(self, now: float) -> float:
        """Play on until the clear is there, drop the rest; the bytes that were dropped."""
        self.play_until(now + self.way_s)
        dropped = 0.0
        for _, what in self._queue:
            if isinstance(what, str):
                self.echoes.append((self._now + self.way_s, what))
            else:
                dropped += what
        self._queue.clear()
        return dropped

    def play_until(self, now: float) -> None:
        while self._queue:
            arrived, what = self._queue[0]
            begin = max(self._now, arrived)
            if begin > now:
                break
            if isinstance(what, str):
                self.echoes.append((begin + self.way_s, what))
            else:
                rest = what - (now - begin) * 8000
                if rest > 1e-6:
                    self.played += what - rest
                    self._queue[0] = (arrived, rest)
                    break
                self.played += what
            self._now = begin + (0.0 if isinstance(what, str) else what / 8000)
            self._queue.popleft()
        self._now = max(self._now, now)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(1, 6000)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
        st.tuples(st.just("mark"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
    ),
    max_size=40,
)


@quickly
@given(steps, st.sampled_from([0.0, 0.03, 0.15]))
def test_the_estimate_is_off_by_the_way_at_most(
    script: list[tuple[str, int]], way_s: float
) -> None:
    """A round trip each for a clear, and for silence that was longer at Twilio than here."""
    playout, twilio, now, tolerance = Playout(), Twilio(way_s), 0.0, 2 * way_s
    for number, (step, size) in enumerate(script):
        match step:
            case "audio":
                playout.audio_sent(size, now)
                twilio.receive(float(size), now)
            case "mark":
                playout.mark_sent(str(number))
                twilio.receive(str(number), now)
            case "wait":
                now += size / 1000
            case "clear":
                playout.cleared(now)
                twilio.clear(now)
                tolerance += 2 * way_s
        twilio.play_until(now)
        while twilio.echoes and twilio.echoes[0][0] <= now:
            at, name = twilio.echoes.popleft()
            playout.mark_played(name, at)
        assert abs(playout.heard(now) - twilio.played) <= 8000 * tolerance + 2 * (number + 1)
    now += 1000
    twilio.play_until(now)
    assert playout.ahead_s(now) == 0.0
    names = [playout.mark_played(name, now) for _, name in twilio.echoes]
    assert playout.marks == []
    assert len(names) == len(twilio.echoes)
