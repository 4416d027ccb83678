"""An agent without a model: the desk of a practice that books, moves and cancels appointments.

For the demo and for tests, so it does the same each time. Its rules are data: the first whose
pattern is found in what the caller said, and `after` in what the agent said before, answers.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gateway.speech import Turn

_DAY = r"\b(monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|tomorrow)\b"
_TIMES = {"morning": "ten in the morning", "afternoon": "three thirty in the afternoon"}


@dataclass(frozen=True, slots=True)
class Rule:
    """`answer` may name {when}, the last day that the caller spoke of, and {time} and {said}."""

    pattern: str
    answer: str
    after: str = ""


RULES = (
    Rule(r"^$", "Sorry, I did not hear you. Could you say that again?"),
    Rule(r"^\[pressed (?P<said>.*)\]$", "You pressed {said}. Please tell me how I can help you."),
    Rule(r"\bcancel", "I have cancelled your appointment. Is there anything else?"),
    Rule(r"\b(open|hours|close)\b", "We are open from nine to five, from Monday to Friday."),
    Rule(
        r"\b(somebody|someone|person|human|operator)\b",
        "Nobody else is here right now, but I can book, move or cancel an appointment.",
    ),
    Rule(
        r"\b(no|nothing|not)\b",
        "All right. Thank you for calling, and goodbye.",
        after="anything else",
    ),
    Rule(r"\b(goodbye|bye|that is all|that's all)\b", "Thank you for calling, and goodbye."),
    Rule(
        r"\b(morning|afternoon)\b",
        "Good. Your appointment is {when} at {time}. Is there anything else?",
        after="morning or in the afternoon",
    ),
    Rule(
        rf"\b(book|make|move|change|appointment|visit|come)\b.*{_DAY}|{_DAY}",
        "Of course. Would you like to come {when} in the morning or in the afternoon?",
    ),
    Rule(
        r"\b(book|make|move|change|appointment|visit|come)\b",
        "Gladly. Which day would suit you?",
    ),
    Rule(r"\bquestion\b", "Yes, please. What would you like to know?"),
    Rule(r"^(yes|yeah|sure|please)\b", "Good. What can I do for you?", after="anything else"),
    Rule(r"^(hello|hi|good morning|good afternoon)\b", "Hello. How can I help you?"),
    Rule(r"\bthank", "You are welcome. Is there anything else?"),
)
FALLBACK = "I heard: {said}. I can book, move or cancel an appointment."


class Scripted:
    """An Agent."""

    name = "scripted"

    async def warm(self) -> None:
        """There is nothing to load."""

    async def reply(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        """The answer, word by word, as a model's comes."""
        for piece in re.findall(r"\S+\s*", answer(turns)):
            yield piece

    async def close(self) -> None: ...


def answer(turns: Sequence[Turn]) -> str:
    """What the desk says to the last turn of a call."""
    said = turns[-1].text.strip()
    before = next((turn.text for turn in reversed(turns) if turn.speaker == "agent"), "")
    for rule in RULES:
        found = re.search(rule.pattern, said, re.IGNORECASE)
        if found and rule.after in before:
            part = re.search(r"morning|afternoon", said, re.IGNORECASE)
            words = {
                "said": found.groupdict().get("said", said),
                "when": _when(turns),
                "time": _TIMES[part[0].lower()] if part else "",
            }
            return rule.answer.format_map(words)
    return FALLBACK.format(said=said.rstrip(".?!"))


def _when(turns: Sequence[Turn]) -> str:
    """The last day that the caller named, as it is said in a sentence."""
    for turn in reversed(turns):
        days = re.findall(_DAY, turn.text, re.IGNORECASE) if turn.speaker == "caller" else []
        if days:
            day: str = days[-1].lower()
            return day if day in ("today", "tomorrow") else f"on {day.capitalize()}"
    return "on that day"
