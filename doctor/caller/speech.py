"""What the simulated caller can say without a voice of its own: a few sentences, as clips.

A man's voice (flite's rms), unlike the embedded voice of the gateway, so that a recording tells who
speaks. The embedded recogniser understands each word for word. How they were made: clips/README.md.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from doctor.caller.clip import read_clip

CLIPS = Path(__file__).with_name("clips")

# By name, which is that of the file. The first two are a conversation with the scripted agent.
TEXTS = {
    "move": "I would like to move my appointment to Friday.",
    "afternoon": "In the afternoon, please.",
    "hours": "What time do you open on Monday?",
    "cancel": "I need to cancel my appointment on Monday.",
    "question": "Sorry, I have another question.",  # for an interruption
    "goodbye": "That is all, thank you.",
}
CONVERSATION = ("move", "afternoon")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`audio`: mu-law, from the first sound to the last."""

    name: str
    text: str
    audio: bytes


@cache
def sentences() -> tuple[Sentence, ...]:
    """All of them."""
    return tuple(
        Sentence(name, text, read_clip((CLIPS / f"{name}.wav").read_bytes()))
        for name, text in TEXTS.items()
    )


def sentence(name: str) -> Sentence:
    """One of them. Raises KeyError, with the names that there are."""
    for each in sentences():
        if each.name == name:
            return each
    raise KeyError(f"{name!r}; there are {', '.join(TEXTS)}")
