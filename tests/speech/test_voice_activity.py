"""Silero on a telephone line: when it hears a voice begin and end, and what it takes for one."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from doctor.caller.speech import Sentence, sentences
from gateway.providers.silero import WINDOW_S, Silero
from spoken import Speech, frames, mulaw, on_a_line, tones, white_noise

VOICE = 0.5


def probabilities(activity: Silero, line: bytes) -> list[float]:
    return [p for frame in frames(line) for p, _ in activity.receive_audio(frame)]


@pytest.mark.parametrize("noise", [0.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("sentence", sentences(), ids=lambda each: each.name)
def test_a_voice_is_heard_where_it_is(speech: Speech, sentence: Sentence, noise: float) -> None:
    """The clip begins after one second with its first sound, and ends with its last."""
    activity = speech.activity()
    line = on_a_line(sentence.audio, noise=noise)
    voiced = [
        place * WINDOW_S for place, p in enumerate(probabilities(activity, line)) if p >= VOICE
    ]
    activity.close()
    ends_s = 1.0 + len(sentence.audio) / 8000
    assert 1.0 - 2 * WINDOW_S < voiced[0] < 1.0 + 0.3
    assert ends_s - 0.4 < voiced[-1] + WINDOW_S < ends_s + 0.25
    assert len(voiced) * WINDOW_S > 0.6 * len(sentence.audio) / 8000


NO_VOICE = {
    "silence": np.zeros(80000),
    "a hiss": white_noise(10, 60),
    "a loud hiss": white_noise(10, 3000),
    "hum": tones(10, 50, 150, 250),
    "a dial tone": tones(10, 350, 440),
    "keys": np.concatenate(
        [part for _ in range(20) for part in (tones(0.25, 770, 1336), np.zeros(2000))]
    ),
}


@pytest.mark.parametrize("sound", NO_VOICE.values(), ids=NO_VOICE)
def test_what_is_no_voice_is_not_taken_for_one(speech: Speech, sound: NDArray[np.float64]) -> None:
    activity = speech.activity()
    found = probabilities(activity, mulaw(sound))
    activity.close()
    assert len(found) == len(sound) // 256
    assert max(found) < VOICE


def test_a_call_begins_without_what_the_one_before_it_heard(speech: Speech) -> None:
    line = on_a_line(sentences()[0].audio)
    found = []
    for _ in range(2):
        activity = speech.activity()
        found.append(probabilities(activity, line))
        activity.receive_audio(sentences()[1].audio)  # ends in the middle of a word
        activity.close()
    assert found[0] == found[1]


def test_a_quiet_line_costs_next_to_nothing(
    speech: Speech, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = []
    for line in (mulaw(white_noise(10, 1000)), mulaw(white_noise(10, 10))):
        activity = speech.activity()
        started = time.process_time()
        probabilities(activity, line)
        costs.append((time.process_time() - started) / (len(line) / 256) * 1e6)
        activity.close()
    with capsys.disabled():
        print(f"\n  silero: {costs[0]:.0f} us a window, {costs[1]:.0f} us on a quiet line")
    assert costs[1] < costs[0] / 3
