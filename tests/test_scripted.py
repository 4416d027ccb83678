"""The scripted agent: a conversation that makes sense, and the same one each time."""

import asyncio
import re

import pytest

from doctor.caller.speech import CONVERSATION, TEXTS
from gateway.providers.scripted import RULES, Scripted, answer
from gateway.speech import Turn


def talk(*said: str) -> list[str]:
    """What the agent answers to each sentence of one call."""
    turns = [Turn("agent", "Hello. How can I help you?")]
    for text in said:
        turns.append(Turn("caller", text))
        turns.append(Turn("agent", answer(turns)))
    return [turn.text for turn in turns[2::2]]


def test_the_callers_own_sentences_move_an_appointment() -> None:
    first, second = talk(*(TEXTS[name] for name in CONVERSATION))
    assert first == (
        "Of course. Would you like to come on Friday in the morning or in the afternoon?"
    )
    assert second == (
        "Good. Your appointment is on Friday at three thirty in the afternoon. "
        "Is there anything else?"
    )


def test_a_call_has_a_beginning_a_middle_and_an_end() -> None:
    assert talk(
        "Hi!",
        "I need to make an appointment.",
        "Tomorrow would be good.",
        "The morning.",
        "No, that is all. Thank you.",
    ) == [
        "Hello. How can I help you?",
        "Gladly. Which day would suit you?",
        "Of course. Would you like to come tomorrow in the morning or in the afternoon?",
        "Good. Your appointment is tomorrow at ten in the morning. Is there anything else?",
        "All right. Thank you for calling, and goodbye.",
    ]


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("", "Sorry, I did not hear you. Could you say that again?"),
        ("   ", "Sorry, I did not hear you. Could you say that again?"),
        ("[pressed 1 2]", "You pressed 1 2. Please tell me how I can help you."),
        (TEXTS["hours"], "We are open from nine to five, from Monday to Friday."),
        (TEXTS["cancel"], "I have cancelled your appointment. Is there anything else?"),
        (TEXTS["question"], "Yes, please. What would you like to know?"),
        (TEXTS["goodbye"], "Thank you for calling, and goodbye."),
        ("MONDAY!", "Of course. Would you like to come on Monday in the morning or in the aft"),
        ("Is Mondayish a word?", "I heard: Is Mondayish a word. I can book, move or cancel"),
        ("The {day} of 100% %s", "I heard: The {day} of 100% %s. I can book, move or cancel"),
    ],
)
def test_one_sentence_has_one_answer(said: str, answered: str) -> None:
    assert talk(said)[0].startswith(answered)


def test_the_last_day_that_was_named_counts() -> None:
    said = talk("Monday, please.", "No, not Monday, Tuesday.", "In the afternoon.")
    assert "on Tuesday at three thirty" in said[-1]


def test_no_is_an_answer_only_to_a_question() -> None:
    assert talk("No.")[0].startswith("I heard: No.")


def test_an_answer_comes_in_pieces_that_are_the_answer() -> None:
    async def pieces() -> list[str]:
        return [piece async for piece in Scripted().reply([Turn("caller", "Friday")])]

    assert len(said := asyncio.run(pieces())) > 5
    assert "".join(said) == talk("Friday")[0]


def test_every_rule_is_reached() -> None:
    said = [
        "",
        "[pressed 1]",
        "Cancel it.",
        "When do you open?",
        "A human, please.",
        "Bye.",
        "Friday.",
        "I want to book.",
        "I have a question.",
        "Hello.",
        "Thanks.",
    ]
    answers = [talk(text)[0] for text in said]
    answers += talk("Cancel it.", "No.") + talk("Cancel it.", "Yes.") + talk("Friday.", "Morning.")
    for rule in RULES:
        shape = re.sub(r"\\\{\w+\\\}", ".*", re.escape(rule.answer))
        assert any(re.fullmatch(shape, text) for text in answers), rule.pattern
