"""Audio files into mu-law."""

import io
import struct
import wave

import numpy as np
import pytest
from numpy.typing import NDArray

from doctor.caller.clip import UnreadableClip, read_clip
from gateway.g711 import decode, encode

SECOND = np.arange(8000)
TONE = (9000 * np.sin(2 * np.pi * 500 * SECOND / 8000)).astype(np.int16)
MULAW = encode(TONE)


def wav(pcm: bytes, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setframerate(rate)
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.writeframes(pcm)
    return file.getvalue()


def riff(form: int, bits: int, data: bytes, rate: int = 8000, extra: bytes = b"") -> bytes:
    fmt = struct.pack("<HHIIHH", form, 1, rate, rate * bits // 8, bits // 8, bits) + extra
    chunks = b"LIST\x03\0\0\0abc\0"  # an odd size is padded
    chunks += b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def loudness(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


def test_pcm_at_8_khz_is_encoded_as_it_is() -> None:
    assert read_clip(wav(TONE.tobytes())) == MULAW


def test_mulaw_passes_bit_by_bit() -> None:
    every_code = bytes(range(256))
    assert read_clip(riff(7, 8, every_code)) == every_code
    assert read_clip(every_code, "audio/basic; rate=8000") == every_code


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100, 48000])
def test_other_rates_become_8_khz_and_keep_their_tone(rate: int) -> None:
    tone = 9000 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate)
    heard = decode(read_clip(wav(tone.astype(np.int16).tobytes(), rate)))
    assert len(heard) == 8000
    assert loudness(heard) == pytest.approx(loudness(TONE), rel=0.02)
    spectrum = np.abs(np.fft.rfft(heard))
    assert int(np.argmax(spectrum)) == 500


def test_channels_are_mixed_and_eight_bits_are_unsigned() -> None:
    stereo = np.column_stack((TONE, TONE)).tobytes()
    assert read_clip(wav(stereo, channels=2)) == MULAW
    quiet = read_clip(wav(bytes([128]) * 800, width=1))
    assert quiet == b"\xff" * 800


def test_the_extensible_format_is_told_by_what_it_extends() -> None:
    extra = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + bytes(14)
    assert read_clip(riff(0xFFFE, 16, TONE.tobytes(), extra=extra)) == MULAW


def test_a_file_that_was_cut_short_gives_what_is_there() -> None:
    assert read_clip(wav(TONE.tobytes())[:-7999]) == MULAW[:4000]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no WAV"),
        (b"ID3\x04mp3", "no WAV"),
        (b"RIFF\0\0\0\0WAVE", "without format"),
        (riff(1, 24, bytes(300)), "format 1 with 24 bits"),
        (riff(6, 8, bytes(300)), "format 6"),
        (riff(1, 16, bytes(300), rate=1), "Hz"),
        (riff(1, 16, bytes(300)).replace(b"\1\0\1\0\x40", b"\1\0\0\0\x40"), "channels"),
    ],
)
def test_what_cannot_be_read_is_told(data: bytes, told: str) -> None:
    with pytest.raises(UnreadableClip, match=told):
        read_clip(data)


def test_damage_anywhere_raises_nothing_else() -> None:
    whole = riff(1, 16, TONE.tobytes()[:100])
    for place in range(60):
        for byte in (b"\0", b"\xff", b""):
            data = whole[:place] + byte + whole[place + 1 :]
            try:
                read_clip(data)
            except UnreadableClip as clip:
                told = str(clip)
                continue
    assert told
