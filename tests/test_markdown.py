"""A voice reads the words of Markdown, not its marks."""

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.markdown import MarkdownReader

quickly = settings(derandomize=True, deadline=None, max_examples=150)


def words(*pieces: str) -> str:
    reader = MarkdownReader()
    return "".join([*map(reader.receive_text, pieces), reader.flush()])


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Yes**, at *three* or __four__ or _five_.", "Yes, at three or four or five."),
        ("***very* loud**", "very loud"),
        ("un**believ**able", "unbelievable"),
        ("Run `make run` or ``x``.", "Run make run or x."),
        ("~~never~~ always", "never always"),
        ("2 * 3 is 6, 2*3 too, and 2**3 is 8", "2 * 3 is 6, 2*3 too, and 2**3 is 8"),
        ("a snake_case and __init__ name", "a snake_case and init name"),
        ("in ~5 minutes", "in ~5 minutes"),
        ("See [our page](https://x.io/a_b) now", "See our page now"),
        ("[**bold** link](x) and [a](b)[c](d)", "bold link and ac"),
        ("[wiki](https://x.org/A_(b)_c)!", "wiki!"),
        ('[titled](/x "a title")', "titled"),
        ("![a map](m.png) here", "a map here"),
        ("a [note] (aside) and [1](see below)", "a [note] (aside) and [1](see below)"),
        ("[open", "[open"),
        ("[never closed](http://x", "[never closed](http://x"),
        ("[[nested](x)", "[nested"),
        ("Stop! [x](y)!", "Stop! x!"),
        ("# Title\n## Second ##x\n#1 of 3", "Title\nSecond ##x\n#1 of 3"),
        ("- one\n* two\n+ three\n  • four\n-five", "one\ntwo\nthree\nfour\n-five"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("> said\n>> twice\n> - list", " said\n twice\nlist"),
        ("- [ ] open\n- [x] done\n[x] too", "open\ndone\ntoo"),
        ("- **bold** item\n*italic* line", "bold item\nitalic line"),
        ("```python\nx = 1\n```\nDone", "\nx = 1\n\nDone"),
        ("~~~sh\nx\n~~~", "\nx\n"),
        ("a\\*b \\[x\\](y) C:\\dir \\", "a*b [x](y) C:\\dir \\"),
        ("5 - 3 and 4 # 5 > 2", "5 - 3 and 4 # 5 > 2"),
        ("Wow!", "Wow!"),
        ("", ""),
    ],
)
def test_marks_are_taken_away_and_words_are_not(text: str, spoken: str) -> None:
    assert words(text) == spoken
    assert words(*text) == spoken
    for at in range(len(text)):
        assert words(text[:at], text[at:]) == spoken


def test_words_are_given_out_as_soon_as_they_are_certain() -> None:
    reader = MarkdownReader()
    pieces = ["Hel", "lo **", "you", "** [he", "re](x", ".io)", ", ok!", " \\", "* y"]
    given = [reader.receive_text(piece) for piece in pieces]
    assert given == ["Hel", "lo ", "you", " ", "", "here", ", ok", "! ", "* y"]


def test_what_looks_like_a_link_is_not_held_for_long() -> None:
    reader = MarkdownReader()
    assert len(reader.receive_text("a [" + "b" * 300)) == 303
    assert len(reader.receive_text("[b](" + "c" * 500)) == 504
    assert len(reader.receive_text("\n```" + "c" * 60)) == 61


def test_after_a_flush_another_text_begins() -> None:
    reader = MarkdownReader()
    assert [reader.receive_text("[a"), reader.flush()] == ["", "[a"]
    assert [reader.receive_text("- b"), reader.flush(), reader.flush()] == ["b", "", ""]


markdown = st.text(alphabet='ab1 \n\t*_~`#>-+•[]()x!\\".', max_size=40)


@quickly
@given(markdown, st.lists(st.integers(0, 40), max_size=6))
def test_the_words_do_not_depend_on_the_cuts(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert words(*pieces) == words(text) == words(*text)


@quickly
@given(markdown)
def test_nothing_but_marks_is_lost(text: str) -> None:
    assume(not any(mark in text for mark in ("](", "```", "~~~", "[x]")))
    kept = frozenset('ab1x().\n"')
    assert [c for c in words(text) if c in kept] == [c for c in text if c in kept]
