"""Regular expressions of Go and RE2: read as Go reads them, refused as Go refuses them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.linting.go_regex import (
    PATTERN_MAX,
    UNBOUNDED_MAX,
    RegexRefused,
    RegexUnknown,
    compile_go,
)
from go_patterns import FOUND, REFUSED, UNKNOWN

PIECES = r"""a / ^ $ . * + ? | ( ) (?i) (?i: (?m) (?s) (?-m: (?: (?P<n> [ ] [^ - [:alpha:] \d \w \s
    \S \b \z \A \Q \E {2} {1,2} {,2} {2,1} { } \. \x41 \x \n \p \1 (?! (?U) (?) & ~ || é""".split()
KNOWN = [each for each in FOUND if each[0] not in UNKNOWN]


@pytest.mark.parametrize(("pattern", "found", "missed"), KNOWN, ids=[each[0] for each in KNOWN])
def test_a_pattern_finds_what_it_finds_in_go(
    pattern: str, found: tuple[str, ...], missed: tuple[str, ...]
) -> None:
    compiled = compile_go(pattern)
    texts = found + missed
    assert tuple(text for text in texts if compiled.search(text)) == found


@pytest.mark.parametrize(("pattern", "why"), REFUSED, ids=[pattern for pattern, _ in REFUSED])
def test_a_pattern_that_go_refuses_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(RegexRefused) as refused:
        compile_go(pattern)
    assert str(refused.value) == why


@pytest.mark.parametrize(
    "pattern",
    [
        *sorted(UNKNOWN),
        r"(a)\1",
        "a" * (PATTERN_MAX + 1),
        "(" * 900 + ")" * 900,
        ".*" * (UNBOUNDED_MAX + 1) + "x",
        "(a{2,})" * (UNBOUNDED_MAX + 1),
        "(?i)*",
        "(?P<1>a)",
    ],
)
def test_what_may_be_fine_and_is_not_read_is_unknown(pattern: str) -> None:
    with pytest.raises(RegexUnknown):
        compile_go(pattern)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text())
def test_any_pattern_is_compiled_refused_or_unknown(pattern: str) -> None:
    told = "compiled"
    try:
        compile_go(pattern).search("/voice/stream")
    except (RegexRefused, RegexUnknown) as verdict:
        told = str(verdict)
    assert told


@given(st.text(max_size=50).filter(lambda text: "\\E" not in text + "\\"[: text.endswith("\\")]))
def test_a_quoted_text_finds_itself_alone(text: str) -> None:
    compiled = compile_go(rf"\A\Q{text}\E\z")
    assert compiled.search(text)
    assert not compiled.search(f"{text}a")
    assert not compiled.search(f"a{text}")
