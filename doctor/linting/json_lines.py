"""JSON, and JSON5 (comments, trailing commas, bare keys), with the line of every value.

https://spec.json5.org. A key that is there twice counts as it does everywhere: the last one wins.
"""

import re
from bisect import bisect_right

from doctor.linting.nodes import NODES_MAX, Node, Scalar, Unreadable, listing, mapping, scalar

CHARACTERS_MAX = 1 << 22
DEPTH_MAX = 100
DIGITS_MAX = 300  # more make no number to anyone, and to Python an error
_BLANK = re.compile(r"(?:[\s\ufeff]+|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*+", re.DOTALL)
_STRING = re.compile(r"""(["'])(?:[^"'\\\n\r]++|(?!\1)["']|\\(?:\r\n|.))*+\1""", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F]++|Infinity|NaN|"
    r"(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)"
    r"(?![\w.])"
)
_NAME = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}
_WORDS: dict[str, Scalar] = {"true": True, "false": False, "null": None}


def read_json(text: str) -> Node:
    """The one value of a text. Raises Unreadable."""
    if len(text) > CHARACTERS_MAX:
        raise Unreadable(f"it has more than {CHARACTERS_MAX} characters")
    reader = _Reader(text)
    node = reader.value(0)
    if reader.peek():
        raise reader.unexpected("the end")
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0
        self._ends = [found.end() for found in re.finditer("\n", text)]

    @property
    def _line(self) -> int:
        return bisect_right(self._ends, self._at) + 1

    def peek(self) -> str:
        """The next character that is neither blank nor comment; "" at the end."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text[self._at : self._at + 1]

    def unexpected(self, wanted: str) -> Unreadable:
        saw = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return Unreadable(f"line {self._line}: it is no JSON: {saw} where {wanted} should be")

    def value(self, depth: int, line: int = 0) -> Node:
        """`line` is that of the key, where there is one."""
        if depth > DEPTH_MAX:
            raise Unreadable(f"line {self._line}: it is nested too deeply")
        self._values += 1
        if self._values > NODES_MAX:
            raise Unreadable(f"line {self._line}: more than {NODES_MAX} values")
        character = self.peek()
        line = line or self._line
        if character == "{":
            return mapping(self._fields(depth), line)
        if character == "[":
            return listing(self._entries(depth), line)
        if character and character in "\"'":
            return scalar(self._string(), line)
        number = self._take(_NUMBER)
        if number is not None:
            return scalar(_number(number), line, number)
        word = self._take(_NAME)
        if word is None or word not in _WORDS:
            self._at -= len(word or "")
            raise self.unexpected("a value")
        return scalar(_WORDS[word], line, word)

    def _fields(self, depth: int) -> dict[str, Node]:
        fields: dict[str, Node] = {}
        self._at += 1
        while (character := self.peek()) != "}":
            line = self._line
            name = self._string() if character in ("'", '"') else self._take(_NAME)
            if name is None:
                raise self.unexpected("a name")
            if self.peek() != ":":
                raise self.unexpected("a colon")
            self._at += 1
            fields[name] = self.value(depth + 1, line)
            self._separate("}")
        self._at += 1
        return fields

    def _entries(self, depth: int) -> list[Node]:
        entries: list[Node] = []
        self._at += 1
        while self.peek() != "]":
            entries.append(self.value(depth + 1))
            self._separate("]")
        self._at += 1
        return entries

    def _separate(self, closing: str) -> None:
        character = self.peek()
        if character == ",":
            self._at += 1
        elif character != closing:
            raise self.unexpected(f"a comma or {closing}")

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _string(self) -> str:
        text = self._take(_STRING)
        if text is None:
            raise self.unexpected("a string that ends on its line")
        text = _ESCAPE.sub(_unescaped, text[1:-1])
        # \u writes what is beyond 16 bits as two halves; half a character is none.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _unescaped(found: re.Match[str]) -> str:
    if code := found[1] or found[2]:
        return chr(int(code, 16))
    character = found[3]
    return "" if character in ("\n", "\r\n", "\r") else _ESCAPED.get(character, character)


def _number(text: str) -> Scalar:
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.removeprefix("+"))
    is_hex = digits[:2].lower() == "0x"
    if len(digits) > DIGITS_MAX:
        return sign * (float("inf") if is_hex else float(digits))
    if is_hex:
        return sign * int(digits, 16)
    return sign * (int(digits) if digits.isdigit() else float(digits))
