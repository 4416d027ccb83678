"""Phone calls as people read them: a line in the list, and turn by turn."""

import asyncio
import io
import json
import time
from typing import Any

import pytest
from rich.console import Console

from gateway.calls import WELL_ENDED
from proxy.history import TWILIO_ERROR, Book, History, Query
from proxy.report import print_row, print_rows
from proxy.transcript import GOOD_ENDINGS

TURNS = [
    {
        "number": 1,
        "caller": "What are your opening hours?",
        "agent": "We open at nine.",
        "was_interrupted": False,
        "ms": {"pause": 300, "transcript": 167.4, "reply": 90, "voice": None, "first_audio": 620},
    },
    {
        "number": 2,
        "caller": "Thank you.",
        "agent": "Would you like to",
        "was_interrupted": True,
        "ms": {},
    },
]
CALL = {
    "kind": "call",
    "id": "01m83jyaf0ew4yqxhm",
    "at": "2026-09-09T01:46:40.000Z",
    "call_sid": "CA1",
    "direction": "inbound",
    "mode": "converse",
    "ending": "caller_hung_up",
    "duration_s": 12.34,
    "turns": TURNS,
}
HANDSHAKE = {
    "kind": "handshake",
    "id": "01m83jyaf0ew4yqxhn",
    "at": "2026-09-09T01:46:41.000Z",
    "outcome": "upgraded",
    "status": 101,
    "ingress": "nginx",
    "client": "192.0.2.1",
    "method": "GET",
    "target": "/voice/stream",
    "session": None,
}


def printed(call: dict[str, Any], *, in_full: bool = True, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    if in_full:
        print_row(console, call)
    else:
        print_rows(console, [call])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lines(call: dict[str, Any]) -> list[str]:
    return [" ".join(line.split()) for line in printed(call).splitlines()]


def test_a_call_is_one_line_of_the_list() -> None:
    assert printed(CALL, in_full=False, width=40) == (
        "2026-09-09T01:46:40.000Z  01m83jyaf0ew4yqxhm  call inbound          converse          "
        "2 turns, 12.3 s, caller_hung_up  CA1\n"
    )


def test_a_call_in_full_is_its_transcript_with_the_times_of_each_turn() -> None:
    assert lines(CALL | {"handshakes": [HANDSHAKE]}) == [
        "call CA1 inbound converse: 12.3 s, 2 turns, caller_hung_up",
        "2026-09-09T01:46:40.000Z 01m83jyaf0ew4yqxhm",
        "1 caller What are your opening hours?",
        "agent We open at nine.",
        "first_audio 620 ms, pause 300 ms, transcript 167 ms, reply 90 ms",
        "2 caller Thank you.",
        "agent Would you like to",
        "the caller interrupted",
        "handshakes:",
        (
            "2026-09-09T01:46:41.000Z 01m83jyaf0ew4yqxhn upgraded 101 nginx 192.0.2.1 "
            "GET /voice/stream"
        ),
    ]


def test_a_call_whose_stream_never_came_has_no_handshake() -> None:
    call = CALL | {"turns": [], "ending": "stream_never_came", "handshakes": []}
    assert lines(call)[0].endswith("0 turns, stream_never_came")
    assert lines(call)[-1] == "no handshake of it was seen"


def test_a_gateway_that_keeps_no_words_tells_how_many_there_were() -> None:
    turn = {"number": 1, "caller_chars": 28, "agent_chars": 16, "ms": {"first_audio": 620}}
    assert lines(CALL | {"turns": [turn]})[2:5] == [
        "1 caller 28 characters",
        "agent 16 characters",
        "first_audio 620 ms",
    ]


def test_a_greeting_has_no_words_of_the_caller_and_silence_none_at_all() -> None:
    turns = [{"number": 1, "caller": "", "agent": "Hello!"}, {"number": 2, "ms": None}]
    assert lines(CALL | {"turns": turns})[2:4] == ["1 agent Hello!", "2 nothing was said"]


@pytest.mark.parametrize("in_full", [False, True])
def test_a_row_that_knows_little_is_printed_all_the_same(in_full: bool) -> None:
    text = printed({"kind": "call", "id": "a", "at": "then"}, in_full=in_full)
    assert "running" in text
    assert "0 turns, " in text
    assert "no ending" in text
    one = printed(CALL | {"turns": TURNS[:1], "duration_s": None}, in_full=in_full)
    assert "1 turn, " in one
    assert "running" in one


@pytest.mark.parametrize("in_full", [False, True])
def test_what_a_caller_says_cannot_steer_the_terminal(in_full: bool) -> None:
    call = CALL | {
        "call_sid": "[red]\x1b[2J",
        "turns": [{"caller": "[/]\x9b2J", "agent": ":wave:"}],
    }
    text = printed(call, in_full=in_full)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert r"[red]\x1b[2J" in text
    if in_full:
        assert r"[/]\x9b2J" in text
        assert ":wave:" in text


def test_long_sentences_are_folded_and_not_cut() -> None:
    said = "word " * 60
    text = printed(CALL | {"turns": [{"number": 1, "caller": said}]}, width=60)
    assert text.count("word") == 60


def test_what_the_history_gives_back_can_be_printed() -> None:
    book = Book(None, rows=100, days=1)
    told = {name: value for name, value in CALL.items() if name != "kind"}
    insert = (
        "INSERT INTO events (id, kind, at, call_sid, line, detail) VALUES (?, ?, 0, ?, ?, '{}')"
    )
    book.write([(insert, (CALL["id"], "call", "CA1", json.dumps(told)))])
    [row] = book.find(Query(kind="call"))
    assert printed(row, in_full=False) == printed(CALL, in_full=False)
    shown = book.get("CA1")
    assert shown is not None
    assert printed(shown) == printed(CALL)
    book.close()


def test_good_endings_are_those_of_the_gateway() -> None:
    assert GOOD_ENDINGS == WELL_ENDED


@pytest.mark.parametrize("in_full", [False, True])
def test_an_error_that_twilio_told_of_is_a_line_with_the_hop_that_answered(in_full: bool) -> None:
    history = History(Book(None, rows=10, days=1))
    row = {"id": "9", "at": "2026-01-02T03:04:05.678Z", "call_sid": "CA9", "code": 31920}
    row |= {"name": "Handshake Error", "severity": "error", "status": 404, "hop": "in_front"}
    history.add_event(TWILIO_ERROR, time.time(), row, {})
    kept = asyncio.run(history.get("CA9"))
    history.close()
    assert kept == row | {"kind": TWILIO_ERROR}
    wanted = "Twilio 31920          Handshake Error; answered 404 by: in front  CA9\n"
    assert printed(kept, in_full=in_full).endswith(wanted)
