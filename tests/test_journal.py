"""One row a call, out of the gateway's events."""

from typing import Any

from gateway.journal import Journal

ENDED = {"direction": "inbound", "mode": "conversation", "ending": "done", "duration_s": 4.2}


def _kept(*events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    journal = Journal(kept.append)
    for event, fields in events:
        journal(event, fields)
    return kept


def test_a_call_is_kept_with_its_turns_when_it_ends() -> None:
    turn = {"number": 1, "caller": "When?", "agent": "At three.", "ms": {"first_audio": 700}}
    [row] = _kept(
        ("gateway", {"listen": "127.0.0.1:8081"}),
        ("call_started", {"call_sid": "CA1", "direction": "inbound"}),
        ("turn", {"call_sid": "CA1", **turn}),
        ("barge_in", {"call_sid": "CA1", "clear_ms": 0.2}),
        ("call_ended", {"call_sid": "CA1", **ENDED, "turns": 1}),
    )
    assert row == {"call_sid": "CA1", **ENDED, "turns": [turn]}


def test_calls_at_the_same_time_are_kept_apart() -> None:
    rows = _kept(
        ("call_started", {"call_sid": "CA1"}),
        ("call_started", {"call_sid": "CA2"}),
        ("turn", {"call_sid": "CA2", "number": 1}),
        ("call_ended", {"call_sid": "CA1"}),
        ("turn", {"call_sid": "CA2", "number": 2}),
        ("call_ended", {"call_sid": "CA2"}),
    )
    assert [(row["call_sid"], len(row["turns"])) for row in rows] == [("CA1", 0), ("CA2", 2)]


def test_a_call_that_was_never_started_is_kept_all_the_same() -> None:
    [row] = _kept(("call_ended", {"call_sid": "CA1", **ENDED}))
    assert row["turns"] == []
    assert _kept(("turn", {"call_sid": "CA1"}), ("speech_failed", {"call_sid": None})) == []


def test_what_the_debugger_told_is_kept_apart_from_calls() -> None:
    calls: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    journal = Journal(calls.append, errors.append)
    journal("twilio_error", {"call_sid": "CA1", "code": 31920})
    journal("twilio_error", {"call_sid": None, "code": 11200})
    assert [row["code"] for row in errors] == [31920, 11200]
    assert calls == []
