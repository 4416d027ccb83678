"""Voice, ears and agent of letters, for where it is not the point which they are."""

from collections.abc import AsyncIterator, Sequence
from itertools import groupby

from gateway.g711 import FRAME_BYTES, SILENCE
from gateway.providers.silero import SileroPool
from gateway.speech import ProviderError, Turn

# ASCII from the blank on, as codes of mu-law that are all loud.
_LOUD = bytes([*range(0x48), *range(0x80, 0x97)])
_ASCII = bytes(range(0x20, 0x7F))


class LettersVoice:
    """Says a text as its letters, one frame each: what was heard can be read in the audio."""

    name = "letters"

    def __init__(self, frames: int = 1) -> None:
        self.frames = frames
        self.fails: ProviderError | None = None

    async def warm(self) -> None: ...
    async def close(self) -> None: ...

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        if self.fails is not None:
            raise self.fails
        for code in text.encode().translate(bytes.maketrans(_ASCII, _LOUD)):
            yield bytes([code]) * (FRAME_BYTES * self.frames)


class ToldEars:
    """Understands what the test says it does, utterance by utterance."""

    name = "told"

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.open = 0
        self.heard: list[bytes] = []  # what each transcript was made of

    async def warm(self) -> None: ...
    async def close(self) -> None: ...

    async def listen(self) -> "ToldListener":
        self.open += 1
        return ToldListener(self)


class ToldListener:
    """The ears of one call; each hears all of the texts, in order."""

    def __init__(self, ears: ToldEars) -> None:
        self._ears, self._number = ears, -1
        self._audio = b""

    def begin(self) -> None:
        self._number += 1
        self._audio = b""

    def hear(self, audio: bytes) -> None:
        self._audio += audio

    async def transcribe(self) -> str:
        texts = self._ears.texts
        self._ears.heard.append(self._audio)
        if not self._audio:
            return ""
        return texts[self._number] if self._number < len(texts) else "and so on"

    async def close(self) -> None:
        self._ears.open -= 1


class Parrot:
    """An agent that repeats what the caller said, and says which turn it is."""

    name = "parrot"

    def __init__(self) -> None:
        self.crashes: Exception | None = None

    async def warm(self) -> None: ...
    async def close(self) -> None: ...

    async def reply(self, turns: Sequence[Turn]) -> AsyncIterator[str]:
        if self.crashes is not None:
            raise self.crashes
        number = sum(turn.speaker == "caller" for turn in turns)
        yield f"{number} {turns[-1].text}."


class SharedPool(SileroPool):
    """The models of voice activity, of all gateways in all tests: loading them is what costs."""

    async def warm(self) -> None: ...
    async def close(self) -> None: ...


POOL = SharedPool(spare=32)


def spelled(audio: bytes) -> str:
    """The letters of which LettersVoice made this; silence is left out."""
    text = b""
    for letter, repeated in groupby(audio):
        if letter != SILENCE[0]:
            text += bytes([letter]) * round(len(list(repeated)) / FRAME_BYTES)
    return text.translate(bytes.maketrans(_LOUD, _ASCII)).decode("latin-1")
