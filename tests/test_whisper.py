"""Whisper's text, without its model: tokens become words, and a loop is cut."""

import pytest

from gateway.providers.whisper import text_of, without_repetition


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["ĠHello", ",", "Ġworld", "."], "Hello, world."),
        (["<|0.00|>", "ĠYes", "<|2.00|>"], "Yes"),
        (["ĠMÃ", "¼ller"], "Müller"),  # one character in two tokens
        (["Ġâ", "Ĥ", "¬", "5"], "€5"),
        (["ĠÃ"], "\N{REPLACEMENT CHARACTER}"),  # the second half never came
        (["ĠČ", "Ċ", "x"], "x"),
        ([], ""),
    ],
)
def test_tokens_are_bytes_in_disguise(tokens: list[str], text: str) -> None:
    assert text_of(tokens) == text


def test_the_alphabet_holds_each_byte_once() -> None:
    """GPT-2's: printable Latin-1 as itself, the other 68 from U+0100 on, in order."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in itself]
    assert len(others) == 68
    disguised = {byte: chr(byte) for byte in itself} | {
        byte: chr(0x100 + number) for number, byte in enumerate(others)
    }
    for character in "~¡ÿ\x7f\xad\u0100\u07ff\uffff":
        token = "".join(disguised[byte] for byte in f"({character})".encode())
        assert text_of([token]) == f"({character})"


LOOP = "What time do you open on Monday?"


@pytest.mark.parametrize(
    ("made", "is_cut", "text"),
    [
        (f"{LOOP} {LOOP} {LOOP}", False, LOOP),
        (f"{LOOP} {LOOP} {LOOP} What time", True, LOOP),
        (f"{LOOP} What time do", True, LOOP),
        (f"Hello. {LOOP} {LOOP}", False, f"Hello. {LOOP}"),
        ("Yes please, that is it. Yes, please that is it!", False, "Yes please, that is it."),
        ("A b c. D e f. A b c. D e f.", False, "A b c. D e f."),
        # What people say.
        *[
            (said, False, said)
            for said in (
                f"{LOOP} What time",
                "No. No. No.",
                "Bye bye. Bye bye.",
                "5 5 5 5 5 5",
                "One two three one two three.",
                "It is one two three, one two three, you see.",
                "I said yes. Then I said yes. Then no.",
                "Hello",
                "",
            )
        ],
        ("Hello", True, "Hello"),
    ],
)
def test_a_repetition_to_the_end_is_cut(made: str, is_cut: bool, text: str) -> None:
    assert without_repetition(made, is_cut=is_cut) == text
