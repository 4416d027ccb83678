"""The last resort: espeak-ng itself, and programs in its place that misbehave."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.g711 import peak, seconds
from gateway.providers import espeak
from gateway.providers.espeak import Espeak
from gateway.speech import ProviderError
from programs import require

HEADER = (
    r"RIFF\044\000\000\200WAVEfmt \020\000\000\000\001\000\001\000\100\037\000\000\200\076\000\000"
    r"\002\000\020\000data\000\000\000\200"
)


def say(text: str, **options: str | int) -> bytes:
    async def say() -> bytes:
        voice = Espeak(**options)  # type: ignore[arg-type]
        await voice.warm()
        return b"".join([piece async for piece in voice.speak(text)])

    return asyncio.run(say())


@pytest.fixture
def espeak_ng() -> str:
    return require("espeak-ng")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A shell script in the place of espeak-ng."""

    def make(script: str) -> None:
        program = tmp_path / "espeak-ng"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


@pytest.mark.usefixtures("espeak_ng")
def test_it_speaks() -> None:
    audio = say("Your appointment is on Friday.")
    assert 1.0 < seconds(audio) < 4.0
    assert peak(audio) > 4000


@pytest.mark.usefixtures("espeak_ng")
def test_it_speaks_as_fast_as_it_is_told() -> None:
    slow, fast = (say("One two three four five six.", words_per_minute=w) for w in (100, 300))
    assert len(slow) > 1.8 * len(fast)


@pytest.mark.usefixtures("espeak_ng")
@pytest.mark.parametrize("text", ["--help", "-w /tmp/out.wav", "$(id)", "\ud800 x", "[[h@l'oU]]"])
def test_a_text_is_read_out_whatever_it_looks_like(text: str) -> None:
    assert seconds(say(text)) > 0.2


@pytest.mark.usefixtures("espeak_ng")
def test_phonemes_are_not_a_callers_to_write() -> None:
    assert say("[[aI]]") == say("[aI]]")


@pytest.mark.usefixtures("espeak_ng")
def test_a_voice_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(ProviderError, match="espeak: "):
        say("Hello.", voice="none-such")


def test_where_it_is_not_installed_it_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProviderError, match=r"not_installed \(install the program espeak-ng"):
        say("Hello.")


def test_the_text_is_not_among_its_arguments(
    stand_in: Callable[[str], None], tmp_path: Path
) -> None:
    stand_in(f'echo "$@" >{tmp_path}/arguments; cat >{tmp_path}/text; printf "{HEADER}aa"')
    say("A secret.")
    assert "secret" not in (tmp_path / "arguments").read_text()
    assert (tmp_path / "text").read_text() == "A secret."


def test_audio_is_given_out_as_it_comes_and_an_odd_byte_is_no_trouble(
    stand_in: Callable[[str], None],
) -> None:
    stand_in(f'printf "{HEADER}aaaaa"; cat >/dev/null; head -c 16000 /dev/zero; printf b')

    async def count() -> int:
        return sum([len(piece) async for piece in Espeak().speak("x")])

    assert asyncio.run(count()) == (5 + 16000 + 1) // 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("cat >/dev/null; exit 3", "bad_answer (no audio at all)"),
        ("printf 'no WAV at all, but long enough to have been the head of one'", "bad_answer"),
        (f'cat >/dev/null; printf "{HEADER}aaaa"; exit 3', "unavailable (it ended with code 3)"),
        ("exec sleep 60", "timeout (no audio for 0.2 s)"),
        (f'printf "{HEADER}aaaa"; exec sleep 60', "timeout (no audio for 0.2 s)"),
        ("exec <&-; exec sleep 60", "timeout"),  # it closes its stdin unread
    ],
)
def test_a_program_that_misbehaves_is_a_failure(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, script: str, says: str
) -> None:
    monkeypatch.setattr(espeak, "READ_S", 0.2)
    stand_in(script)
    with pytest.raises(ProviderError) as raised:
        say("Hello. " * 1000)
    assert str(raised.value).startswith(f"espeak: {says}")


def test_an_interrupted_sentence_ends_its_process(
    stand_in: Callable[[str], None], tmp_path: Path
) -> None:
    stand_in(f'echo $$ >{tmp_path}/pid; printf "{HEADER}aaaa"; exec sleep 60')

    async def interrupt() -> None:
        sentence = Espeak().speak("Hello.")
        await anext(sentence)
        await sentence.aclose()  # type: ignore[attr-defined]

    asyncio.run(interrupt())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
