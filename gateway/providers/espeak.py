"""The last resort among voices: the program espeak-ng, which sounds like a machine and never fails.

One process a sentence. The text goes in on stdin: an argument would show in the process list, and
could be read as an option.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator

import numpy as np

from gateway import g711
from gateway.resample import Resampler
from gateway.speech import ProviderError

PROGRAMS = ("espeak-ng", "espeak")
INSTALL = "install the program espeak-ng (Debian, Homebrew: espeak-ng)"
# It makes a minute of speech in 30 ms; one that says nothing for so long never will.
READ_S = 5.0
TEXT_LIMIT = 2000
_PIECE = 8192
_HEADER_SIZE = 44  # of the WAV file that it writes: RIFF, fmt, and the head of data


class Espeak:
    """A TextToSpeech."""

    name = "espeak"

    def __init__(self, *, voice: str = "en-us", words_per_minute: int = 160) -> None:
        speed = str(words_per_minute)
        self._options = ("--stdin", "--stdout", "-b", "1", "-z", "-v", voice, "-s", speed)

    async def warm(self) -> None:
        _program()

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        process = await asyncio.create_subprocess_exec(
            _program(),
            *self._options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            # Two brackets would begin a list of phonemes.
            process.stdin.write(text[:TEXT_LIMIT].replace("[[", "[").encode(errors="ignore"))
            process.stdin.close()
            async for piece in _mulaw(process.stdout):
                yield piece
            async with asyncio.timeout(READ_S):
                code = await process.wait()
            if code:
                raise ProviderError(self.name, "unavailable", f"it ended with code {code}")
        except TimeoutError:
            raise ProviderError(self.name, "timeout", f"no audio for {READ_S:g} s") from None
        except asyncio.IncompleteReadError:
            raise ProviderError(self.name, "bad_answer", "no audio at all") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def close(self) -> None:
        """Each sentence has ended its own process."""


def _program() -> str:
    for name in PROGRAMS:
        if path := shutil.which(name):
            return path
    raise ProviderError(Espeak.name, "not_installed", INSTALL)


async def _mulaw(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Mu-law of the WAV file that comes out. Its size is not in its head: it was not known yet."""
    async with asyncio.timeout(READ_S):
        header = await output.readexactly(_HEADER_SIZE)
    if header[:4] != b"RIFF" or header[36:40] != b"data":
        raise ProviderError(Espeak.name, "bad_answer", "not the WAV file that it should write")
    resampler = Resampler(int.from_bytes(header[24:28], "little"), g711.BYTES_PER_SECOND)
    rest = b""
    while True:
        async with asyncio.timeout(READ_S):
            piece = await output.read(_PIECE)
        if not piece:
            break
        piece = rest + piece
        whole = len(piece) & ~1
        rest = piece[whole:]
        yield g711.encode(resampler.receive_pcm(np.frombuffer(piece[:whole], np.int16)))
    yield g711.encode(resampler.flush())
