"""Whose turn it is: when the caller speaks, and how long the agent took to answer.

The caller waits for the greeting, says a sentence, waits until the agent has answered and been
quiet for `patience_s`, says the next, and hangs up after the last answer. What counts as speech is
what the caller would hear: audio that is played and is louder than a line's noise. So an agent that
streams silence is quiet, and one whose audio has arrived but is not yet played is not.

Times are seconds since the stream began. Pure: the stream tells what was heard, frame by frame.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.g711 import BYTES_PER_SECOND, FRAME_BYTES, FRAME_S, SILENCE, peak

# Linear magnitude of a frame that counts as speech: 38 dB below full scale.
VOICED_PEAK = 400
DIGIT_S = 0.25  # from one key to the next
WAIT_S = 0.5  # what a "w" among the digits stands for, as in Twilio's SendDigits


@dataclass(frozen=True, slots=True)
class Manners:
    """How the caller behaves. With `barge_in_s` it interrupts each answer so long after its start,
    and the greeting only where it has a single sentence to say."""

    greeting_s: float = 5.0  # how long it waits to be greeted
    answer_s: float = 10.0  # how long it waits for an answer
    patience_s: float = 0.7  # how long the agent must be quiet to have finished
    linger_s: float = 1.0  # how much longer it listens before it hangs up
    barge_in_s: float | None = None


@dataclass(slots=True)
class Turn:
    """One thing that the caller said or dialled, and the answer."""

    number: int
    said_from_s: float
    said_until_s: float
    digits: str = ""
    is_barge_in: bool = False
    cleared_s: float | None = None  # when `clear` came after the caller had barged in
    answered_s: float | None = None  # when the answer began to be heard
    answered_until_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Milliseconds. `answer_ms` is negative where the agent spoke over the caller."""
        answer_ms = spoke_ms = clear_ms = None
        if self.answered_s is not None:
            answer_ms = _ms(self.answered_s - self.said_until_s)
            spoke_ms = _ms((self.answered_until_s or self.answered_s) - self.answered_s)
        if self.cleared_s is not None:
            clear_ms = _ms(self.cleared_s - self.said_from_s)
        return {
            "number": self.number,
            "said_ms": _ms(self.said_until_s - self.said_from_s),
            "digits": self.digits or None,
            "answer_ms": answer_ms,
            "spoke_ms": spoke_ms,
            "barge_in": {"clear_ms": clear_ms} if self.is_barge_in else None,
        }


@dataclass(slots=True)
class _Speech:
    """A stretch of what the agent said."""

    from_s: float
    until_s: float
    turn: Turn | None  # that it answers; None: it greets
    is_over: bool = False


