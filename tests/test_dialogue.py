"""Whose turn it is, and what an answer took."""

from collections.abc import Callable

import numpy as np
import pytest

from doctor.caller.dialogue import Dialogue, Manners, Turn
from gateway.g711 import FRAME_BYTES, FRAME_S, SILENCE, encode

QUIET = SILENCE * FRAME_BYTES
LOUD = encode(np.full(FRAME_BYTES, 8000, np.int16))
NOISE = encode(np.full(FRAME_BYTES, 100, np.int16))  # of a line on which nobody speaks
SENTENCE = LOUD * 25  # half a second
MANNERS = Manners(greeting_s=2.0, answer_s=3.0, patience_s=0.5, linger_s=0.4)


class Agent:
    """Speaks when it is told to; what it hears is kept."""

    def __init__(self) -> None:
        self.due: list[bytes] = []
        self.heard: list[bytes] = []

    def speak_s(self, seconds: float, after_s: float = 0.0) -> None:
        self.due += [QUIET] * round(after_s / FRAME_S) + [LOUD] * round(seconds / FRAME_S)


def converse(
    dialogue: Dialogue,
    agent: Agent,
    act: Callable[[float], None] = lambda _at: None,
    limit_s: float = 60.0,
) -> float:
    """Run frame by frame until the caller hangs up; when that was."""
    for number in range(1, round(limit_s / FRAME_S)):
        at_s = number * FRAME_S
        dialogue.hear(agent.due.pop(0) if agent.due else QUIET)
        ahead_s = sum(frame == LOUD for frame in agent.due) * FRAME_S
        agent.heard.append(dialogue.speak(at_s, ahead_s))
        if dialogue.is_over:
            return at_s
        act(at_s)
    raise AssertionError("the caller never hung up")


def answering(agent: Agent, pause_s: float, speaks_s: float) -> Callable[[float], None]:
    """An agent that answers so long after the caller fell silent."""
    quiet_frames = [0]
    has_heard = [False]

    def act(_at_s: float) -> None:
        if agent.heard[-1] != QUIET:
            has_heard[0], quiet_frames[0] = True, 0
        elif has_heard[0]:
            quiet_frames[0] += 1
            if quiet_frames[0] == round(pause_s / FRAME_S):
                has_heard[0] = False
                agent.speak_s(speaks_s)

    return act


def starts(agent: Agent) -> list[float]:
    """When the caller began to speak."""
    told = [QUIET, *agent.heard]
    return [
        round(index * FRAME_S, 2)
        for index in range(1, len(told))
        if told[index] != QUIET and told[index - 1] == QUIET
    ]


def test_the_caller_waits_for_the_greeting_and_takes_turns() -> None:
    dialogue, agent = Dialogue([SENTENCE, SENTENCE], manners=MANNERS), Agent()
    agent.speak_s(1.0, after_s=0.3)
    over_s = converse(dialogue, agent, answering(agent, 0.4, 0.6))
    assert dialogue.greeting == pytest.approx((0.3, 1.3))
    # 0.5 s of patience behind the greeting, and behind the answer to a half second of speech.
    assert starts(agent) == pytest.approx([1.82, 1.82 + 0.5 + 0.4 + 0.6 + 0.5], abs=0.05)
    assert [turn.as_json()["answer_ms"] for turn in dialogue.turns] == [400.0, 400.0]
    assert [turn.as_json()["spoke_ms"] for turn in dialogue.turns] == [600.0, 600.0]
    assert [turn.as_json()["said_ms"] for turn in dialogue.turns] == [500.0, 500.0]
    assert over_s == pytest.approx(starts(agent)[1] + 0.5 + 0.4 + 0.6 + 0.5 + 0.4, abs=0.05)


def test_an_agent_that_says_nothing_is_spoken_to_and_waited_for_in_vain() -> None:
    dialogue, agent = Dialogue([SENTENCE], manners=MANNERS), Agent()
    over_s = converse(dialogue, agent)
    assert starts(agent) == [2.0]
    assert dialogue.greeting is None
    assert dialogue.turns[0].as_json()["answer_ms"] is None
    assert over_s == pytest.approx(2.0 + 0.5 + 3.0 + 0.4, abs=0.05)


def test_silence_and_noise_that_are_streamed_are_not_speech() -> None:
    dialogue, agent = Dialogue([SENTENCE], manners=MANNERS), Agent()
    agent.due = [LOUD] * 10 + [NOISE] * 2000
    converse(dialogue, agent)
    assert dialogue.greeting == pytest.approx((0.0, 0.2))
    assert starts(agent) == pytest.approx([0.72], abs=0.03)


def test_a_pause_within_an_answer_is_not_its_end() -> None:
    dialogue, agent = Dialogue([SENTENCE], manners=MANNERS), Agent()
    agent.speak_s(0.4)
    agent.speak_s(0.4, after_s=0.4)
    converse(dialogue, agent)
    assert dialogue.greeting == pytest.approx((0.0, 1.2))
    assert starts(agent)[0] > 1.2 + 0.5


def test_audio_that_is_yet_to_be_played_is_waited_for() -> None:
    dialogue = Dialogue([SENTENCE], manners=MANNERS)
    dialogue.hear(LOUD)
    for number in range(1, 200):
        dialogue.hear(QUIET)
        assert dialogue.speak(number * FRAME_S, ahead_s=1.0) == QUIET
    assert dialogue.speak(4.0, ahead_s=0.0) == LOUD


