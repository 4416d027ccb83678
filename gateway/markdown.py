"""The words of a Markdown text without its marks, which a voice would read aloud.

Taken away are emphasis, backticks, the addresses of links, escapes, and at the beginning of a line
the marks of headings, quotations, bullets and tasks, and the fences of code. Numbers of lists are
words; line ends stay; so do marks that are none: 2 * 3, snake_case, ~5.

The words are the same however the text was cut. What more text could turn into a mark is held
back: it matches one of the _BEGUN patterns to its end.
"""

import re

_WORDS = re.compile(r"[^\n`*_~\[!\\]+")
_RUN = re.compile(r"\*+|_+|~+|`+")

_LINE_MARK = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+|>|[-*+•][ \t]+|\[[ xX]\][ \t]+|(?:`{3,}|~{3,})[^\n`]{0,40}(?=\n))"
)
_LINE_MARK_BEGUN = re.compile(
    r"[ \t]*(?:(?:#{1,6}|[-*+•]|\[(?:[ xX]\]?)?)?[ \t]*|`{1,2}|~{1,2}|(?:`{3,}|~{3,})[^\n`]{0,40})"
)
# ![text](address "title"), in sizes that somebody would write; the address may hold one (pair).
_LINK = re.compile(
    r"""!?\[([^\[\]\n]{0,200})\]
    \([^()\s]{0,400}(?:\([^()\s]{0,100}\)[^()\s]{0,100})?(?:[ \t]+"[^"\n]{0,100}"[ \t]*)?\)""",
    re.VERBOSE,
)
_LINK_BEGUN = re.compile(
    r"""!?(?:\[[^\[\]\n]{0,200}(?:\]
    (?:\([^()\s]{0,400}(?:\([^()\s]{0,100}(?:\)[^()\s]{0,100})?)?
    (?:[ \t]+(?:"[^"\n]{0,100}(?:"[ \t]*)?)?)?)?)?)?""",
    re.VERBOSE,
)
_ESCAPABLE = frozenset("\\`*_{}[]()<>#+-.!~|$")


class MarkdownReader:
    """One text."""

    __slots__ = ("_before", "_held", "_is_line_start")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._held = ""
        self._before = "\n"  # the last character given out
        self._is_line_start = True

    def receive_text(self, piece: str) -> str:
        """Take the next piece; return the words that are certain."""
        return self._read(piece, is_end=False)

    def flush(self) -> str:
        """Return the rest, and begin anew."""
        rest = self._read("", is_end=True)
        self._begin()
        return rest

    def _read(self, piece: str, *, is_end: bool) -> str:
        text, at = self._held + piece, 0
        given: list[str] = []
        while at < len(text):
            if not is_end and self._is_undecided(text, at):
                break
            if self._is_line_start:
                mark = _LINE_MARK.match(text, at)
                self._is_line_start = mark is not None
                at = mark.end() if mark else at
                continue
            if link := _LINK.match(text, at):
                text, at = link[1] + text[link.end() :], 0
                continue
            words, at = self._take(text, at)
            if words:
                given.append(words)
                self._before = words[-1]
                self._is_line_start = words == "\n"
        self._held = text[at:]
        return "".join(given)

    def _is_undecided(self, text: str, at: int) -> bool:
        """Could what follows make something else of the text from here on?"""
        if self._is_line_start:
            return _LINE_MARK_BEGUN.fullmatch(text, at) is not None
        if run := _RUN.match(text, at):
            return run.end() == len(text)
        return text[at:] == "\\" or _LINK_BEGUN.fullmatch(text, at) is not None

    def _take(self, text: str, at: int) -> tuple[str, int]:
        """The words from here on up to the next decision, and where that is."""
        if words := _WORDS.match(text, at):
            return words[0], words.end()
        if run := _RUN.match(text, at):
            after = text[run.end() : run.end() + 1] or "\n"
            return ("" if _is_mark(run[0], self._before, after) else run[0]), run.end()
        if text[at] == "\\" and text[at + 1 : at + 2] in _ESCAPABLE:
            at += 1
        return text[at], at + 1


def _is_mark(run: str, before: str, after: str) -> bool:
    """Is a run of *, _, ~ or ` between these two characters Markdown, and no text?"""
    match run[0]:
        case "`":
            return True
        case "~":
            return len(run) > 1
        case _ if before.isspace() and after.isspace():
            return len(run) > 1
        case "_":
            return not (before.isalnum() and after.isalnum())
    return not (before.isdigit() and after.isdigit())
