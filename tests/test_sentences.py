"""Sentences come out whole, early, and alike however the text came in."""

# ruff: noqa: RUF001 - typographic and full-width marks are what this is about

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sentences import SentenceSplitter

quickly = settings(derandomize=True, deadline=None, max_examples=100)


def split(*pieces: str, **lengths: int) -> list[str]:
    splitter = SentenceSplitter(**lengths)
    sentences = [sentence for piece in pieces for sentence in splitter.receive_text(piece)]
    return sentences + splitter.flush()


# A bar stands between two sentences: for a space, or for nothing behind a full-width stop.
TEXTS = """
Hello there.|How can I help you?|Good!
Really?!|Yes!!|Well...|Maybe so.|So be it.|Oh...  that is it.
Wait… what?|Oh…|It is.
See Dr. Smith, Mrs. Jones or Prof. Lee.|They know.
We sell fruit, e.g. apples, i.e. the red ones vs. Green ones.|Good.
It opens at 9 a.m. Monday to Friday.|We close at 5 p.m.|Please come.
It opens at 9 a.m. and closes at 5 p.m. on Monday.
Acme Inc. Boston is here.|Acme Inc.|They sell.|Main St. Paul is a name.
The U.S. Army, J. R. Smith and the U.S.|But J. K. Rowling?
Take No. 5.|No.|I said no.|See Fig. 3 on Jan. 5.|We left in Jan.|It was cold.
It is 3.30 or 12.5 or 1,000.50.|It costs 5.|That is 10.50.|In 2024.|Next.
Write to a.b@example.com or https://x.io/a.b?c=d.|See README.md.|Ask node.js.
He said "Stop."|Then he left.|She asked "why?" and went.|(See above.)|OK.
He said “Stop.”|Then ‘go!’|(It was late.) and so on.
Yahoo is here!|is it?|it is.|i know. not much.|you know. really.
1. We call.|2. They call.
1. Call us.|In doubt: 2. Ask for 3 people.
Version 2.0.|It is new.|So do I.|Then go.|"I'm here."|So's he.
Plan B. Nothing else.|Vitamin C.|It's late.|At 5 p.m.|“We close.”
您好。|今天怎么样？|「很好。」|他说！！|OK。|Good.
日本語です。|次です｡
क्या हाल है?|ठीक है।|कल मिलते हैं।
هل أنت بخير؟|نعم.|شكرا.
Das ist z.B. Apfel, bzw. Birne.|Hr. Maier kommt am 5. Mai.
"""


@pytest.mark.parametrize("line", TEXTS.strip().splitlines())
def test_a_text_is_cut_between_sentences(line: str) -> None:
    text = re.sub(r"(?<=[。！？｡」])[|]", "", line).replace("|", " ")
    sentences = [" ".join(sentence.split()) for sentence in line.split("|")]
    assert split(text, first_clause_chars=300) == sentences
    assert split(*text, first_clause_chars=300) == sentences


def test_a_line_is_a_sentence_of_its_own_and_marks_are_not_read() -> None:
    text = "# A title\n\nSome of **it**:\n- a `point`\n- [two](http://x.io/a.b). Yes\n3. three\n"
    sentences = ["A title", "Some of it:", "a point", "two.", "Yes", "3. three"]
    assert split(text) == split(*text) == sentences


def test_a_quote_after_a_full_width_stop_and_a_space_is_the_next_ones() -> None:
    assert split('好。 "Hi."') == ["好。", '"Hi."']
    assert split('好。"Hi."') == ['好。"', 'Hi."']


def given_out(*pieces: str) -> list[list[str]]:
    splitter = SentenceSplitter()
    return [splitter.receive_text(piece) for piece in pieces]


def test_a_sentence_comes_with_the_piece_that_makes_it_certain() -> None:
    assert given_out("Yes", ".", " At", " three", " p.m", ".", " Would", " that", " do?\n") == [
        *([[], []]),
        ["Yes."],
        *([[]] * 4),
        ["At three p.m."],
        ["Would that do?"],
    ]
    assert given_out("好", "。", "是") == [[], [], ["好。"]]


def test_a_stop_at_the_end_of_a_piece_may_be_within_a_number() -> None:
    assert given_out("It is 3.", "30 p", ".m. o", "n Monday.", " ", "OK") == [
        *([[]] * 5),
        ["It is 3.30 p.m. on Monday."],
    ]


