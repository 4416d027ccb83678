"""Twilio's playout buffer: what the gateway sent, and when the caller hears it.

Audio is played in order at 8000 bytes a second. A mark is echoed once all that came before it was
played. `clear` throws away what is left and echoes every mark at once (www.twilio.com/docs/voice/
media-streams/websocket-messages). More than ten minutes are not kept (31931).

Times are seconds on the caller's steady clock.
"""

from collections import deque

from gateway.g711 import BYTES_PER_SECOND, FRAME_S, SILENCE

LIMIT_S = 600.0
MARKS_LIMIT = 10_000
# Playout that ran dry for longer is a pause between utterances, not a hole in one.
PAUSE_S = 1.0
_ROUNDING = 1e-3  # of a byte: differences of times are not exact


class Playout:
    """One stream. Whoever owns it calls `advance` often, and takes what was heard."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._queue: deque[memoryview | str] = deque()
        self._queued = 0  # bytes of audio in the queue
        self._marks = 0  # marks in the queue
        self.position = 0  # how far playing has come, in bytes of time
        self._dry_from = 0  # where the last audio ended
        self._utterance_open = False
        self._played: list[str] = []
        self._heard = bytearray()
        self.underruns = 0  # times that it ran dry within an utterance
        self.discarded = 0  # bytes that had no room
        self.played = 0  # bytes of the agent's audio that were heard
        self.cleared = 0  # bytes that `clear` threw away

    @property
    def is_empty(self) -> bool:
        """Nothing is waiting to be played. Marks may be."""
        return not self._queued

    def ahead_s(self) -> float:
        """Seconds of audio that wait, as of the last call."""
        return self._queued / BYTES_PER_SECOND

    def receive_audio(self, audio: bytes, now: float) -> bool:
        """Queue audio; False where it was discarded for want of room."""
        self._run_to(now)
        if (self._queued + len(audio)) > LIMIT_S * BYTES_PER_SECOND:
            self.discarded += len(audio)
            return False
        if not audio:
            return True
        if self._utterance_open and not self._queued:
            dry_s = (self.position - self._dry_from) / BYTES_PER_SECOND
            if FRAME_S < dry_s < PAUSE_S:
                self.underruns += 1
        self._queue.append(memoryview(audio))
        self._queued += len(audio)
        self._utterance_open = True
        return True

    def receive_mark(self, name: str, now: float) -> bool:
        """Queue a mark; False where there are too many already."""
        self._run_to(now)
        self._utterance_open = False  # a mark stands behind the last word
        if self._marks >= MARKS_LIMIT:
            return False
        self._queue.append(name)
        self._marks += 1
        return True

    def clear(self, now: float) -> None:
        """Empty the buffer. Its marks are echoed by the next `advance`."""
        self._run_to(now)
        self._played += [item for item in self._queue if isinstance(item, str)]
        self.cleared += self._queued
        self._queue.clear()
        self._queued = self._marks = 0
        self._dry_from = self.position
        self._utterance_open = False

    def advance(self, now: float) -> list[str]:
        """Play up to now; the marks that are to be echoed, in order."""
        self._run_to(now)
        self._pass_marks()
        played, self._played = self._played, []
        return played

    def take_heard(self) -> bytes:
        """What the caller has heard since the last call, silence included, without a gap."""
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    def _run_to(self, now: float) -> None:
        passed = (now - self._began) * BYTES_PER_SECOND
        due = int(passed + _ROUNDING) - self.position
        while due > 0:
            self._pass_marks()
            if not self._queue:
                self._heard += SILENCE * due
                self.position += due
                return
            audio = self._queue.popleft()
            assert not isinstance(audio, str)  # noqa: S101 - marks were passed
            if len(audio) > due:
                self._queue.appendleft(audio[due:])
                audio = audio[:due]
            self._heard += audio
            self._queued -= len(audio)
            self.position += len(audio)
            self.played += len(audio)
            self._dry_from = self.position
            due -= len(audio)

    def _pass_marks(self) -> None:
        while self._queue and isinstance(name := self._queue[0], str):
            self._played.append(name)
            self._queue.popleft()
            self._marks -= 1
