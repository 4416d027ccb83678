"""Where in a Caddyfile a directive stands: what `caddy adapt` prints has no lines (pure).

A directive is looked for by its words. Of several, the one counts that stands in the blocks (of
sites, handles and named matchers) that hold most of what is known about its place.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|[^\s{}]\S*|[{}]')


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    words: tuple[str, ...]
    around: tuple[str, ...]  # the words of the blocks that it stands in


class Source:
    def __init__(self, text: str) -> None:
        self._matchers: dict[str, tuple[str, ...]] = {}
        self._lines = list(self._read(text))

    def _read(self, text: str) -> Iterable[Line]:
        headers: list[tuple[str, ...]] = []
        for number, raw in enumerate(text.split("\n"), start=1):
            line = re.sub(r"(^|\s)#.*", "", raw)
            words = tuple(word.strip('"`') for word in _WORD.findall(line))
            bare = tuple(word for word in words if word not in ("{", "}"))
            around = tuple(word for header in headers for word in header)
            if words[:1] == ("}",) and headers:
                headers.pop()
            matcher = next((word for word in (*around, *bare[:1]) if word.startswith("@")), "")
            if matcher and (headers or bare[:1] == (matcher,)):
                self._matchers[matcher] = (*self._matchers.get(matcher, ()), *bare)
            if bare:
                yield Line(number, bare, around)
            if words[-1:] == ("{",):
                headers.append(bare)

    def find(self, words: Iterable[str], hints: Iterable[str] = ()) -> int:
        """The line that begins with the first word and holds the others; 0 if there is none."""
        first, *others = words
        wanted = set(hints)
        best, best_score = 0, -1
        for line in self._lines:
            if line.words[0] != first or not _holds(line.words, others):
                continue
            place = {*line.words, *line.around}
            for name in [word for word in place if word.startswith("@")]:
                place.update(self._matchers.get(name, ()))
            score = len(wanted & place)
            if score > best_score:
                best, best_score = line.number, score
        return best


def _holds(words: tuple[str, ...], wanted: Sequence[str]) -> bool:
    """Whether a directive has these arguments: the field it edits first, or else anywhere."""
    arguments = words[1:]
    if words[0] in ("header_up", "request_header"):
        is_matched = arguments[:1] and arguments[0].startswith(("@", "/", "*"))
        return list(arguments[1:] if is_matched else arguments)[: len(wanted)] == list(wanted)
    return all(
        any(own == each or own.endswith(f"//{each}") for own in arguments) for each in wanted
    )
