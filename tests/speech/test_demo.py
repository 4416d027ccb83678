"""`hopscope up --demo`, as make run starts it: two turns, exactly understood, and the recording."""

import asyncio
import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doctor.caller.speech import CONVERSATION, TEXTS
from gateway import g711
from programs import ROOT

pytestmark = pytest.mark.timeout(150)


def _words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def _understood(audio: bytes) -> str:
    """Half a minute of mu-law, as our recogniser writes it down."""
    from gateway.providers.whisper import Whisper

    async def understand() -> str:
        whisper = Whisper()
        listener = await whisper.listen()
        listener.begin()
        listener.hear(audio)
        try:
            return await listener.transcribe()
        finally:
            await listener.close()
            await whisper.close()

    return asyncio.run(understand())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the demo printed, and its recording."""
    pytest.importorskip("ctranslate2", exc_type=ImportError)
    pytest.importorskip("hibari", exc_type=ImportError)
    recording = tmp_path_factory.mktemp("demo") / "demo.wav"
    ended = subprocess.run(
        [sys.executable, "-m", "hopscope", "up", "--demo", "--json", "--record", str(recording)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "HOPSCOPE" not in name},
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told, recording


def test_both_sentences_are_understood_and_answered(demo: tuple[dict[str, Any], Path]) -> None:
    row = demo[0]["history"]
    assert [turn["caller"] for turn in row["turns"]] == [TEXTS[name] for name in CONVERSATION]
    assert all(turn["agent"] and not turn["was_interrupted"] for turn in row["turns"])
    assert (row["mode"], row["direction"], row["ending"]) == (
        "conversation",
        "inbound",
        "caller_hung_up",
    )
    [handshake] = row["handshakes"]
    assert (handshake["outcome"], handshake["status"]) == ("upgraded", 101)
    assert handshake["session"]["underruns"] == 0
    assert handshake["session"]["marks_unanswered"] == 0


def test_the_caller_heard_both_answers_soon(demo: tuple[dict[str, Any], Path]) -> None:
    called = demo[0]["call"]
    assert called["twilio_error"] is None
    assert called["is_signed"]
    assert called["media"]["underruns"] == 0
    # Loose: the machine may be busy. The bench has the figure.
    assert all(0 < turn["answer_ms"] < 3000 for turn in called["turns"])


def test_the_recording_read_back_holds_both_voices(demo: tuple[dict[str, Any], Path]) -> None:
    told, recording = demo
    with wave.open(str(recording)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, 8000)
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), np.int16).reshape(-1, 2)
    caller, agent = (g711.encode(np.ascontiguousarray(pcm[:, side])) for side in (0, 1))
    said = _words(_understood(caller))
    assert said == [word for name in CONVERSATION for word in _words(TEXTS[name])]
    heard = _words(_understood(agent))
    for turn in told["history"]["turns"]:
        # The recogniser writes half of the numbers as digits: most words are enough.
        wanted = _words(turn["agent"])
        assert sum(word in heard for word in wanted) >= 0.8 * len(wanted), (heard, wanted)
