"""Sentences for a voice, out of text that arrives in pieces; each as soon as it is certain.

A sentence ends with its line, or with a stop, whatever quotes and brackets close behind it, and a
space; after a full-width stop without one. What follows decides then: a small letter goes on with
the sentence, unless it begins a word that sentences begin with. The stop of an abbreviation, an
initial or the number of a list ends nothing, or (a.m., Inc., U.S.) only before such a word. In
doubt two sentences stay together. A stop within a word, as in 3.30, an address or the name of a
file, is none.

For the first audio to come early, a long first sentence is given out up to a comma or a dash. None
is longer than a limit. What has no letter and no digit is not spoken; Markdown is taken away.

The sentences are the same however the text was cut.
"""

# ruff: noqa: RUF001 - typographic and full-width marks are what this reads

import re
from collections.abc import Iterator

from gateway.markdown import MarkdownReader

_STOP = re.compile(r"([.!?…؟।]+)([\"'”’»)\]}]*) \Z")
_WIDE_STOP = re.compile(r"[。！？｡][。！？｡\"'”’」』）】》〉]* ?\Z")
_WIDE_GOES_ON = frozenset("。！？｡\"'”’」』）】》〉")
_OPENING = "\"'“‘«([{¿¡"
_CLAUSE = re.compile("[,;:](?= )|(?<= )[-–](?= )|[—，、；：]")
_INITIALS = re.compile(r"(?:[^\W\d]\.)*[^\W\d]|\d{1,2}")
_ITEM = re.compile(r"\(?\d{1,3}\. ")

# Their stop never ends a sentence,
_TITLES = frozenset(
    "mr mrs ms mx dr prof rev fr hon gen col maj capt lt sgt sen rep gov pres messrs mme mlle hr "
    "mt ft vs v cf e.g i.e viz approx incl esp resp tel ca bzw z.b d.h".split()
)
# that of these does not before a number,
_NUMBERED = frozenset(
    "no nos nr fig figs vol p pp ch sec art ext jan feb mar apr jun jul aug sep sept oct nov dec "
    "mon tue wed thu fri sat sun".split()
)
# and that of these, as that of a.m., does if the next word is one of _BEGINNINGS.
_ABBREVIATIONS = frozenset("etc inc ltd co corp llc jr sr st ave blvd rd dept al ph.d usw".split())
_BEGINNINGS = frozenset(
    "i we you he she it they the this that these those there here if but and so please what when "
    "where who why how is are do does did would could can will shall should may let then your my "
    "our his her its their no yes ok okay thanks thank sorry".split()
)


class SentenceSplitter:
    """One reply after the other."""

    def __init__(self, *, first_clause_chars: int = 60, limit: int = 300) -> None:
        """`first_clause_chars`: how long the first sentence may become before it is divided."""
        if not 0 < first_clause_chars <= limit:
            raise ValueError("0 < first_clause_chars <= limit")
        self._first_clause_chars = first_clause_chars
        self._limit = limit
        self._markdown = MarkdownReader()
        self._text = ""  # begins with no space, ends with one at most
        self._doubt = 0  # where another sentence may have begun; 0 for nowhere
        self._is_first = True

    def receive_text(self, piece: str) -> list[str]:
        """Take the next piece; return the sentences that it completes."""
        return list(self._read(self._markdown.receive_text(piece)))

    def flush(self) -> list[str]:
        """Return the rest; what comes then is another reply."""
        rest = [*self._read(self._markdown.flush()), *self._read("\n")]
        self._is_first = True
        return rest

    def _read(self, words: str) -> Iterator[str]:
        for letter in words:
            if self._doubt and not letter.isalnum():
                word = self._text[self._doubt :].lstrip(_OPENING).lower()
                yield from self._give(self._doubt if word in _BEGINNINGS else 0)
                self._doubt = 0
            if letter == "\n":
                yield from self._give(len(self._text))
            elif letter.isspace():
                self._text += " " if self._text[-1:] not in ("", " ") else ""
            else:
                match _ends(self._text, letter):
                    case True:
                        yield from self._give(len(self._text))
                    case None:
                        self._doubt = len(self._text)
                self._text += letter
            if len(self._text) >= self._first_clause_chars and self._is_first:
                yield from self._give(self._clause_end(self._first_clause_chars // 3))
            if len(self._text) > self._limit:
                space = self._text.rfind(" ", 0, self._limit + 1)
                end = self._clause_end(self._limit // 2)
                yield from self._give(end or (space if space > 0 else self._limit))

    def _clause_end(self, shortest: int) -> int:
        """Where the last clause ends that may be given out; 0 for nowhere."""
        ends = [clause.end() for clause in _CLAUSE.finditer(self._text)]
        return max((end for end in ends if shortest <= end <= self._limit), default=0)

    def _give(self, end: int) -> Iterator[str]:
        sentence = self._text[:end].rstrip()
        left = self._text[end:]
        self._text = left.lstrip()
        self._doubt = max(0, self._doubt - end - len(left) + len(self._text))
        if any(map(str.isalnum, sentence)):
            self._is_first = False
            yield sentence


def _ends(text: str, after: str) -> bool | None:
    """Does the text end a sentence, with this letter after it? None: its whole word decides."""
    if _WIDE_STOP.search(text):
        return text.endswith(" ") or after not in _WIDE_GOES_ON
    stop = _STOP.search(text)
    if stop is None:
        return False
    stops, closing = stop.groups()
    goes_on = after.islower()
    if stops[-1] not in ".…":
        return not (closing and goes_on)
    if stops != "." or closing:
        return not goes_on
    word = text[: stop.start()].rpartition(" ")[2].lstrip(_OPENING).lower()
    if word in _TITLES or (word in _NUMBERED and after.isdigit()) or _ITEM.fullmatch(text):
        return False
    if word in _ABBREVIATIONS or _INITIALS.fullmatch(word):
        return False if goes_on else None
    return None if goes_on else True
