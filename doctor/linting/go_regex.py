r"""Regular expressions as Go and RE2 read them, run by Python's `re`.

cloudflared, Caddy, Traefik and Envoy share this syntax (https://github.com/google/re2/wiki/Syntax).
What it has and Python has not is rewritten: \z, \Q...\E, (?i) in the middle, [[:alpha:]]. What
Python has and it has not is refused: lookaround, references to groups, possessive repetition.
"""

import re
import string

PATTERN_MAX = 2000
# Python tries all ways to share a text among them, which is past waiting for with many.
UNBOUNDED_MAX = 12
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_REPEAT = re.compile(r"(?:[*+?]|\{([0-9]+)(?:,([0-9]*))?\})\??")
_GROUP = re.compile(r"\(\?(?:P?<(\w+)>|([imsU]*)(-[imsU]+)?([:)]))")
# Go's \s is without the vertical tab.
_BLANKS = {"s": r"\t\n\f\r ", "S": r"\S\v"}
_SETS = frozenset((*_CLASSES.values(), *_BLANKS.values(), r"\d", r"\D", r"\w", r"\W"))
_POSIX = re.compile(r"\[:(\^?)(\w+):\]")
_HEX = re.compile(r"\\x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")


class RegexRefused(Exception):  # noqa: N818 - a verdict about a pattern
    """Go does not compile the pattern; str() says why."""


class RegexUnknown(Exception):  # noqa: N818
    """A pattern that may be fine and that we do not model."""


