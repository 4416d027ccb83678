"""The chain of recognisers: when one fails, the next hears the same utterance again."""

from collections.abc import Callable, Sequence

from gateway.g711 import BYTES_PER_SECOND
from gateway.speech import Listener, ProviderError, SpeechToText

# What is kept of an utterance to be heard again; the endpointing ends it long before.
UTTERANCE_LIMIT = 60 * BYTES_PER_SECOND

OnFailure = Callable[[ProviderError, str | None], None]


class Ears:
    """Recognisers in order of preference. `on_failure` is told (what failed, who is next)."""

    name = "ears"

    def __init__(self, providers: Sequence[SpeechToText], on_failure: OnFailure) -> None:
        self._providers = tuple(providers)
        self._on_failure = on_failure

    async def warm(self) -> None:
        """Warm the first that can be. Raises ProviderError if none can."""
        for index, provider in enumerate(self._providers):
            try:
                await provider.warm()
            except ProviderError as error:
                self.failed(error, index)
                if index + 1 == len(self._providers):
                    raise
            else:
                return

    async def listen(self) -> "ChainedListener":
        listener = ChainedListener(self, self._providers)
        await listener.open()
        return listener

    async def close(self) -> None:
        for provider in self._providers:
            await provider.close()

    def failed(self, error: ProviderError, index: int) -> None:
        is_last = index + 1 == len(self._providers)
        self._on_failure(error, None if is_last else self._providers[index + 1].name)


class ChainedListener:
    """One call's ears, which outlive the provider they began with."""

    def __init__(self, ears: Ears, providers: Sequence[SpeechToText]) -> None:
        self._ears, self._providers = ears, providers
        self._index = 0
        self._listener: Listener | None = None
        self._utterance = bytearray()

    async def open(self) -> None:
        """Open the ears of the first provider that can. Raises ProviderError if none can."""
        while self._listener is None:
            try:
                self._listener = await self._providers[self._index].listen()
            except ProviderError as error:
                self._next(error)

    def begin(self) -> None:
        self._utterance.clear()
        if self._listener is not None:
            self._listener.begin()

    def hear(self, audio: bytes) -> None:
        if len(self._utterance) < UTTERANCE_LIMIT:
            self._utterance += audio
        if self._listener is not None:
            self._listener.hear(audio)

    async def transcribe(self) -> str:
        while True:
            if self._listener is None:
                await self.open()
                assert self._listener is not None  # noqa: S101 - open() raises otherwise
                self._listener.begin()
                self._listener.hear(bytes(self._utterance))
            try:
                return await self._listener.transcribe()
            except ProviderError as error:
                failed, self._listener = self._listener, None
                await failed.close()
                self._next(error)

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()

    def _next(self, error: ProviderError) -> None:
        """Turn to the next provider; after the last, fail and begin again with the first."""
        self._ears.failed(error, self._index)
        self._index += 1
        if self._index == len(self._providers):
            self._index = 0
            raise error
