"""From text to speech to text: what the embedded voice says over a telephone line is understood."""

import asyncio
import time
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from doctor.caller.speech import Sentence, sentences
from gateway.g711 import decode
from gateway.providers import whisper
from gateway.providers.scripted import RULES
from gateway.voices import APOLOGY
from spoken import Speech, mulaw, on_a_line, tones, white_noise, words

SAID = [
    "Hello, how can I help you?",
    "Of course. Would you like to come on Friday in the morning or in the afternoon?",
    "Your appointment is on Friday. Is there anything else?",
    "Please call me back when you know more about it.",
    "The weather is very nice today and I would like to go outside with my children.",
    "Goodbye.",
]
# -64 and -44 dBFS: a digital line, and a bad one.
NOISES = (0.0, 20.0, 200.0)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("text", SAID)
def test_what_the_voice_says_is_understood(speech: Speech, text: str, noise: float) -> None:
    (*_, utterance) = speech.utterances(on_a_line(speech.say(text), noise=noise)) or [b""]
    understood = speech.understand(on_a_line(speech.say(text), noise=noise, pause_s=0.3))
    assert words(understood) == words(text)
    assert words(text).endswith(words(speech.understand(utterance)).split()[-1])


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("sentence", sentences(), ids=lambda each: each.name)
def test_each_of_the_callers_sentences_is_one_utterance_and_exact(
    speech: Speech, sentence: Sentence, noise: float
) -> None:
    utterances = speech.utterances(on_a_line(sentence.audio, noise=noise))
    assert [words(speech.understand(each)) for each in utterances[-1:]] == [words(sentence.text)]


def test_two_sentences_are_two_utterances(speech: Speech) -> None:
    first, second, *_ = sentences()
    utterances = speech.utterances(on_a_line(first.audio, second.audio, noise=20.0))
    assert [words(speech.understand(each)) for each in utterances] == [
        words(first.text),
        words(second.text),
    ]


def test_the_same_ears_hear_an_utterance_that_goes_on(speech: Speech) -> None:
    first, _, _, _, _, last = sentences()

    async def test() -> None:
        listener = await speech.ears.listen()
        listener.begin()
        listener.hear(first.audio)
        assert words(await listener.transcribe()) == words(first.text)
        listener.hear(on_a_line(last.audio, pause_s=0.3))
        assert words(await listener.transcribe()) == f"{words(first.text)} {words(last.text)}"
        listener.begin()
        assert await listener.transcribe() == ""

    speech.run(test())


def test_half_a_minute_is_understood_to_its_end(speech: Speech) -> None:
    several = sentences() + sentences()[::-1]  # what ends as it began would be a repetition
    line = on_a_line(*(each.audio for each in several), pause_s=0.2)
    assert 26 < len(line) / 8000 < 30
    understood = words(speech.understand(line))
    for each in sentences():
        assert understood.count(words(each.text)) == 2, understood


def test_the_apology_says_what_it_should(speech: Speech) -> None:
    assert words(speech.understand(APOLOGY)) == (
        "i'm sorry my voice is not working right now please call again later"
    )


NO_SPEECH = {
    "silence": np.zeros(20000),
    "a hiss": white_noise(2.5, 100),
    "a loud hiss": white_noise(2.5, 3000),
    "hum": tones(2.5, 50, 150, 250),
    "a key": tones(2.5, 770, 1336),
    "a dial tone": tones(2.5, 350, 440),
    "rumble": np.cumsum(white_noise(2.5, 60)) - np.linspace(0, 1, 20000),
    "a click": np.concatenate([np.zeros(8000), white_noise(0.02, 9000), np.zeros(8000)]),
}


@pytest.mark.parametrize("sound", NO_SPEECH.values(), ids=NO_SPEECH)
def test_where_nobody_speaks_no_words_are_invented(
    speech: Speech, sound: NDArray[np.float64]
) -> None:
    assert speech.understand(mulaw(sound)) == ""


def test_everything_the_desk_says_can_be_said(speech: Speech) -> None:
    for rule in RULES:
        text = rule.answer.format(when="on Friday", time="ten in the morning", said="one")
        assert len(speech.say(text)) > 8000


def test_many_calls_at_once_each_get_their_own_words(speech: Speech) -> None:
    async def one(sentence: Sentence) -> str:
        listener = await speech.ears.listen()
        listener.hear(sentence.audio)
        return words(await listener.transcribe())

    async def test() -> list[str]:
        return await asyncio.gather(*(one(each) for each in sentences() * 2))

    assert speech.run(test()) == [words(each.text) for each in sentences() * 2]


def test_a_transcription_that_nobody_wants_holds_up_nobody_for_long(speech: Speech) -> None:
    first, second, *_ = sentences()

    async def test() -> None:
        dropped = await speech.ears.listen()
        dropped.hear(first.audio)
        waiting = [asyncio.create_task(dropped.transcribe()) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        listener = await speech.ears.listen()
        listener.hear(second.audio)
        assert words(await listener.transcribe()) == words(second.text)

    started = time.perf_counter()
    speech.run(test())
    alone = time.perf_counter()
    speech.understand(second.audio)
    assert alone - started < 6 * (time.perf_counter() - alone) + 0.5


def test_a_transcription_takes_a_fraction_of_what_was_said(
    speech: Speech, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = []
    for each in (sentences() * 2)[:10]:
        started = time.perf_counter()
        speech.understand(each.audio)
        taken.append(time.perf_counter() - started)
    with capsys.disabled():
        print(f"\n  whisper: {median(taken) * 1000:.0f} ms an utterance, median of 10")
    assert median(taken) < 1.5


def test_quiet_and_loud_callers_are_understood(speech: Speech) -> None:
    for gain in (0.05, 0.3, 1.9):
        for each in sentences():
            audio = mulaw(decode(each.audio).astype(np.float64) * gain)
            assert words(speech.understand(audio)) == words(each.text), gain


def test_another_file_than_the_known_model_is_not_loaded(
    speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "MODEL_SHA256", "0" * 64)
    whisper._load.cache_clear()
    with pytest.raises(Exception, match=r"whisper: refused \(.*model.bin is not the known model"):
        speech.understand(APOLOGY)
