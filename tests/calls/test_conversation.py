"""A whole conversation, turn by turn: what is heard, understood, answered and interrupted."""

import asyncio
import time

import pytest

from calls.played_socket import ByteActivity, Call, hold
from gateway import conversation
from gateway.conversation import Manners, Phrases
from gateway.speech import Turn


def test_a_caller_whose_audio_stops_is_answered_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test tools stop; Twilio goes on with silence."""
    monkeypatch.setattr(conversation, "STALL_S", 0.2)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Hi.At three."
        call.socket.stop()

    ended = hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))
    assert ended == "stream_over"


def test_a_gateway_that_was_busy_does_not_take_that_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "STALL_S", 0.2)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20)
        await call.until(lambda: call.ears.frames == 20)
        time.sleep(0.3)  # noqa: ASYNC251 - nothing runs, and frames wait to be read
        asyncio.get_running_loop().call_soon(call.socket.speak, 20, 30)  # as a socket is read
        await call.until(lambda: call.told.turns)
        [frames] = call.ears.heard
        assert 40 <= frames <= 70  # begun once: nothing is heard twice
        call.socket.stop()

    hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))


def test_voice_activity_that_comes_late_loses_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is still being loaded tells all of its windows at once."""
    kept: list[bytes] = []

    def receive_audio(_: ByteActivity, audio: bytes) -> list[tuple[float, float]]:
        kept.append(audio)
        if len(kept) < 50:
            return []
        found = [(0.95 if frame[:1] == b"v" else 0.0, 0.02) for frame in kept]
        kept[:] = [b""] * 50  # from now on at once
        return found if len(found) == 50 else found[-1:]

    monkeypatch.setattr(ByteActivity, "receive_audio", receive_audio)

    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(60, 30)
        await call.until(lambda: call.told.turns)
        assert call.ears.heard[-1] >= 60
        call.socket.stop()
        await call.running
        assert call.activity.is_closed  # its model is for the next call

    hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))


def test_a_turn_is_heard_understood_and_answered() -> None:
    async def test(call: Call) -> None:
        await call.until(lambda: call.heard == "Hi.")
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Hi.At three."
        [turn] = call.told.turns
        assert (turn.number, turn.caller, turn.agent) == (1, "When?", "At three.")
        assert not turn.was_interrupted
        assert list(turn.ms) == ["pause", "transcript", "reply", "first_audio"]
        assert sorted(turn.ms.values()) == list(turn.ms.values())
        assert turn.ms["pause"] >= 500
        [turns] = call.agent.seen
        assert turns == (Turn("agent", "Hi."), Turn("caller", "When?"))
        assert call.socket.events == ["media", "mark", "media", "mark"]
        call.socket.stop()

    ending = hold(test, ears=["When?"], agent=["At three."], phrases=Phrases(greeting="Hi."))
    assert ending == "stream_over"


def test_the_second_turn_goes_as_the_first() -> None:
    async def test(call: Call) -> None:
        for count in (1, 2, 3):
            call.socket.speak(20, 30)
            await call.until(lambda count=count: len(call.told.turns) == count)  # type: ignore[misc]
        assert [turn.agent for turn in call.told.turns] == ["One.", "Two.", "Three."]
        assert len(call.agent.seen[2]) == 5
        call.socket.incoming.put_nowait(None)

    assert hold(test, ears=["1", "2", "3"], agent=["One.", "Two.", "Three."]) == "stream_over"


def test_the_ears_get_what_was_said_just_before_the_first_voiced_frame() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(0, 40)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        # The first voiced frames stand in the preroll; silence ends the hearing.
        preroll = conversation.PREROLL // 160
        assert 20 + preroll - 5 <= call.ears.heard[0] <= 20 + preroll + 25
        call.socket.stop()

    hold(test, ears=["a"], agent=["b."])


def test_a_pause_is_transcribed_early_and_that_is_the_transcript() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 12)  # 240 ms of silence
        await call.until(lambda: call.ears.heard)
        assert not call.agent.seen
        call.socket.speak(0, 20)
        await call.until(lambda: call.told.turns)
        assert len(call.ears.heard) == 1
        call.socket.stop()

    hold(test, ears=["a"], agent=["b."])


def test_speech_after_a_pause_is_transcribed_again_as_a_whole() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 15)
        await call.until(lambda: call.ears.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        first, *_, last = call.ears.heard
        assert last >= first + 20
        assert call.told.turns[0].caller == "I would like an appointment"
        call.socket.stop()

    hold(test, ears=["I would like", "I would like an appointment"] * 2, agent=["b."])


def test_the_caller_interrupts_and_is_listened_to_at_once() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.heard) >= 50)  # a second is ahead
        sent = len(call.socket.sent)
        call.socket.speak(4)
        await call.until(lambda: call.told.barge_ins)
        assert "clear" in [message["event"] for message in call.socket.sent[sent:]]
        after = call.socket.sent.index(
            next(message for message in call.socket.sent if message["event"] == "clear")
        )
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        first, second = call.told.turns
        assert first.was_interrupted
        assert first.agent in ("", "x" * 300 + ".")  # one word, heard or not
        assert (second.caller, second.agent) == ("No!", "Fine.")
        of_second = [m for m in call.socket.sent[after + 1 :] if m["event"] == "media"]
        assert len(of_second) == len("Fine.")  # nothing of the first came behind the clear
        assert call.agent.seen[1][1].was_interrupted
        call.socket.stop()

    hold(test, ears=["Tell me a story", "No!"], agent=["x" * 300 + ".", "Fine."])


def test_what_was_heard_of_an_interrupted_answer_is_what_the_agent_knows() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.stream.playout.heard(time.monotonic()) >= 12 * 160)
        call.socket.speak(4)
        await call.until(lambda: call.told.barge_ins)
        [turn] = call.told.turns
        words = turn.agent.split()
        assert 1 <= len(words) < 30
        assert words == ["word"] * len(words)
        call.socket.stop()

    hold(test, ears=["Go on"], agent=["word " * 30 + "."])


def test_speaking_on_before_the_answer_is_one_utterance() -> None:
    async def test(call: Call) -> None:
        call.agent.may_answer.clear()
        call.socket.speak(20, 30)
        await call.until(lambda: call.agent.seen)
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.agent.seen) == 2)
        call.agent.may_answer.set()
        await call.until(lambda: call.told.turns)
        [turn] = call.told.turns
        assert turn.caller == "A table for two"
        assert [turn.text for turn in call.agent.seen[1]] == ["A table for two"]
        assert call.ears.heard[-1] >= 40 + 25  # both halves, and the silence between
        assert not call.told.barge_ins
        call.socket.stop()

    hold(test, ears=["A table", "A table for two"], agent=["Fine."])


def test_a_protected_greeting_is_spoken_to_its_end_and_then_answered() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.ears.heard)
        await call.until(lambda: "mark" in call.socket.events)
        assert not call.agent.seen
        call.socket.echoes_marks = True
        call.socket.echo(call.socket.sent[-1]["mark"]["name"])
        await call.until(lambda: call.told.turns)
        assert "clear" not in call.socket.events
        assert call.heard == "Welcome!Yes."
        call.socket.stop()

    hold(
        test,
        ears=["Hello"],
        agent=["Yes."],
        phrases=Phrases(greeting="Welcome!"),
        manners=Manners(barge_in_greeting=False),
    )


def test_without_barge_in_nothing_is_cleared() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        assert "clear" not in call.socket.events
        assert call.heard == "First." + "Second."
        call.socket.stop()

    hold(test, ears=["a", "b"], agent=["First.", "Second."], manners=Manners(barge_in=False))
