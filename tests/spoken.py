"""Speech with the real models: the voice, the ears, and what a gateway would hear of a line."""

import asyncio
import os
import re
from collections import deque
from collections.abc import Coroutine
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.g711 import FRAME_BYTES, SILENCE, decode, encode
from gateway.providers.hibari import Hibari
from gateway.providers.silero import Silero, SileroPool
from gateway.providers.whisper import Whisper
from gateway.turns import SpeechEnded, SpeechPaused, SpeechStarted, TurnDetector

T = TypeVar("T")

PREROLL_FRAMES = 15


def require_package(name: str, install: str = "pip install 'hopscope[offline]'") -> None:
    """Without the package the test is skipped, and in CI it fails."""
    try:
        import_module(name)
    except ImportError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}; .ci/run installs it")
        pytest.skip(f"{error}; {install}")


class Speech:
    """Voice, ears and voice activity as one gateway has them, in an event loop of their own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.voice, self.ears, self.activities = Hibari(), Whisper(), SileroPool(spare=1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        for part in (self.voice, self.ears, self.activities):
            self.run(part.close())
        self._runner.close()

    def say(self, text: str) -> bytes:
        async def say() -> bytes:
            return b"".join([piece async for piece in self.voice.speak(text)])

        return self.run(say())

    def understand(self, utterance: bytes) -> str:
        async def understand() -> str:
            listener = await self.ears.listen()
            listener.begin()
            listener.hear(utterance)
            return await listener.transcribe()

        return self.run(understand())

    def activity(self) -> Silero:
        """Of a call that begins now."""
        return self.run(self.activities.open())

    def utterances(self, line: bytes) -> list[bytes]:
        """What of a line's audio is transcribed: from just before a voice to the pause behind."""
        activity, detector = self.activity(), TurnDetector()
        recent: deque[bytes] = deque(maxlen=PREROLL_FRAMES)
        utterance, is_hearing, found = b"", False, []
        for frame in frames(line):
            recent.append(frame)
            utterance += frame
            for probability, seconds in activity.receive_audio(frame):
                for event in detector.receive(probability, seconds):
                    match event:
                        case SpeechStarted():
                            utterance, is_hearing = b"".join(recent), True
                        case SpeechPaused() if is_hearing:
                            found.append(utterance)
                        case SpeechEnded():
                            is_hearing = False
        activity.close()
        return found


def frames(audio: bytes) -> list[bytes]:
    return [audio[start : start + FRAME_BYTES] for start in range(0, len(audio), FRAME_BYTES)]


def words(text: str) -> str:
    """A sentence without what nobody hears: capitals and punctuation."""
    return " ".join(re.sub(r"[^a-z0-9' ]", "", text.lower()).split())


def white_noise(seconds: float, level: float, seed: int = 0) -> NDArray[np.float64]:
    """`level`: root mean square, of a full scale of 32768."""
    noise: NDArray[np.float64] = np.random.default_rng(seed).normal(0, level, int(seconds * 8000))
    return noise


def tones(seconds: float, *hertz: float, level: float = 3000) -> NDArray[np.float64]:
    moments = np.arange(int(seconds * 8000)) / 8000
    waves = [level * np.sin(2 * np.pi * f * moments) for f in hertz]
    total: NDArray[np.float64] = np.sum(waves, axis=0)
    return total


def mulaw(samples: NDArray[np.float64]) -> bytes:
    return encode(samples.clip(-32768, 32767).astype(np.int16))


def on_a_line(*speech: bytes, noise: float = 0.0, pause_s: float = 1.0) -> bytes:
    """Speech with pauses before, between and behind, over white noise."""
    pause = SILENCE * int(pause_s * 8000)
    line = pause + b"".join(each + pause for each in speech)
    if not noise:
        return line
    return mulaw(decode(line) + white_noise(len(line) / 8000, noise))
