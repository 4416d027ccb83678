"""The stereo recording, read back with the standard library's reader."""

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from doctor.caller.recording import StereoRecording
from gateway.g711 import BYTES_PER_SECOND, decode, encode

LOUD = encode(np.full(160, 8000, np.int16))  # 20 ms
LEVEL = int(decode(LOUD)[0])


def read(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        data = file.readframes(file.getnframes())
    return np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.int16)


def loud(channel: NDArray[np.int16]) -> list[int]:
    return [int(place) for place in np.flatnonzero(channel)]


def test_the_caller_is_on_the_left_and_what_it_heard_on_the_right(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    recording.add("caller", LOUD, 0.5)
    recording.add("agent", LOUD * 2, 1.0)
    assert recording.finish() == tmp_path / "call.wav"
    stereo = read(tmp_path / "call.wav")
    assert loud(stereo[:, 0]) == list(range(4000, 4160))
    assert loud(stereo[:, 1]) == list(range(8000, 8320))
    assert set(stereo[4000:4160, 0]) == set(stereo[8000:8320, 1]) == {LEVEL}
    assert len(stereo) == 8320


def test_the_file_is_whole_whatever_the_size_of_the_pieces(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    ramp = encode(np.arange(-32000, 32000, 2, dtype=np.int16))
    for start in range(0, len(ramp), 37):
        recording.add("agent", ramp[start : start + 37], start / BYTES_PER_SECOND)
        recording.add("caller", ramp[start : start + 37], start / BYTES_PER_SECOND)
    recording.finish()
    stereo = read(tmp_path / "call.wav")
    for channel in (0, 1):
        assert np.array_equal(stereo[:, channel], decode(ramp))


def test_audio_that_would_overlap_is_put_behind(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    recording.add("agent", LOUD, 0.0)
    recording.add("agent", LOUD, 0.01)
    recording.finish()
    assert loud(read(tmp_path / "call.wav")[:, 1]) == list(range(320))


def test_it_has_the_name_only_when_it_is_whole(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    recording.add("agent", LOUD * 100, 0.0)
    recording.add("caller", LOUD * 100, 0.0)
    assert not (tmp_path / "call.wav").exists()
    recording.finish()
    recording.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]


def test_a_recording_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    recording.add("agent", LOUD * 100, 0.0)
    recording.discard()
    assert list(tmp_path.iterdir()) == []


def test_memory_is_bounded_while_both_sides_speak(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav")
    for number in range(3000):
        recording.add("caller", LOUD, number * 0.02)
        recording.add("agent", LOUD, number * 0.02)
        waiting = sum(len(channel) for channel in recording._waiting.values())
        assert waiting <= 2 * BYTES_PER_SECOND
    recording.finish()
    assert len(read(tmp_path / "call.wav")) == 3000 * 160


def test_what_is_longer_than_the_limit_is_cut(tmp_path: Path) -> None:
    recording = StereoRecording(tmp_path / "call.wav", limit_s=1.0)
    recording.add("agent", LOUD, 0.99)
    recording.add("caller", LOUD, 1e9)
    assert recording.is_cut
    recording.finish()
    stereo = read(tmp_path / "call.wav")
    assert len(stereo) == BYTES_PER_SECOND
    assert loud(stereo[:, 1]) == list(range(7920, 8000))


def test_an_empty_recording_is_a_wav_all_the_same(tmp_path: Path) -> None:
    StereoRecording(tmp_path / "call.wav").finish()
    assert len(read(tmp_path / "call.wav")) == 0


def test_an_older_recording_is_replaced(tmp_path: Path) -> None:
    for length in (3, 1):
        recording = StereoRecording(tmp_path / "call.wav")
        recording.add("agent", LOUD * length, 0.0)
        recording.finish()
    assert len(read(tmp_path / "call.wav")) == 160


def test_what_is_no_recording_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    for name in ("notes.wav", "folder.wav", "call.mp3", "call"):
        with pytest.raises(ValueError, match=name):
            StereoRecording(tmp_path / name)
    assert (tmp_path / "notes.wav").read_text() == "not audio"


def test_a_folder_that_is_missing_is_told_before_the_call(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StereoRecording(tmp_path / "nowhere" / "call.wav")
