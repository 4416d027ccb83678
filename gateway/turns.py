"""When the caller begins to speak, pauses, goes on, and has finished.

The input is a voice detector's probabilities, one a window of audio; the clock is the length of
that audio, so a stream that stalls does not end anybody's sentence.

    state      below stop_threshold            between     from start_threshold on
    quiet      quiet                           quiet       rising
    rising     quiet                           rising      speaking, once min_speech_s of it came
    speaking   falling                         speaking    speaking
    falling    paused, once pause_s silent     falling     speaking
    paused     quiet, once silence_s silent    paused      speaking

A window from sure_threshold on is enough to begin, however short: who interrupts wants to be heard
at once. An utterance of max_utterance_s ends whatever is heard.
"""

from dataclasses import dataclass
from typing import TypeAlias

_ROUNDING_S = 1e-6  # ten windows of 0.02 s add up to a little less than 0.2 s


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """An utterance begins. It did at `at_s`, and that was certain at `known_at_s`."""

    at_s: float
    known_at_s: float


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Silence since `at_s`: the utterance may be over, time to start to transcribe it."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """It was not over: speech again, from `at_s` on."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The utterance ended at `at_s`, `speech_s` after it began, and `silence_s` ago."""

    at_s: float
    speech_s: float
    silence_s: float
    was_cut: bool = False  # it became too long


TurnEvent: TypeAlias = SpeechStarted | SpeechPaused | SpeechResumed | SpeechEnded


class TurnDetector:
    """One caller. Times are seconds of audio since the first window.

    Every SpeechStarted is followed by one SpeechEnded. SpeechPaused does not come where the window
    that reaches pause_s reaches silence_s too. Raises ValueError for settings that contradict
    each other.
    """

    def __init__(
        self,
        *,
        start_threshold: float = 0.5,
        stop_threshold: float = 0.35,
        sure_threshold: float = 0.8,  # above 1: a single window is never enough
        min_speech_s: float = 0.06,
        pause_s: float = 0.2,
        silence_s: float = 0.5,
        max_utterance_s: float = 30.0,
    ) -> None:
        if not 0 < stop_threshold <= start_threshold <= min(sure_threshold, 1):
            raise ValueError("thresholds: 0 < stop <= start <= sure, and start <= 1")
        if not (0 <= min_speech_s < max_utterance_s and pause_s > 0 and silence_s > 0):
            raise ValueError("times: 0 <= min_speech < max_utterance; pause and silence > 0")
        self._start, self._stop, self._sure = start_threshold, stop_threshold, sure_threshold
        self._min_speech_s = min_speech_s - _ROUNDING_S
        self._pause_s = pause_s - _ROUNDING_S
        self._silence_s = silence_s - _ROUNDING_S
        self._max_utterance_s = max_utterance_s - _ROUNDING_S
        self._now_s = 0.0
        # While quiet or rising: what was voiced in a row, and since when.
        self._run_s = 0.0
        self._run_at_s = 0.0
        # While speaking, falling or paused.
        self._started_s: float | None = None
        self._voiced_until_s = 0.0
        self._is_paused = False

    @property
    def is_speaking(self) -> bool:
        """Has an utterance begun that has not ended?"""
        return self._started_s is not None

    def receive(self, probability: float, duration_s: float) -> list[TurnEvent]:
        """Take the next window: how probably it holds speech, and how long it is."""
        window_at_s = self._now_s
        self._now_s += duration_s
        if self._started_s is None:
            return self._receive_outside(probability, duration_s, window_at_s)
        return self._receive_inside(probability, window_at_s, self._started_s)

    def _receive_outside(
        self, probability: float, duration_s: float, window_at_s: float
    ) -> list[TurnEvent]:
        if probability >= self._start:
            if not self._run_s:
                self._run_at_s = window_at_s
            self._run_s += duration_s
            if self._run_s >= self._min_speech_s or probability >= self._sure:
                self._run_s = 0.0
                self._started_s = self._run_at_s
                self._voiced_until_s = self._now_s
                return [SpeechStarted(self._run_at_s, self._now_s)]
        elif not probability >= self._stop:
            self._run_s = 0.0
        return []

    def _receive_inside(
        self, probability: float, window_at_s: float, started_s: float
    ) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        is_falling = self._voiced_until_s < window_at_s
        if probability >= (self._start if is_falling else self._stop):
            self._voiced_until_s = self._now_s
            if self._is_paused:
                self._is_paused = False
                events.append(SpeechResumed(window_at_s))
        ended_s = self._voiced_until_s
        silence_s = self._now_s - ended_s
        is_over = silence_s >= self._silence_s
        if is_over or self._now_s - started_s >= self._max_utterance_s:
            events.append(SpeechEnded(ended_s, ended_s - started_s, silence_s, not is_over))
            self._started_s = None
            self._is_paused = False
        elif silence_s >= self._pause_s and not self._is_paused:
            self._is_paused = True
            events.append(SpeechPaused(ended_s))
        return events
