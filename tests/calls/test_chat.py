"""The chat agent against a strict stand-in, and against the habits of other servers."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from feeds import every_split
from gateway.providers import chat
from gateway.providers.chat import CUT_SHORT, Thought, messages
from gateway.speech import ProviderError, Reason, Turn
from stand_ins import OpenAIStandIn
from stand_ins.openai import chunk
from stand_ins.outcomes import failure, until_failure, with_locals
from stand_ins.server import Fault

TURNS = [Turn("caller", "What time is the meeting?")]


@contextlib.asynccontextmanager
async def _agent(vendor: OpenAIStandIn, **settings: object) -> AsyncGenerator[chat.Chat, None]:
    given = {"api_key": vendor.api_key, "base_url": f"{vendor.url}/v1"} | settings
    agent = chat.Chat(**given)  # type: ignore[arg-type]
    try:
        yield agent
    finally:
        await agent.close()


async def _all(agent: chat.Chat) -> str:
    return "".join([piece async for piece in agent.reply(TURNS)])


async def _answer(body: bytes, media: str = "text/event-stream", **settings: object) -> str:
    """What is said of a stream that a server answers with."""
    async with OpenAIStandIn() as vendor, _agent(vendor, **settings) as agent:
        vendor.chat_stream, vendor.chat_media = body, media
        return await _all(agent)


def test_an_answer_is_given_on_token_by_token() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _agent(vendor, model="some-model") as agent:
            await agent.warm()
            assert [piece async for piece in agent.reply(TURNS)] == vendor.reply
            assert vendor.chats == [
                {
                    "model": "some-model",
                    "stream": True,
                    "messages": [
                        {"role": "system", "content": chat.SYSTEM},
                        {"role": "user", "content": "What time is the meeting?"},
                    ],
                }
            ]

    asyncio.run(call())


def test_options_are_fields_of_the_request() -> None:
    async def call() -> None:
        options = {"max_tokens": 200, "temperature": 0.2}
        async with OpenAIStandIn() as vendor, _agent(vendor, options=options) as agent:
            await _all(agent)
            assert vendor.chats[0].items() >= options.items()

    asyncio.run(call())


def test_the_first_token_is_there_while_the_rest_is_still_being_made() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _agent(vendor) as agent:
            vendor.hold(after=2)  # the first has the role alone
            pieces = agent.reply(TURNS)
            assert await anext(pieces) == "It "
            assert "answered" not in vendor.events
            vendor.let_go()
            assert [piece async for piece in pieces] == vendor.reply[1:]

    asyncio.run(call())


def test_a_caller_who_interrupts_aborts_the_request() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _agent(vendor) as agent:
            vendor.hold(after=2)
            pieces = agent.reply(TURNS)
            await anext(pieces)
            await pieces.aclose()
            await vendor.seen("client left")

    asyncio.run(call())


def test_an_answer_without_end_is_cut_and_its_request_aborted() -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _agent(vendor, characters_limit=5) as agent:
            vendor.hold(after=3)  # it would go on
            assert await _all(agent) == "It is"
            await vendor.seen("client left")

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        ("unauthorized", "unauthorized", 401),
        ("no_credit", "no_credit", 402),
        ("out_of_quota", "no_credit", 429),
        ("rate_limited", "rate_limited", 429),
        ("refused", "refused", 404),
        ("broken", "unavailable", 500),
        ("redirect", "bad_answer", 307),
        ("hang_up", "closed", None),
        ("silence", "timeout", None),
        ("malformed", "closed", None),  # a stream of events without one
        ("empty", "bad_answer", None),
    ],
)
def test_an_agent_that_fails_before_its_first_word_says_why(
    fault: Fault, reason: Reason, status: int | None
) -> None:
    async def call() -> None:
        async with (
            OpenAIStandIn() as vendor,
            _agent(vendor, connect_s=0.1, first_token_s=0.1) as agent,
        ):
            vendor.fail_with(fault)
            error = await failure(anext(agent.reply(TURNS)))
            assert (error.provider, error.reason, error.status) == ("chat", reason, status)
            assert len(vendor.requests) == 1  # an agent may act: nothing is asked twice

    asyncio.run(call())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param("cut", "closed"),
        pytest.param("stall", "timeout"),
        pytest.param("error_event", "unavailable"),
    ],
)
def test_an_agent_that_fails_in_the_middle_says_so_after_what_there_was(
    fault: Fault, reason: Reason
) -> None:
    async def call() -> None:
        async with OpenAIStandIn() as vendor, _agent(vendor, idle_s=0.1) as agent:
            vendor.fail_with(fault)
            pieces, error = await until_failure(agent.reply(TURNS))
            assert error.reason == reason
            assert pieces == ["It ", "is "]

    asyncio.run(call())


def test_a_model_that_thinks_for_too_long_is_a_timeout_though_it_is_not_silent() -> None:
    async def call() -> None:
        async with (
            OpenAIStandIn() as vendor,
            _agent(vendor, first_token_s=0.2, idle_s=60.0) as agent,
        ):
            thinking = chunk({"reasoning_content": "Hmm. "})
            vendor.chat_stream = thinking * 50
            vendor.hold(after=40)
            error = await failure(anext(agent.reply(TURNS)))
            assert error.reason == "timeout"
            await vendor.seen("client left")

    asyncio.run(call())


WHOLE = {"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}
USAGE = b'data: {"choices":[],"usage":{"total_tokens":9}}\n\n'
END = chunk({}, "stop")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chunk({"content": "Hello."}) + END, id="no DONE"),
        pytest.param(chunk({"content": "Hello."}) + b"data: [DONE]\n\n", id="no finish reason"),
        pytest.param(chunk({"content": "Hello."}, "stop"), id="the reason with the last word"),
        pytest.param(chunk({"content": "Hello."}) + END.rstrip(b"\n"), id="no empty line"),
        pytest.param(chunk({"content": None}) + chunk({"content": "Hello."}) + END, id="null"),
        pytest.param(chunk({"content": "Hello."}) + END + USAGE, id="usage"),
        pytest.param(USAGE + chunk({"content": "Hello."}) + END, id="no choices at first"),
        pytest.param(b": OPENROUTER\r\n\r\n" + chunk({"content": "Hello."}) + END, id="comment"),
        pytest.param((chunk({"content": "Hello."}) + END).replace(b"\n", b"\r\n"), id="CR and LF"),
        pytest.param(chunk({"reasoning": "x"}) + chunk({"content": "Hello."}) + END, id="thought"),
        pytest.param(
            chunk({"content": "<think>They"}) + chunk({"content": "</think>\n\nHello."}) + END,
            id="thought aloud",
        ),
        pytest.param(chunk({"content": "Hello.", "tool_calls": None}) + END, id="other fields"),
    ],
)
def test_other_servers_habits_are_tolerated(body: bytes) -> None:
    assert asyncio.run(_answer(body)) == "Hello."


def test_a_whole_answer_is_taken_where_a_stream_was_asked_for() -> None:
    assert asyncio.run(_answer(json.dumps(WHOLE).encode(), "application/json")) == "Hello."


@pytest.mark.parametrize(
    ("body", "media", "reason"),
    [
        pytest.param(b"data: {\n\n", "text/event-stream", "bad_answer", id="no JSON"),
        pytest.param(b"data: [1]\n\n", "text/event-stream", "bad_answer", id="no object"),
        pytest.param(b"<html>", "text/html", "bad_answer", id="a page"),
        pytest.param(chunk({"content": "Hello."}), "text/event-stream", "closed", id="no end"),
        pytest.param(END, "text/event-stream", "bad_answer", id="no words"),
        pytest.param(
            b'data: {"error":{"code":"insufficient_quota","message":"none left"}}\n\n',
            "text/event-stream",
            "no_credit",
            id="an error in the stream",
        ),
        pytest.param(
            b'{"error":"model not found"}', "application/json", "unavailable", id="ollama's error"
        ),
        pytest.param(b"data: " + b"x" * 2000, "text/event-stream", "bad_answer", id="too long"),
    ],
)
def test_what_is_no_answer_is_a_failure(
    body: bytes, media: str, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.providers.event_stream.EVENT_LIMIT", 1000)
    with pytest.raises(ProviderError) as caught:
        asyncio.run(_answer(body, media))
    assert caught.value.reason == reason


def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def call() -> list[str]:
        key = "sk-very-secret-0123456789abcdefghij"
        async with OpenAIStandIn() as vendor, _agent(vendor, api_key=key) as agent:
            error = await failure(anext(agent.reply(TURNS)))
            vendor.api_key = key
            vendor.chat_stream = b"data: you said Bearer " + key.encode() + b"\n\n"
            echo = await failure(anext(agent.reply(TURNS)))
            return [repr(agent), with_locals(error), str(echo), str(vars(agent))]

    with caplog.at_level(logging.DEBUG):
        shown = asyncio.run(call(), debug=True)
    assert "very-secret" not in "".join(shown) + caplog.text


# What the model is told.


def _said(turns: list[Turn], limit: int = 40) -> list[tuple[str, str]]:
    return [(said["role"], said["content"]) for said in messages("Be brief.", turns, limit)]


def test_the_model_is_told_where_the_caller_interrupted() -> None:
    turns = [
        Turn("caller", "Tell me a story."),
        Turn("agent", "Once upon a", was_interrupted=True),
        Turn("caller", "Stop."),
    ]
    assert _said(turns)[2] == ("assistant", f"Once upon a {CUT_SHORT}")
    turns[1] = Turn("agent", "", was_interrupted=True)
    assert _said(turns)[2] == ("assistant", CUT_SHORT)


def test_only_the_last_turns_are_told() -> None:
    turns = [Turn("caller" if i % 2 == 0 else "agent", f"turn {i}") for i in range(9)]
    assert _said(turns, 3) == [
        ("system", "Be brief."),
        ("user", "turn 6"),
        ("assistant", "turn 7"),
        ("user", "turn 8"),
    ]


def test_user_and_assistant_alternate_and_the_user_begins() -> None:
    turns = [
        Turn("agent", "Hello, this is Ada."),
        Turn("caller", "Hello?"),
        Turn("agent", ""),
        Turn("caller", "Are you there?"),
    ]
    assert _said(turns) == [
        ("system", "Be brief.\n\nBefore the first message you said: Hello, this is Ada."),
        ("user", "Hello? Are you there?"),
    ]


def test_without_a_system_prompt_there_is_none() -> None:
    assert messages("", TURNS, 9) == [{"role": "user", "content": TURNS[0].text}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello.", "Hello."),
        ("<think>They greet.</think>\n\nHello.", "Hello."),
        ("\n<think>\nThey\n</think>Hello </think>.", "Hello </think>."),
        ("<thing", "<thing"),
        ("<thi", "<thi"),
        ("<think>never ends", ""),
        ("Then <think>aloud</think>", "Then <think>aloud</think>"),
        ("", ""),
    ],
)
def test_a_thought_is_left_out_however_it_is_cut(text: str, said: str) -> None:
    for pieces in every_split(text.encode()):
        thought = Thought()
        heard: list[Any] = [thought.receive_text(piece.decode()) for piece in pieces]
        assert "".join([*heard, thought.flush()]) == said