def test_an_answer_is_timed_to_the_millisecond_and_not_to_the_frame() -> None:
    dialogue = Dialogue([LOUD], manners=Manners(greeting_s=0.02, patience_s=0.5))
    dialogue.hear(QUIET)
    assert dialogue.speak(FRAME_S, 0.0) == LOUD
    dialogue.hear(QUIET[:100])
    dialogue.hear(QUIET[:28] + LOUD + QUIET)
    [turn] = dialogue.turns
    assert turn.said_until_s == pytest.approx(0.02)
    assert turn.as_json()["answer_ms"] == 16.0


def test_an_agent_that_speaks_over_the_caller_has_answered_before_its_end() -> None:
    dialogue, agent = Dialogue([SENTENCE], manners=MANNERS), Agent()
    agent.due = [QUIET] * 110 + [LOUD] * 30
    converse(dialogue, agent)
    [turn] = dialogue.turns
    assert turn.as_json()["answer_ms"] == pytest.approx(-280, abs=25)


def test_quiet_before_and_behind_the_speech_of_a_clip_is_not_the_callers_speech() -> None:
    dialogue, agent = Dialogue([QUIET * 10 + SENTENCE + QUIET * 20], manners=MANNERS), Agent()
    converse(dialogue, agent, answering(agent, 0.6, 0.5))
    [turn] = dialogue.turns
    assert turn.as_json()["said_ms"] == 500.0
    assert turn.as_json()["answer_ms"] == 600.0


def test_the_caller_interrupts_the_answer_and_times_the_clear() -> None:
    manners = Manners(2.0, 3.0, 0.5, 0.4, barge_in_s=0.3)
    dialogue, agent = Dialogue([SENTENCE, SENTENCE], manners=manners), Agent()
    agent.speak_s(0.5)
    replying = answering(agent, 0.2, 5.0)

    def act(at_s: float) -> None:
        replying(at_s)
        if dialogue.turns[1:] and dialogue.turns[1].cleared_s is None:
            began_s = dialogue.turns[1].said_from_s
            if at_s >= began_s + 0.12:
                agent.due.clear()
                dialogue.receive_clear(at_s)
                agent.speak_s(0.4, after_s=0.6)

    converse(dialogue, agent, act)
    first, second = (turn.as_json() for turn in dialogue.turns)
    assert first["barge_in"] is None  # the greeting is heard out where there is more to say
    assert first["answer_ms"] == 200.0
    assert first["spoke_ms"] == pytest.approx(300 + 120, abs=45)
    assert second["barge_in"]["clear_ms"] == pytest.approx(120, abs=25)
    assert second["answer_ms"] == pytest.approx(120 + 600 - 500, abs=45)


def test_without_a_clear_the_rest_of_the_old_answer_is_not_the_new_one() -> None:
    manners = Manners(1.0, 2.0, 0.5, 0.4, barge_in_s=0.2)
    dialogue, agent = Dialogue([SENTENCE], manners=manners), Agent()
    agent.speak_s(2.0)  # the greeting of a caller that has one thing to say
    agent.speak_s(0.5, after_s=1.0)
    converse(dialogue, agent)
    [turn] = dialogue.turns
    told = turn.as_json()
    assert told["barge_in"] == {"clear_ms": None}
    assert turn.said_from_s == pytest.approx(0.2, abs=0.03)
    assert turn.answered_s == pytest.approx(3.0)


def test_what_was_heard_before_a_clear_does_not_count_behind_it() -> None:
    dialogue = Dialogue([LOUD], manners=Manners(greeting_s=0.0, barge_in_s=0.0))
    dialogue.speak(FRAME_S, 0.0)
    dialogue.hear(LOUD[:100])  # the rest of an old frame
    dialogue.receive_clear(0.03)
    dialogue.hear(QUIET)
    assert dialogue.turns[0].answered_s is None


def test_keys_are_pressed_one_by_one_before_the_sentences() -> None:
    dialogue, agent = Dialogue([SENTENCE], "1w#", MANNERS), Agent()
    pressed: list[tuple[str, float]] = []
    agent.speak_s(0.2)

    def act(at_s: float) -> None:
        if (key := dialogue.take_digit(at_s)) is not None:
            pressed.append((key, at_s))
            if key == "#":
                agent.speak_s(0.3, after_s=0.1)

    converse(dialogue, agent, act)
    assert [key for key, _ in pressed] == ["1", "#"]
    assert pressed[1][1] - pressed[0][1] == pytest.approx(0.25 + 0.5, abs=0.03)
    assert [turn.digits for turn in dialogue.turns] == ["1w#", ""]
    assert dialogue.turns[0].as_json()["answer_ms"] == pytest.approx(100, abs=25)
    assert starts(agent)[0] > pressed[1][1] + 0.1 + 0.3 + 0.5


def test_who_has_nothing_to_say_listens_through_longer_pauses() -> None:
    dialogue, agent = Dialogue([], manners=MANNERS), Agent()
    agent.speak_s(0.5)
    agent.speak_s(0.5, after_s=1.5)
    over_s = converse(dialogue, agent)
    assert dialogue.turns == []
    assert dialogue.greeting == pytest.approx((0.0, 2.5))
    assert over_s == pytest.approx(2.5 + 0.5 + 2.0, abs=0.05)


def test_a_sentence_without_sound_is_said_and_answered_all_the_same() -> None:
    dialogue, agent = Dialogue([QUIET * 3, b""], manners=MANNERS), Agent()
    converse(dialogue, agent)
    assert dialogue.total == 1
    assert [turn.number for turn in dialogue.turns] == [1]


def test_a_turn_without_an_answer_says_so() -> None:
    told = Turn(1, 1.0, 2.5).as_json()
    assert told == {
        "number": 1,
        "said_ms": 1500.0,
        "digits": None,
        "answer_ms": None,
        "spoke_ms": None,
        "barge_in": None,
    }