class Dialogue:
    """One conversation, a frame of 20 ms at a time."""

    def __init__(
        self, sentences: Sequence[bytes], digits: str = "", manners: Manners | None = None
    ) -> None:
        self.manners = manners or Manners()
        self._items: deque[bytes | str] = deque([digits] if digits else [])
        self._items += [sentence for sentence in sentences if sentence]
        self._sentences = sum(isinstance(item, bytes) for item in self._items)
        self.total = len(self._items)
        # Who has nothing to say has come to listen, and bears longer pauses.
        self._linger_s = self.manners.linger_s if self.total else self.manners.greeting_s
        self._frames: deque[bytes] = deque()
        self._keys: deque[str] = deque()
        self._key_due_s = 0.0
        self._unheard = b""  # less than a frame
        self._heard_s = 0.0
        self._agent: _Speech | None = None
        self._listening_from_s = 0.0
        self.greeting: tuple[float, float] | None = None  # from and until, as heard
        self.turns: list[Turn] = []
        self.is_over = False

    def hear(self, audio: bytes) -> None:
        """What was played since the last call, without gaps, silence included."""
        audio = self._unheard + audio
        whole = len(audio) // FRAME_BYTES * FRAME_BYTES
        self._unheard = audio[whole:]
        for start in range(0, whole, FRAME_BYTES):
            self._hear_frame(audio[start : start + FRAME_BYTES])
            self._heard_s += FRAME_S

    def receive_clear(self, at_s: float) -> None:
        """The agent has thrown away what it was about to say; `hear` knows all before it."""
        self._heard_s += len(self._unheard) / BYTES_PER_SECOND
        self._unheard = b""  # the rest of that frame will be another's
        if self._agent is not None:
            self._agent.is_over = True
        if self.turns and self.turns[-1].is_barge_in and self.turns[-1].cleared_s is None:
            self.turns[-1].cleared_s = at_s

    def speak(self, at_s: float, ahead_s: float) -> bytes:
        """The caller's next frame. `ahead_s`: what of the agent's is yet to be played."""
        if not self._frames and not self._keys and not self.is_over:
            self._decide(at_s, ahead_s)
        frame = self._frames.popleft() if self._frames else SILENCE * FRAME_BYTES
        if not self._frames and not self._keys:
            self._listening_from_s = max(self._listening_from_s, self._ended_s())
        return frame

    def take_digit(self, at_s: float) -> str | None:
        """A key that is pressed now."""
        while self._keys and at_s >= self._key_due_s:
            key = self._keys.popleft()
            self._key_due_s = at_s + (WAIT_S if key == "w" else DIGIT_S)
            if key != "w":
                self.turns[-1].said_until_s = at_s
                return key
        return None

    def _ended_s(self) -> float:
        return self.turns[-1].said_until_s if self.turns else 0.0

    def _hear_frame(self, frame: bytes) -> None:
        agent, at_s = self._agent, self._heard_s
        if peak(frame) <= VOICED_PEAK:
            if agent is not None and at_s - agent.until_s >= self.manners.patience_s:
                agent.is_over = True
            return
        if agent is None or agent.is_over:
            begins_s = at_s + _first_voiced(frame) / BYTES_PER_SECOND
            # What begins before a turn is not its answer, however long it goes on.
            answered = [turn for turn in self.turns[-2:] if turn.said_from_s <= begins_s]
            agent = self._agent = _Speech(begins_s, begins_s, answered[-1] if answered else None)
        agent.until_s = at_s + FRAME_S
        if (turn := agent.turn) is None:
            self.greeting = (self.greeting[0] if self.greeting else agent.from_s, agent.until_s)
            return
        if turn.answered_s is None:
            turn.answered_s = agent.from_s
        turn.answered_until_s = agent.until_s

    def _decide(self, at_s: float, ahead_s: float) -> None:
        """Nothing is being said: go on listening, say the next thing, or hang up."""
        manners, agent = self.manners, self._agent
        has_answered = self.turns[-1].answered_s is not None if self.turns else agent is not None
        is_quiet = agent is None or agent.is_over
        if self._may_barge_in(at_s):
            self._begin(at_s, is_barge_in=True)
            return
        if has_answered:
            if not is_quiet or ahead_s > 0:
                return
            quiet_from_s = agent.until_s if agent is not None else 0.0
            waited = at_s - quiet_from_s >= manners.patience_s
        else:
            limit_s = manners.answer_s if self.turns else manners.greeting_s
            waited = is_quiet and at_s - self._listening_from_s >= limit_s
            quiet_from_s = self._listening_from_s + limit_s - manners.patience_s
        if waited and self._items:
            self._begin(at_s)
        elif waited and at_s - quiet_from_s >= manners.patience_s + self._linger_s:
            self.is_over = True

    def _may_barge_in(self, at_s: float) -> bool:
        after_s, agent = self.manners.barge_in_s, self._agent
        if after_s is None or agent is None or agent.is_over or not self._items:
            return False
        if isinstance(self._items[0], str) or (not self.turns and self._sentences > 1):
            return False
        is_answer = not self.turns or agent.turn is self.turns[-1]
        return is_answer and at_s - agent.from_s >= after_s

    def _begin(self, at_s: float, *, is_barge_in: bool = False) -> None:
        item = self._items.popleft()
        number = len(self.turns) + 1
        if isinstance(item, str):
            self._keys.extend(item)
            self._key_due_s = at_s
            self.turns.append(Turn(number, at_s, at_s, item))
            return
        voiced = [
            index
            for index in range(0, len(item), FRAME_BYTES)
            if peak(item[index : index + FRAME_BYTES]) > VOICED_PEAK
        ] or [0]
        # A frame is sent when the last of it was spoken.
        first_s, last_s = voiced[0] / BYTES_PER_SECOND - FRAME_S, voiced[-1] / BYTES_PER_SECOND
        self.turns.append(Turn(number, at_s + first_s, at_s + last_s, "", is_barge_in))
        for index in range(0, len(item), FRAME_BYTES):
            self._frames.append(item[index : index + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE))


def _first_voiced(audio: bytes) -> int:
    """Where speech begins, to the millisecond; 0 where there is none."""
    step = BYTES_PER_SECOND // 1000
    return next(
        (i for i in range(0, len(audio), step) if peak(audio[i : i + step]) > VOICED_PEAK), 0
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
