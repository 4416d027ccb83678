"""When the next call may be placed (pure).

Twilio dials one call a second for an account unless it was raised, and queues the others for up to
24 hours (support article 223180028): a call that is promised now may ring tomorrow. So calls wait
here, for as long as somebody would wait with them, and are refused after that.
"""


class Pace:
    """One call every `interval_s`. Times are seconds on the caller's steady clock."""

    def __init__(self, interval_s: float, wait_limit_s: float) -> None:
        self._interval_s = interval_s
        self._wait_limit_s = wait_limit_s
        self._next_at = 0.0

    def reserve(self, now: float) -> float | None:
        """Seconds to wait before the next call, whose turn is taken by this; None: too many."""
        wait_s = max(self._next_at - now, 0.0)
        if wait_s > self._wait_limit_s:
            return None
        self._next_at = now + wait_s + self._interval_s
        return wait_s
