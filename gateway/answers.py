"""What was answered to a webhook, kept for Twilio's retries of it (pure).

A retry carries the I-Twilio-Idempotency-Token of the first try, which may have been answered: its
answer was lost on the way. Answered anew, it would be a second call.
"""

from collections import OrderedDict

ANSWERS_S = 300.0
ANSWERS_LIMIT = 1000


Key = tuple[str, ...]


class Answers:
    """The last answers. Times are seconds on the caller's steady clock."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, tuple[float, str]] = OrderedDict()

    def find(self, key: Key, now: float) -> str | None:
        kept = self._kept.get(key)
        return kept[1] if kept is not None and now - kept[0] < ANSWERS_S else None

    def keep(self, key: Key, answer: str, now: float) -> None:
        self._kept[key] = now, answer
        self._kept.move_to_end(key)
        while len(self._kept) > ANSWERS_LIMIT:
            self._kept.popitem(last=False)