LONG = "I can certainly help you with that appointment tomorrow"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (f"{LONG}, and I will. Then, too.", [f"{LONG},", "and I will.", "Then, too."]),
        (f"{LONG}; so I will.", [f"{LONG};", "so I will."]),
        (f"{LONG} - so I will.", [f"{LONG} -", "so I will."]),
        (f"{LONG} — so I will.", [f"{LONG} —", "so I will."]),
        (f"{LONG}—so I will.", [f"{LONG}—", "so I will."]),
        ("Sure. " + LONG + ", and I will.", ["Sure.", LONG + ", and I will."]),
        (f"{LONG} at 10:30,5 or so I think.", [f"{LONG} at 10:30,5 or so I think."]),
        ("Yes, " + LONG + " or so.", ["Yes, " + LONG + " or so."]),
        (
            "On the one hand there is that, but there is nothing on the other hand at all.",
            ["On the one hand there is that,", "but there is nothing on the other hand at all."],
        ),
        ("我" * 30 + "，" + "你" * 40 + "。", ["我" * 30 + "，", "你" * 40 + "。"]),
    ],
)
def test_a_long_first_sentence_is_given_out_by_clauses(text: str, sentences: list[str]) -> None:
    assert split(text) == split(*text) == sentences


def test_the_first_clause_comes_before_its_sentence_is_there() -> None:
    assert given_out(f"{LONG}, and ")[0] == [f"{LONG},"]
    assert given_out(f"{LONG}")[0] == []


def test_a_clause_may_be_given_out_while_another_sentence_is_in_doubt() -> None:
    sentences = ["Oh yes,", "at 9 a.m.", "We go."]
    assert split("Oh yes, at 9 a.m. We go.", first_clause_chars=20) == sentences


def test_each_reply_has_a_first_sentence() -> None:
    splitter = SentenceSplitter()
    for _ in range(2):
        assert splitter.receive_text(f"{LONG}, and I will") == [f"{LONG},"]
        assert splitter.flush() == ["and I will"]
    assert splitter.flush() == []


def test_no_sentence_is_longer_than_the_limit() -> None:
    words = " ".join(["seven77"] * 50)
    assert split(words) == [" ".join(["seven77"] * 37), " ".join(["seven77"] * 13)]
    assert split("a " + "b" * 298 + " c") == ["a " + "b" * 298, "c"]
    assert split("x" * 301) == ["x" * 300, "x"]
    assert split("x" * 300 + ".y") == ["x" * 300, ".y"]
    comma = "Sure! " + "seven77 " * 30 + "seven77, " + "seven77 " * 20
    assert [len(sentence) for sentence in split(comma)] == [5, 248, 159]
    assert split("a, b c d e f", first_clause_chars=6, limit=6) == ["a,", "b c d", "e f"]


@pytest.mark.parametrize(
    "lengths", [{"first_clause_chars": 0}, {"first_clause_chars": 301}, {"limit": 10}]
)
def test_lengths_that_make_no_sense_are_refused(lengths: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="first_clause_chars"):
        SentenceSplitter(**lengths)


@pytest.mark.parametrize(
    "text", ["", " \n\t", "...", "---\n***", "🙂", '"" - ? !\n|---|', "# \n- "]
)
def test_what_has_no_letter_and_no_digit_is_not_spoken(text: str) -> None:
    assert split(text) == []


def test_spaces_are_single() -> None:
    assert split("  One \t two.\r\n\r\nThree\u00a0 four.  Five ") == [
        "One two.",
        "Three four.",
        "Five",
    ]


# A first clause and a limit short enough to be met.
SHORT = {"first_clause_chars": 12, "limit": 25}
PROSE = """a A I we We Dr. p.m. U.S. No. 5 1. 3.30 end. End! why? (so.) “Yes.” well... wait… a,b
one, two; - – — x—y 好。 是？ 」 it's *very* **so** `x` _y_ # & 🙂 Wordswithoutanyend"""
prose = st.lists(st.sampled_from([*PROSE.split(), "\n", "\n\n"]), max_size=30)


@quickly
@given(prose, st.sampled_from(["", " "]), st.lists(st.integers(0, 150), max_size=10))
def test_sentences_do_not_depend_on_the_cuts(parts: list[str], gap: str, cuts: list[int]) -> None:
    text = gap.join(parts)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    for lengths in ({}, SHORT):
        assert split(text, **lengths) == split(*pieces, **lengths) == split(*text, **lengths)


@quickly
@given(prose, st.sampled_from(["", " "]))
def test_no_word_is_lost_and_none_is_said_twice(parts: list[str], gap: str) -> None:
    text = gap.join(parts)
    for lengths in ({}, SHORT):
        sentences = split(text, **lengths)
        for sentence in sentences:
            assert len(sentence) <= lengths.get("limit", 300)
            assert sentence == " ".join(sentence.split())
        # A snake_case of our making keeps its line.
        spoken, written = ("".join(t).replace("_", "") for t in (sentences, text))
        assert [c for c in spoken if c.isalnum()] == [c for c in written if c.isalnum()]


words = st.builds("{}{}".format, st.sampled_from("aZß7"), st.text("aZ7.,;:!?'\"()…-", max_size=8))


@quickly
@given(st.lists(words, max_size=12))
def test_all_that_is_written_between_words_is_given_out(parts: list[str]) -> None:
    text = " ".join(parts)
    for lengths in ({}, SHORT):
        assert "".join(split(text, **lengths)).replace(" ", "") == text.replace(" ", "")
