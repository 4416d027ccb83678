"""What Twilio still has to play of the audio that we sent it, as far as we can know.

Twilio plays at 8000 bytes a second what it was sent, in order, and echoes a mark once all audio
before it was played, or at once when a `clear` flushed it. Between two marks this is an estimate by
the clock; a mark that comes back corrects it. It errs on the side of more: the way of the audio
there and of the echo back are not known, and count as not yet played.
"""

from collections import deque

from gateway.g711 import BYTES_PER_SECOND, FRAME_S, seconds

MARKS_LIMIT = 1000  # of a peer that echoes none, the oldest are forgotten
_INSTANT_S = 1e-6  # a wait so short is a rounding error


class Playout:
    """One stream. `now` is seconds on the caller's steady clock.

    `sent` counts the bytes that were or will be heard: those sent and not flushed.
    """

    __slots__ = ("_end", "_marks", "_played", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self._end = 0.0  # when all of it will have been played
        self._played = 0  # bytes that the last mark vouched for
        # Marks that were not echoed yet: name, and the bytes before it; None when flushed.
        self._marks: deque[tuple[str, int | None]] = deque(maxlen=MARKS_LIMIT)

    @property
    def marks(self) -> list[str]:
        """The marks that Twilio still has to echo, in order."""
        return [name for name, _ in self._marks]

    def audio_sent(self, audio: bytes | int, now: float) -> None:
        """Note that mu-law audio, or so many bytes of it, was sent."""
        self._end = max(self._end, now) + seconds(audio)
        self.sent += audio if isinstance(audio, int) else len(audio)

    def mark_sent(self, name: str) -> None:
        self._marks.append((name, self.sent))

    def mark_played(self, name: str, now: float) -> bool:
        """Take an echoed mark. Was all audio before it heard?

        False for a mark that a clear flushed, and for one that was never sent.
        """
        found = next((item for item in self._marks if item[0] == name), None)
        if found is None:
            return False
        self._marks.remove(found)
        place = found[1]
        if place is None:
            return False
        if place > self._played:
            self._played = place
            self._end = now + seconds(self.sent - place)
        return True

    def cleared(self, now: float) -> None:
        """Note that a clear was sent: what was not played yet will never be."""
        self.sent = self._played = self.heard(now)
        self._end = now
        for index, (name, place) in enumerate(self._marks):
            # One that was reached has its echo under way.
            if place is not None and place > self.sent:
                self._marks[index] = (name, None)

    def ahead_s(self, now: float) -> float:
        """Seconds of audio that Twilio still has to play."""
        return max(0.0, self._end - now)

    def heard(self, now: float) -> int:
        """Bytes of `sent` that were heard."""
        return self.sent - min(self.sent, round(self.ahead_s(now) * BYTES_PER_SECOND))

    def may_send(self, now: float, limit_s: float = 1.0) -> float:
        """Seconds to wait before another frame leaves at most `limit_s` to be played; 0 for none.

        A frame may always be sent once nothing is left to play.
        """
        ahead = self.ahead_s(now)
        wait = min(ahead, ahead + FRAME_S - limit_s)
        return wait if wait > _INSTANT_S else 0.0