def compile_go(pattern: str) -> re.Pattern[str]:
    """The pattern for `search` (as Go's MatchString) or `fullmatch` (as Envoy's safe_regex).

    Raises RegexRefused and RegexUnknown.
    """
    if len(pattern) > PATTERN_MAX:
        raise RegexUnknown("it is longer than we read")
    rewritten = _Rewriter(pattern).whole()
    try:
        return re.compile(rewritten, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise RegexUnknown(str(error)) from None


class _Rewriter:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._out: list[str] = []
        # For every open group, the flags that were set inside it: each is a group of ours.
        self._flags: list[list[str]] = [[]]
        self._multiline = [False]  # of every open group: $ is the end of a line, too
        self._unbounded = 0
        self._can_repeat = False  # something stands here that could be repeated
        self._is_repeat = False  # it is a repetition itself

    def whole(self) -> str:
        while self._at < len(self._pattern):
            self._step(self._pattern[self._at])
        if len(self._flags) > 1:
            raise RegexRefused("missing closing )")
        return "".join(self._out) + ")" * len(self._flags[0])

    def _step(self, character: str) -> None:
        repeat = _REPEAT.match(self._pattern, self._at)
        if repeat is not None:
            self._repeat(repeat)
        elif character == "(":
            self._open()
        elif character == ")":
            self._close()
        elif character == "|":
            opened = self._flags[-1]
            self._take(")" * len(opened) + "|" + "".join(opened), 1, can_repeat=False)
        elif character == "[":
            self._class()
        elif character == "\\":
            self._escape()
        else:
            # A { that begins no repetition means itself, to Python mostly.
            self._take(self._plain(character), 1)

    def _plain(self, character: str) -> str:
        if character == "$" and not self._multiline[-1]:
            return r"\Z"  # to Python it is the end and before a newline there
        return character if character in "^$." else re.escape(character)

    def _take(self, text: str, length: int, *, can_repeat: bool = True) -> None:
        self._out.append(text)
        self._at += length
        self._can_repeat, self._is_repeat = can_repeat, False

    def _repeat(self, repeat: re.Match[str]) -> None:
        if self._pattern[self._at - 1 : self._at] == ")" and not self._can_repeat:
            raise RegexUnknown(f"(?flags){repeat[0]}")
        if not self._can_repeat:
            raise RegexRefused(f"missing argument to repetition operator: {repeat[0]}")
        if self._is_repeat:
            raise RegexRefused(f"invalid nested repetition operator: {repeat[0]}")
        low, high = int(repeat[1] or 0), int(repeat[2] or 0)
        if max(low, high) > 1000 or (repeat[2] and high < low):
            raise RegexRefused(f"invalid repeat count: {repeat[0]}")
        self._unbounded += repeat[0][0] in "*+" or repeat[2] == ""
        if self._unbounded > UNBOUNDED_MAX:
            raise RegexUnknown(f"it repeats without end more than {UNBOUNDED_MAX} times")
        self._take(repeat[0], len(repeat[0]))
        self._is_repeat = True

    def _open(self) -> None:
        if not self._pattern.startswith("(?", self._at):
            self._flags.append([])
            self._multiline.append(self._multiline[-1])
            self._take("(", 1, can_repeat=False)
            return
        group = _GROUP.match(self._pattern, self._at)
        if group is None:
            what = self._pattern[self._at : self._at + 4]
            raise RegexRefused(f"invalid or unsupported Perl syntax: {what}")
        name, on, off, end = group.groups()
        # Greediness (U) chooses among matches; whether there is one, it does not change.
        flags = (on or "").replace("U", "") + (off or "").replace("U", "")
        flags = f"(?{flags.rstrip('-')}:"
        if end == ")":
            self._flags[-1].append(flags)
        else:
            self._flags.append([])
            self._multiline.append(self._multiline[-1])
        if "m" in (on or "") + (off or ""):
            self._multiline[-1] = "m" in (on or "")
        self._take(f"(?P<{name}>" if name else flags, len(group[0]), can_repeat=False)

    def _close(self) -> None:
        if len(self._flags) == 1:
            raise RegexRefused("unexpected )")
        self._multiline.pop()
        self._take(")" * (len(self._flags.pop()) + 1), 1)

    def _class(self) -> None:
        """A bracket expression; Python reads [[ and -- in it as set operations to come.

        A - stands between two characters, or for itself: first, last, behind a range or a set.
        """
        pattern, start = self._pattern, self._at
        at = start + (2 if pattern.startswith("[^", start) else 1)
        parts = [pattern[start:at]]
        is_low, is_range = False, False  # a character that may begin a range; behind its -
        while True:
            character = pattern[at : at + 1]
            if not character:
                raise RegexRefused("missing closing ]")
            if character == "]" and len(parts) > 1:
                break
            posix = None if is_range else _POSIX.match(pattern, at)
            if posix is not None:
                if posix[1] or posix[2] not in _CLASSES:
                    raise RegexUnknown(posix[0])
                text, length = _CLASSES[posix[2]], len(posix[0])
            elif character == "\\":
                text, length = self._escaped(at)
            elif character == "-" and is_low and pattern[at + 1 : at + 2] != "]":
                parts.append("-")
                at += 1
                is_low, is_range = False, True
                continue
            else:
                text, length = f"\\{character}" if character in "[]&|~-" else character, 1
            is_set = text in _SETS
            if is_set and is_range:
                raise RegexRefused(f"invalid escape sequence: {pattern[at : at + length]}")
            is_low, is_range = not is_set and not is_range, False
            parts.append(text)
            at += length
        self._take("".join(parts) + "]", at + 1 - start)

    def _escape(self) -> None:
        if self._pattern.startswith("\\Q", self._at):
            quoted, found, _ = self._pattern[self._at + 2 :].partition("\\E")
            length = 2 + len(quoted) + len(found)
            # A repetition behind it is that of its last character.
            can_repeat = bool(quoted) or self._can_repeat
            self._take("".join(map(re.escape, quoted)), length, can_repeat=can_repeat)
            return
        if self._pattern.startswith("\\z", self._at):
            self._take(r"\Z", 2)
            return
        if self._pattern[self._at : self._at + 2] in (r"\A", r"\b", r"\B"):
            self._take(self._pattern[self._at : self._at + 2], 2)
            return
        text, length = self._escaped(self._at)
        self._take(f"[{text}]" if text in _BLANKS.values() else text, length)

    def _escaped(self, at: int) -> tuple[str, int]:
        """The escape of one character or of a class of them, and its length."""
        letter = self._pattern[at + 1 : at + 2]
        hexadecimal = _HEX.match(self._pattern, at)
        if hexadecimal is not None:
            code = int(hexadecimal[1] or hexadecimal[2], 16)
            if code > 0x10FFFF:
                raise RegexRefused(f"invalid escape sequence: {hexadecimal[0]}")
            return re.escape(chr(code)), len(hexadecimal[0])
        if letter in _BLANKS:
            return _BLANKS[letter], 2
        if letter and letter in "dDwWaftnrv":
            return f"\\{letter}", 2
        if letter and letter in string.punctuation + " ":
            return f"\\{letter}", 2
        if letter and letter in "pPC01234567":
            raise RegexUnknown(f"\\{letter}")
        what = f"invalid escape sequence: \\{letter}" if letter else "trailing backslash"
        raise RegexRefused(what)
