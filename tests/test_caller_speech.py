"""The simulated caller's sentences: as described, small, and said from first to last sound."""

import re

import pytest

from doctor.caller.speech import CLIPS, CONVERSATION, TEXTS, Sentence, sentence, sentences
from gateway.g711 import peak, seconds


def test_each_has_a_clip_and_each_clip_is_one() -> None:
    assert {each.name for each in sentences()} == set(TEXTS)
    assert {path.stem for path in CLIPS.glob("*.wav")} == set(TEXTS)


def test_the_recipe_makes_these_texts() -> None:
    recipe = (CLIPS / "README.md").read_text()
    assert dict(re.findall(r'^    say (\w+) "(.+)"$', recipe, re.MULTILINE)) == TEXTS


def test_the_conversation_is_made_of_them() -> None:
    assert [sentence(name).text for name in CONVERSATION] == [
        "I would like to move my appointment to Friday.",
        "In the afternoon, please.",
    ]


@pytest.mark.parametrize("each", sentences(), ids=lambda each: each.name)
def test_a_clip_is_short_and_is_speech_from_end_to_end(each: Sentence) -> None:
    assert 1.0 < seconds(each.audio) < 4.0
    assert (CLIPS / f"{each.name}.wav").stat().st_size < 40_000
    assert 12_000 < peak(each.audio) < 24_000
    edge = 800  # 100 ms
    assert peak(each.audio[:edge]) > 300
    assert peak(each.audio[-edge:]) > 150


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="'sing'; there are move, afternoon, "):
        sentence("sing")
