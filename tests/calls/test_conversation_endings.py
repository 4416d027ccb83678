"""How a conversation ends, what fails in it, and what else than speech is answered."""

import asyncio

import pytest

from calls.played_socket import Call, hold
from gateway import conversation
from gateway.conversation import Manners, Phrases
from gateway.speech import ProviderError


def test_digits_are_one_entry_until_the_hash() -> None:
    async def test(call: Call) -> None:
        call.socket.press("1", "2", "*", "#")
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "[pressed 1 2 *]"
        call.socket.stop()

    hold(test, agent=["Thanks."])


def test_digits_without_a_hash_are_entered_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "DIGITS_S", 0.05)

    async def test(call: Call) -> None:
        call.socket.press("7")
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "[pressed 7]"
        call.socket.stop()

    hold(test, agent=["Thanks."])


def test_an_agent_that_fails_is_heard_to_fail_and_the_next_turn_works() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].agent == Phrases().no_answer
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.told.turns) == 2)
        assert call.told.turns[1].agent == "Yes."
        assert [failure.reason for failure in call.told.failures] == ["rate_limited"]
        call.socket.stop()

    failed = ProviderError("chat", "rate_limited", status=429)
    assert hold(test, ears=["a", "b"], agent=[failed, "Yes."]) == "stream_over"


def test_an_agent_that_fails_twice_ends_the_call_after_saying_so() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        call.socket.speak(20, 30)
        await call.running
        assert call.heard.endswith(Phrases().giving_up.replace(". ", "."))

    failed = ProviderError("chat", "unauthorized", status=401)
    assert hold(test, ears=["a", "b"], agent=[failed, failed]) == "provider_failed"


def test_ears_that_fail_are_heard_to_fail() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20, 30)
        await call.until(lambda: call.heard.endswith("again?"))
        assert [error.reason for error, _ in call.lost] == ["closed"]
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "hello"
        call.socket.stop()

    closed = ProviderError("deepgram", "closed")
    assert hold(test, ears=[closed, "hello"], agent=["Hello."]) == "stream_over"


def test_a_voice_that_fails_ends_the_call_with_the_recorded_apology() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert len(call.socket.audio) > 8000  # the clip
        assert call.lost[0][0].reason == "no_credit"

    broke = ProviderError("elevenlabs", "no_credit", status=402)
    ending = hold(test, voice_fails=broke, phrases=Phrases(greeting="Hi."))
    assert ending == "provider_failed"


def test_noise_that_is_no_word_is_not_answered() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(5, 30)
        await call.until(lambda: call.ears.heard)
        call.socket.speak(20, 30)
        await call.until(lambda: call.told.turns)
        assert call.heard == "Yes."
        call.socket.stop()

    hold(test, ears=["", "hello"], agent=["Yes."])


def test_speech_that_was_not_understood_is_asked_for_again() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(50, 30)
        await call.until(lambda: call.heard.endswith("again?"))
        assert not call.agent.seen
        call.socket.stop()

    hold(test, ears=[""])


def test_a_stream_that_stops_in_mid_sentence_is_silence_all_the_same() -> None:
    async def test(call: Call) -> None:
        call.socket.speak(20)
        await call.until(lambda: call.told.turns)
        assert call.told.turns[0].caller == "hello"
        call.socket.stop()

    hold(test, ears=["hello"], agent=["Yes."], manners=Manners(silence_s=0.3))


def test_a_silent_caller_is_asked_once_and_then_told_goodbye() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert call.heard == "Hi.Are you still there?Goodbye."

    manners, phrases = Manners(no_input_s=0.05), Phrases(greeting="Hi.")
    assert hold(test, manners=manners, phrases=phrases) == "no_input"


def test_a_call_ends_at_its_time_limit_with_a_word() -> None:
    async def test(call: Call) -> None:
        await call.running
        assert call.heard.endswith("Goodbye.")

    assert hold(test, manners=Manners(call_s=0.05), phrases=Phrases(greeting="Hi.")) == "time_limit"


def test_a_hang_up_during_playback_ends_everything() -> None:
    async def test(call: Call) -> None:
        call.socket.echoes_marks = False
        call.socket.speak(20, 30)
        await call.until(lambda: len(call.heard) >= 50)
        call.socket.stop()
        await call.running
        assert call.ears.is_closed
        [turn] = call.told.turns
        assert turn.was_interrupted
        assert len(call.heard) < 100  # of 3000
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    assert hold(test, ears=["a"], agent=["y" * 3000]) == "stream_over"


def test_a_socket_that_is_gone_ends_the_speaking_quietly() -> None:
    async def test(call: Call) -> None:
        call.socket.is_open = False
        call.socket.speak(20, 30)
        await call.until(lambda: call.agent.seen)
        call.socket.incoming.put_nowait(None)

    assert hold(test, ears=["a"], agent=["b."]) == "stream_over"


def test_the_gateway_can_end_it() -> None:
    async def test(call: Call) -> None:
        call.conversation.end("drained")
        call.conversation.end("done")

    assert hold(test) == "drained"
