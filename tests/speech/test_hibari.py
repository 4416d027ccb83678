"""The embedded voice: the same each time, sentence by sentence, and soon."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from gateway.g711 import decode, seconds
from gateway.providers import hibari
from gateway.providers.hibari import LEAD_S, PAUSE_S, Hibari
from gateway.resample import Resampler
from programs import ROOT
from spoken import Speech

TEXT = "Your appointment is on Friday at three thirty in the afternoon."


def test_loading_leaves_nothing_at_home_and_tells_nobody(tmp_path: Path) -> None:
    """Where onnxruntime may report, it first writes down whose device it is."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    speak = "from gateway.providers.hibari import _model; list(_model().stream('Hello there.'))"
    command = [sys.executable, "-c", speak]
    subprocess.run(command, env=kept | home, cwd=ROOT, check=True, timeout=50)
    assert list(tmp_path.rglob("*")) == []


def test_the_same_text_sounds_the_same(speech: Speech) -> None:
    assert speech.say(TEXT) == speech.say(TEXT)


def test_another_seed_sounds_otherwise(speech: Speech) -> None:
    async def say(voice: Hibari) -> bytes:
        said = b"".join([piece async for piece in voice.speak(TEXT)])
        await voice.close()
        return said

    assert speech.run(say(Hibari(seed=1))) != speech.say(TEXT)


def test_a_sentence_is_as_long_as_it_takes_to_say_it(speech: Speech) -> None:
    assert 2.5 < seconds(speech.say(TEXT)) < 5.0


def test_speech_begins_at_once_and_is_followed_by_a_short_pause(speech: Speech) -> None:
    samples = np.abs(decode(speech.say(TEXT)))
    (loud,) = np.nonzero(samples > 300)
    assert loud[0] / 8000 == pytest.approx(LEAD_S, abs=0.03)
    assert (len(samples) - loud[-1]) / 8000 == pytest.approx(PAUSE_S, abs=0.1)


def test_two_sentences_come_one_after_the_other(speech: Speech) -> None:
    async def pieces(text: str) -> list[bytes]:
        return [piece async for piece in speech.voice.speak(text)]

    both = speech.run(pieces(f"Of course. {TEXT}"))
    assert seconds(both[0]) < 1.5
    assert seconds(both[1]) > 2.5


@pytest.mark.parametrize(
    "text", ["", "   ", "...", "\N{WAVING HAND SIGN}", "\x00\x1b[2J", "\u4f60\u597d", "\ud800"]
)
def test_what_cannot_be_said_is_no_failure(speech: Speech, text: str) -> None:
    assert seconds(speech.say(text)) < 3.0


def test_a_text_without_an_end_is_said_in_parts(speech: Speech) -> None:
    async def longest() -> float:
        text = "and so on and on " * 100
        return max([seconds(piece) async for piece in speech.voice.speak(text)])

    assert 5.0 < speech.run(longest()) < 60.0


def test_a_sentence_that_is_interrupted_is_not_made_to_its_end(
    speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sentence is resampled once it is made."""
    made: list[int] = []

    class Counting(Resampler):
        def receive_pcm(self, pcm: "np.typing.NDArray[np.int16]") -> "np.typing.NDArray[np.int16]":
            made.append(len(pcm))
            return super().receive_pcm(pcm)

    monkeypatch.setattr(hibari, "Resampler", Counting)

    async def interrupt() -> None:
        sentence = speech.voice.speak("One. Two. Three. Four. Five.")
        await anext(sentence)
        await sentence.aclose()  # type: ignore[attr-defined]

    speech.run(interrupt())
    speech.say("Behind it.")
    assert len(made) == 1 + 1 + 1  # of the first text, of the second, and the second's flush


def test_many_sentences_at_once_are_each_right(speech: Speech) -> None:
    texts = [f"This is sentence number {number}." for number in range(20)]

    async def say(text: str) -> bytes:
        return b"".join([piece async for piece in speech.voice.speak(text)])

    async def together() -> list[bytes]:
        return await asyncio.gather(*(say(text) for text in texts))

    assert speech.run(together()) == [speech.say(text) for text in texts]


def test_the_event_loop_goes_on_meanwhile(speech: Speech) -> None:
    threads: set[int] = set()

    async def say() -> int:
        ticks = 0
        saying = asyncio.create_task(consume())
        while not saying.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks

    async def consume() -> None:
        async for _ in speech.voice.speak(f"{TEXT} {TEXT} {TEXT}"):
            threads.add(threading.get_ident())

    assert speech.run(say()) > 10


def test_the_first_piece_comes_soon(speech: Speech, capsys: pytest.CaptureFixture[str]) -> None:
    async def first(text: str) -> float:
        started = time.perf_counter()
        sentence = speech.voice.speak(text)
        await anext(sentence)
        taken = time.perf_counter() - started
        await sentence.aclose()  # type: ignore[attr-defined]
        return taken

    taken = [speech.run(first(TEXT)) for _ in range(10)]
    with capsys.disabled():
        print(f"\n  hibari: first piece after {median(taken) * 1000:.0f} ms, median of 10")
    assert median(taken) < 0.3
