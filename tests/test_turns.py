"""When an utterance begins, pauses, goes on and ends, by a clock of audio."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.turns import (
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TurnDetector,
    TurnEvent,
)

quickly = settings(derandomize=True, deadline=None, max_examples=100)

WINDOW_S = 0.032  # Silero's, at 8 kHz


def hear(
    detector: TurnDetector, probabilities: Iterable[float], window_s: float = WINDOW_S
) -> list[TurnEvent]:
    return [event for p in probabilities for event in detector.receive(p, window_s)]


def at(windows: float) -> Any:
    return pytest.approx(windows * WINDOW_S)


def test_a_sentence_starts_pauses_and_ends() -> None:
    events = hear(TurnDetector(), [0.0] * 10 + [0.6] * 20 + [0.1] * 30)
    assert events == [
        SpeechStarted(at(10), at(12)),
        SpeechPaused(at(30)),
        SpeechEnded(at(30), at(20), at(16)),
    ]


def test_each_event_comes_with_the_first_window_that_makes_it_certain() -> None:
    detector = TurnDetector()
    windows = [0.6] * 2 + [0.1] * 7 + [0.6] + [0.1] * 16
    places = [
        (type(event), number)
        for number, p in enumerate(windows, start=1)
        for event in detector.receive(p, WINDOW_S)
    ]
    assert places == [
        (SpeechStarted, 2),  # 0.064 s of speech
        (SpeechPaused, 9),  # 0.224 s of silence
        (SpeechResumed, 10),
        (SpeechPaused, 17),
        (SpeechEnded, 26),  # 0.512 s of silence
    ]


@pytest.mark.parametrize(
    ("probabilities", "started"),
    [
        pytest.param([0.79], None, id="a click"),
        pytest.param([0.8], (0, 1), id="one window that is sure"),
        pytest.param([0.5, 0.5], (0, 2), id="two that are likely"),
        pytest.param([0.49] * 50, None, id="never likely"),
        pytest.param([0.7, 0.1, 0.7, 0.1, 0.7], None, id="clicks"),
        pytest.param([0.7, 0.1, 0.7, 0.7], (2, 4), id="speech after a click"),
        pytest.param([0.7, 0.4, 0.7], (0, 3), id="a doubt between"),
        pytest.param([0.7, 0.4, 0.4, 0.4], None, id="only doubts after it"),
        pytest.param([0.4, 0.4, 0.7, 0.7], (2, 4), id="doubts before it"),
        pytest.param([0.6, 0.9], (0, 2), id="sure at the second"),
        pytest.param([float("nan"), 0.5, float("nan"), 0.5], None, id="no number is no speech"),
    ],
)
def test_what_is_enough_to_start(
    probabilities: Sequence[float], started: tuple[int, int] | None
) -> None:
    events = hear(TurnDetector(), probabilities)
    assert events == ([SpeechStarted(at(started[0]), at(started[1]))] if started else [])


def test_a_click_never_starts_where_one_window_is_never_sure() -> None:
    detector = TurnDetector(sure_threshold=1.1, min_speech_s=0.09)
    assert hear(detector, [1.0, 1.0, 0.0] * 20) == []
    assert hear(detector, [1.0] * 3) == [SpeechStarted(at(60), at(63))]


def test_speech_that_fades_is_still_speech_but_silence_is_not_ended_by_a_doubt() -> None:
    fading = hear(TurnDetector(), [0.9] + [0.36] * 40 + [0.1] * 16)
    assert fading[-1] == SpeechEnded(at(41), at(41), at(16))
    doubtful = hear(TurnDetector(), [0.9] + [0.1] + [0.36] * 15)
    assert doubtful[-1] == SpeechEnded(at(1), at(1), at(16))


def test_a_pause_within_a_sentence_does_not_end_it() -> None:
    events = hear(TurnDetector(), [0.9] * 5 + [0.0] * 15 + [0.6] + [0.0] * 16)
    assert events == [
        SpeechStarted(0.0, at(1)),
        SpeechPaused(at(5)),
        SpeechResumed(at(20)),
        SpeechPaused(at(21)),
        SpeechEnded(at(21), at(21), at(16)),
    ]


def test_a_breath_is_no_pause() -> None:
    events = hear(TurnDetector(), ([0.9] * 5 + [0.0] * 6) * 10)
    assert events == [SpeechStarted(0.0, at(1))]


@pytest.mark.parametrize("silence_s", [0.3, 0.5, 0.8, 1.2])
@pytest.mark.parametrize("window_s", [0.01, 0.02, 0.032, 0.1])
def test_silence_is_waited_for_as_long_as_set(window_s: float, silence_s: float) -> None:
    for spoken in range(1, 30):
        detector = TurnDetector(silence_s=silence_s, pause_s=silence_s / 2)
        hear(detector, [0.9] * spoken, window_s)
        places = [len(detector.receive(0.0, window_s)) for _ in range(150)]
        assert [number for number, count in enumerate(places, start=1) if count] == [
            ceil(silence_s / 2 / window_s - 1e-6),
            ceil(silence_s / window_s - 1e-6),
        ]


def test_ten_windows_of_a_tenth_of_a_second_are_a_second() -> None:
    """Their sum in floats is a little less."""
    detector = TurnDetector(
        min_speech_s=1.0, pause_s=1.0, silence_s=2.0, max_utterance_s=4.0, sure_threshold=1.0
    )
    places = [
        (type(event), number)
        for number, p in enumerate([0.9] * 10 + [0.0] * 20 + [0.9] * 40, start=1)
        for event in detector.receive(p, 0.1)
    ]
    assert places == [
        (SpeechStarted, 10),
        (SpeechPaused, 20),
        (SpeechEnded, 30),
        (SpeechStarted, 40),
        (SpeechEnded, 70),
    ]


def test_a_pause_is_not_told_with_the_end() -> None:
    for settings_ in ({"pause_s": 0.5}, {"pause_s": 2.0}, {"pause_s": 0.49}):
        events = hear(TurnDetector(**settings_), [0.9] * 5 + [0.0] * 20)
        assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]


def test_an_utterance_that_becomes_too_long_is_cut_and_another_begins() -> None:
    detector = TurnDetector(max_utterance_s=0.32)
    events = hear(detector, [0.9] * 15 + [0.0] * 5)
    assert events == [
        SpeechStarted(0.0, at(1)),
        SpeechEnded(at(10), at(10), at(0), was_cut=True),
        SpeechStarted(at(10), at(11)),
        SpeechEnded(at(15), at(5), at(5), was_cut=True),
    ]
    assert not detector.is_speaking


def test_two_sentences_are_two_utterances() -> None:
    detector = TurnDetector()
    told = []
    for windows in ([0.9] * 5, [0.0] * 15, [0.0], [0.0] * 50, [0.9], [0.0] * 16):
        hear(detector, windows)
        told.append(detector.is_speaking)
    assert told == [True, True, False, False, True, False]


def test_a_stalled_stream_ends_nothing() -> None:
    detector = TurnDetector()
    hear(detector, [0.9] * 3)
    assert hear(detector, []) == []
    assert detector.is_speaking


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_threshold": 0.3},
        {"stop_threshold": 0.0},
        {"start_threshold": 0.9},
        {"start_threshold": 1.1, "sure_threshold": 1.2},
        {"min_speech_s": -0.1},
        {"min_speech_s": 31.0},
        {"pause_s": 0.0},
        {"silence_s": 0.0},
        {"silence_s": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"^(thresholds|times): "):
        TurnDetector(**wrong)


# What may follow what.
FOLLOWS: dict[type, set[type]] = {
    type(None): {SpeechStarted},
    SpeechStarted: {SpeechPaused, SpeechEnded},
    SpeechPaused: {SpeechResumed, SpeechEnded},
    SpeechResumed: {SpeechPaused, SpeechEnded},
    SpeechEnded: {SpeechStarted},
}


@quickly
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.4, 0.6, 0.9]), st.integers(1, 30))),
    st.sampled_from([0.01, 0.02, 0.032]),
    st.sampled_from([0.1, 0.3, 0.7]),
)
def test_whatever_is_heard_events_follow_each_other_and_times_agree(
    stretches: list[tuple[float, int]], window_s: float, pause_s: float
) -> None:
    detector = TurnDetector(pause_s=pause_s, max_utterance_s=3.0)
    windows = [p for p, count in stretches for _ in range(count)] + [0.0] * 60
    events = hear(detector, windows, window_s)
    for before, after in pairwise([None, *events]):
        assert type(after) in FOLLOWS[type(before)]
    for before, after in pairwise(events):
        assert before.at_s <= after.at_s + 1e-9
        if isinstance(after, SpeechEnded):
            assert after.was_cut or after.silence_s >= 0.5 - 1e-6
            assert 0 < after.speech_s < 3.0 + window_s
    # All speech that is sure is in an utterance.
    inside = [
        (start.at_s, end.at_s)
        for start, end in zip(
            [event for event in events if isinstance(event, SpeechStarted)],
            [event for event in events if isinstance(event, SpeechEnded)],
            strict=True,
        )
    ]
    for number, p in enumerate(windows):
        if p == 0.9:
            middle = (number + 0.5) * window_s
            assert any(start <= middle <= end for start, end in inside)
