"""The chain of voices: a sentence is spoken by the first that can, and never is there silence.

    fails before its first piece     the next voice speaks the sentence instead
    fails in the middle              a breath, then the next voice speaks the sentence from its
                                     beginning: half of it is heard twice, but all of it is heard
    gives nothing in time, and no    it is asked once more and waited for longer: on a busy machine
      other is installed or allowed  an embedded voice is late, which is better than no call
    every voice failed               the apology, a clip in this package; then the failure is raised

A voice that failed comes last for a while, so that not every sentence waits for it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from gateway.g711 import BYTES_PER_SECOND, SILENCE
from gateway.speech import ProviderError, Reason, TextToSpeech, closing

# "I'm sorry, my voice is not working right now. Please call again later." Mu-law, made with
# hibari-tts 0.2.1 and sox 14.4.2:
#   hibari "I'm sorry, ..." --seed 0 --speed 1.1 -o said.wav
#   sox -D said.wav -t raw -e mu-law gateway/apology.ulaw rate 8000 norm -6 \
#       silence 1 0.02 0.5% reverse silence 1 0.02 0.5% reverse
APOLOGY = Path(__file__).with_name("apology.ulaw").read_bytes()
BREATH = SILENCE * int(0.4 * BYTES_PER_SECOND)

# These don't pass by themselves.
_LASTING: frozenset[Reason] = frozenset(("unauthorized", "no_credit", "not_installed"))
LASTING_COOLDOWN_S = 600.0

OnFailure = Callable[[ProviderError, str | None], None]


class Voices:
    """Voices in order of preference. `on_failure` is told (what failed, who is next or None)."""

    name = "voices"

    def __init__(
        self,
        providers: Sequence[TextToSpeech],
        on_failure: OnFailure,
        *,
        first_byte_s: float = 3.0,
        alone_s: float = 6.0,
        gap_s: float = 5.0,
        cooldown_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = tuple(providers)
        self._on_failure = on_failure
        self._first_byte_s, self._alone_s, self._gap_s = first_byte_s, alone_s, gap_s
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._cool_at: dict[int, float] = {}  # when a voice that failed is trusted again

    async def warm(self) -> None:
        """Warm the first that can be. Raises ProviderError if none can."""
        order = self._order()
        for place, number in enumerate(order):
            try:
                await self._providers[number].warm()
            except ProviderError as error:
                self._fail(error, order, place)
                if place + 1 == len(order):
                    raise
            else:
                return

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """Mu-law audio of one sentence; nothing for a text without a word.

        Raises ProviderError when every voice failed, behind the apology.
        """
        if not any(character.isalnum() for character in text):
            return
        order = self._order()
        failure: ProviderError | None = None
        reasons: dict[int, Reason] = {}
        is_begun = False
        for place, number in enumerate(order):  # which may grow by one
            patience_s = self._alone_s if number in reasons else self._first_byte_s
            try:
                async with closing(self._pieces(number, text, patience_s)) as pieces:
                    async for piece in pieces:
                        if is_begun and failure is not None:
                            yield BREATH
                            failure = None
                        is_begun = True
                        yield piece
            except ProviderError as error:
                failure = error
                is_first_try = number not in reasons
                reasons[number] = error.reason
                if is_first_try and not is_begun and len(reasons) == len(self._providers):
                    order += _only_slow(reasons)
                self._fail(error, order, place)
            else:
                self._cool_at.pop(number, None)
                return
        if is_begun:
            yield BREATH
        yield APOLOGY
        raise failure or ProviderError(self.name, "not_installed", "there is no voice")

    async def close(self) -> None:
        for provider in self._providers:
            await provider.close()

    def _order(self) -> list[int]:
        """Numbers of the voices; those that failed lately come last, rather than not at all."""
        now = self._clock()
        numbers = range(len(self._providers))
        return sorted(numbers, key=lambda number: self._cool_at.get(number, now) > now)

    def _fail(self, error: ProviderError, order: list[int], place: int) -> None:
        lasts_s = LASTING_COOLDOWN_S if error.reason in _LASTING else self._cooldown_s
        self._cool_at[order[place]] = self._clock() + lasts_s
        following = order[place + 1 : place + 2]
        self._on_failure(error, self._providers[following[0]].name if following else None)

    async def _pieces(self, number: int, text: str, limit_s: float) -> AsyncIterator[bytes]:
        """What one voice makes; a voice that makes nothing, or stops making, has failed."""
        provider = self._providers[number]
        is_heard = False
        async with closing(provider.speak(text)) as pieces:
            while True:
                try:
                    async with asyncio.timeout(limit_s):
                        piece = await anext(pieces, None)
                except TimeoutError:
                    detail = f"no audio for {limit_s:g} s"
                    raise ProviderError(provider.name, "timeout", detail) from None
                if piece is None:
                    break
                if piece:
                    limit_s = self._gap_s
                    is_heard = True
                    yield piece
        if not is_heard:
            raise ProviderError(provider.name, "bad_answer", "no audio at all")


def _only_slow(reasons: dict[int, Reason]) -> list[int]:
    """The one voice that was too slow, where all others can't speak at all."""
    able = [number for number, reason in reasons.items() if reason not in _LASTING]
    return able if [reasons[number] for number in able] == ["timeout"] else []
