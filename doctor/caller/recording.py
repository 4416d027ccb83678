"""A call as a stereo WAV: the caller on the left, what the caller heard on the right.

Both channels are placed by the time since the call began; what nobody filled is silence. It is
written while the call runs, so a long call needs no memory, into a file beside the chosen one that
takes its name when the call is over.
"""

import errno
import secrets
import struct
from pathlib import Path
from typing import Literal

import numpy as np

from gateway.g711 import BYTES_PER_SECOND, SILENCE, decode

LIMIT_S = 3600.0
_PIECE = BYTES_PER_SECOND  # samples that are written at a time, at least
_HEADER = 44
Channel = Literal["caller", "agent"]


class StereoRecording:
    """Raises OSError where the file cannot be written, ValueError for a name it must not have."""

    def __init__(self, path: Path, limit_s: float = LIMIT_S) -> None:
        if path.suffix.lower() != ".wav":
            raise ValueError(f"{path}: a recording is a .wav file")
        if path.exists() and not _is_wav(path):
            raise ValueError(f"{path}: exists and is no WAV file; it is left alone")
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
        self.path = path
        self._limit = int(limit_s * BYTES_PER_SECOND)
        self._part = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part")
        self._file = self._part.open("xb")
        self._file.write(bytes(_HEADER))
        self._written = 0  # samples
        self._waiting = {"caller": bytearray(), "agent": bytearray()}
        self.is_cut = False  # the call was longer than is kept

    def add(self, channel: Channel, audio: bytes, at_s: float) -> None:
        """Mu-law of one channel. What lies before `at_s` and was never filled becomes silence.

        Audio that would begin earlier than what is there already is put behind it.
        """
        waiting = self._waiting[channel]
        here = self._written + len(waiting)
        gap = min(round(at_s * BYTES_PER_SECOND), self._limit) - here
        # A gap of less than a sample's rounding is none.
        waiting += SILENCE * max(gap, 0) + audio
        over = self._written + len(waiting) - self._limit
        if over > 0:
            self.is_cut = True
            del waiting[-over:]
        whole = min(map(len, self._waiting.values()))
        if whole >= _PIECE:
            self._write(whole)

    def finish(self) -> Path:
        """Fill up the shorter channel, and give the file its name."""
        longest = max(map(len, self._waiting.values()))
        for waiting in self._waiting.values():
            waiting += SILENCE * (longest - len(waiting))
        self._write(longest)
        self._file.seek(0)
        self._file.write(_header(self._written))
        self._file.close()
        self._part.replace(self.path)
        return self.path

    def discard(self) -> None:
        """Leave nothing behind. Does nothing after `finish`."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _write(self, samples: int) -> None:
        stereo = np.empty((samples, 2), np.dtype("<i2"))
        for column, waiting in enumerate(self._waiting.values()):
            stereo[:, column] = decode(bytes(waiting[:samples]))
            del waiting[:samples]
        self._file.write(stereo.tobytes())
        self._written += samples


def _header(samples: int) -> bytes:
    """RIFF WAVE with one fmt chunk: PCM, two channels of 16 bits, 8000 Hz."""
    size = samples * 4
    form = struct.pack("<HHIIHH", 1, 2, BYTES_PER_SECOND, BYTES_PER_SECOND * 4, 4, 16)
    riff = struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", len(form))
    return riff + form + struct.pack("<4sI", b"data", size)


def _is_wav(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(12)
    return not start or (start[:4] == b"RIFF" and start[8:] == b"WAVE")
