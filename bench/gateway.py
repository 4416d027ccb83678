"""A gateway whose voice, ears and agent cost nothing: what is left is its own work.

`python -m bench.gateway HOST:PORT`, with TWILIO_AUTH_TOKEN in the environment. Everything between
the socket and the three providers is the real thing: signatures, tokens, voice activity, turns,
sentences, pacing, marks.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from unittest.mock import patch

from gateway import casting
from gateway import process as gateways
from gateway.g711 import BYTES_PER_SECOND
from gateway.settings import GatewaySettings, load_settings
from gateway.speech import Listener, Turn
from gateway.voices import APOLOGY
from proxy import logs, process

PIECE_BYTES = BYTES_PER_SECOND // 10
# Somebody says half of the apology: any two seconds of speech would do.
SENTENCE_BYTES = 2 * BYTES_PER_SECOND
PIECES = tuple(
    APOLOGY[start : start + PIECE_BYTES] for start in range(0, SENTENCE_BYTES, PIECE_BYTES)
)
SENTENCES = 3  # of one reply: six seconds
WORDS = tuple(f"{word} " for word in "this is one of the sentences that cost nothing.".split())
NO_BARGE_IN = "--no-barge-in"  # for callers who never stop to talk


class Canned:
    """All three of a gateway's providers, and the ears of every call."""

    name = "canned"

    async def warm(self) -> None: ...

    async def close(self) -> None: ...

    async def speak(self, _text: str) -> AsyncIterator[bytes]:
        for piece in PIECES:
            yield piece

    async def listen(self) -> Listener:
        return self

    def begin(self) -> None: ...

    def hear(self, audio: bytes) -> None: ...

    async def transcribe(self) -> str:
        return "Go on."

    async def reply(self, _turns: Sequence[Turn]) -> AsyncIterator[str]:
        for word in WORDS * SENTENCES:
            yield word


def settings_for(listen: str, *, barge_in: bool) -> GatewaySettings:
    """Limits that no call of the benchmark reaches; the rest is as it comes."""
    return load_settings(
        listen=listen,
        public_url=f"http://{listen}",
        metrics="off",
        limits={
            "calls": 10_000,
            "calls_per_caller_per_minute": 6000,
            "pending_streams": 10_000,
            "connections": 100_000,
        },
        turns={"barge_in": barge_in},
    )


def main() -> None:
    canned = Canned()
    settings = settings_for(sys.argv[1], barge_in=NO_BARGE_IN not in sys.argv[2:])
    log = logs.configure()
    try:
        with patch.multiple(
            casting,
            voices=lambda _settings: [canned],
            ears=lambda _settings: [canned],
            agent=lambda _settings: canned,
        ):
            process.run(gateways.serve(settings))
    finally:
        log.close()


if __name__ == "__main__":
    main()
