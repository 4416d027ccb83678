"""How calls end, and that no call ever blocks the next one."""

from typing import Any

import pytest

from gateway.calls import (
    DIALLING_S,
    ENDED_LIMIT,
    ENDED_S,
    FINAL_STATUSES,
    OVERTIME_S,
    SAYING_S,
    TOKEN_S,
    WELL_ENDED,
    DialError,
)
from made_calls import admit, make_calls, planned, streaming


@pytest.mark.parametrize(("status", "ending"), FINAL_STATUSES.items())
def test_a_final_status_ends_the_call_and_frees_its_place(status: str, ending: str) -> None:
    calls = make_calls()
    admit(calls)
    ended = calls.status_changed("CA1", status, 7)
    assert ended is not None
    assert (ended.ending, ended.phase, ended.duration_s(99)) == (ending, "ended", 7)
    assert calls.places_taken == 0


@pytest.mark.parametrize("status", ["queued", "initiated", "ringing", "in-progress"])
def test_another_status_is_news_and_no_end(status: str) -> None:
    calls = make_calls()
    call = admit(calls, now=2)
    assert calls.status_changed("CA1", status, 7) is None
    assert (call.status, call.ending, call.duration_s(9)) == (status, None, 7)


def test_a_status_that_was_overtaken_by_the_last_one_is_no_news() -> None:
    calls = make_calls()
    call = admit(calls)
    calls.status_changed("CA1", "completed", 1)
    assert calls.status_changed("CA1", "ringing", 2) is None
    assert calls.status_changed("CA1", "completed", 2) is None
    assert call.status == "completed"


def test_a_status_that_twilio_does_not_have_is_no_news() -> None:
    calls = make_calls()
    call = admit(calls)
    assert calls.status_changed("CA1", "exploded", 1) is None
    assert call.status == ""
    assert calls.status_changed("CA9", "completed", 1) is None


def test_a_running_stream_tells_its_own_ending_though_twilio_was_faster() -> None:
    calls = make_calls(calls=1)
    call = streaming(calls)
    assert calls.status_changed("CA1", "completed", 5) is None
    assert (call.phase, call.is_over) == ("streaming", True)
    assert calls.places_taken == 0
    assert calls.end("CA1", "caller_hung_up", 5.1) is call


def test_an_ending_is_told_once() -> None:
    calls = make_calls()
    call = admit(calls)
    assert calls.end("CA1", "done", 1) is call
    assert calls.end("CA1", "stale", 2) is None
    assert calls.end("CA2", "done", 2) is None
    assert call.ending == "done"


def test_the_status_of_a_call_that_ended_for_us_is_followed_to_the_end() -> None:
    calls = make_calls()
    call = admit(calls)
    calls.end("CA1", "said", 1)
    assert calls.status_changed("CA1", "completed", 9) is None
    assert (call.status, call.ending) == ("completed", "said")


@pytest.mark.parametrize("ending", sorted(WELL_ENDED))
def test_some_endings_need_no_apology(ending: Any) -> None:
    calls = make_calls()
    admit(calls)
    ended = calls.end("CA1", ending, 1)
    assert ended is not None
    assert ended.went_well


def test_a_stream_that_failed_needs_one_whatever_else_is_known() -> None:
    calls = make_calls()
    call = streaming(calls)
    calls.stream_failed("CA1", "31903")
    calls.end("CA1", "caller_hung_up", 1)
    assert not call.went_well


def test_an_error_reported_after_a_good_ending_changes_nothing() -> None:
    """Twilio reports 31921 when a server closes its stream, which is how a call ends here."""
    calls = make_calls()
    call = streaming(calls)
    calls.end("CA1", "done", 1)
    calls.stream_failed("CA1", "31921")
    calls.stream_failed("CA2", "31921")
    assert call.went_well


def test_a_running_call_did_not_go_well_yet() -> None:
    assert not admit(make_calls()).went_well


def test_a_second_stream_of_a_call_begins_without_the_error_of_the_first() -> None:
    calls = make_calls()
    call = admit(calls)
    calls.advertise(call, 0)
    calls.stream_failed("CA1", "31920")
    calls.open_stream("CA1", calls.advertise(call, 1), 1)
    calls.end("CA1", "done", 2)
    assert call.went_well


# Nothing lasts for ever


def test_a_second_call_works_as_the_first_did() -> None:
    calls = make_calls(calls=1)
    for number, ending in enumerate(("done", "stream_failed", "caller_hung_up", "drained")):
        call = streaming(calls, f"CA{number}", number)
        assert calls.end(call.call_sid, ending, number + 0.5) is call  # type: ignore[arg-type]
    streaming(calls, "CA9", 9)


def test_the_same_call_may_come_back_after_its_end() -> None:
    """A TwiML elsewhere may redirect a call here twice; it is a new conversation each time."""
    calls = make_calls()
    first = streaming(calls)
    calls.end("CA1", "done", 1)
    second = streaming(calls, now=2)
    assert second is not first
    assert calls.get("CA1") is second


def test_a_stream_that_never_came_frees_its_place() -> None:
    calls = make_calls(calls=1)
    calls.advertise(admit(calls), 0)
    assert calls.sweep(TOKEN_S - 0.1) == []
    assert [call.ending for call in calls.sweep(TOKEN_S)] == ["stream_never_came"]
    admit(calls, "CA2", TOKEN_S)


def test_a_call_that_nobody_answers_frees_its_place_unless_it_is_heard_of() -> None:
    calls = make_calls(calls=1)
    calls.dialled(planned(calls), "CA1", 0)
    calls.status_changed("CA1", "ringing", 100)
    assert calls.sweep(DIALLING_S) == []
    assert [call.ending for call in calls.sweep(100 + DIALLING_S)] == ["stale"]


def test_a_stream_may_last_as_long_as_the_limit_allows_and_a_little_longer() -> None:
    calls = make_calls(call_seconds=300)
    streaming(calls)
    assert calls.sweep(300 + OVERTIME_S - 1) == []
    assert [call.ending for call in calls.sweep(300 + OVERTIME_S)] == ["stale"]


def test_a_stream_whose_call_ended_is_not_waited_for() -> None:
    calls = make_calls(call_seconds=3600)
    streaming(calls)
    calls.status_changed("CA1", "completed", 10)
    assert calls.sweep(10 + OVERTIME_S - 1) == []
    assert [call.ending for call in calls.sweep(10 + OVERTIME_S)] == ["stale"]


def test_a_text_that_was_said_without_a_word_from_twilio_counts_as_said() -> None:
    calls = make_calls()
    calls.say(admit(calls), 0)
    assert calls.sweep(SAYING_S - 1) == []
    assert [call.ending for call in calls.sweep(SAYING_S)] == ["said"]


def test_ended_calls_are_remembered_for_a_while_and_then_forgotten() -> None:
    calls = make_calls()
    call = admit(calls)
    calls.end("CA1", "done", 10)
    calls.sweep(10 + ENDED_S - 1)
    assert calls.get("CA1") is call
    calls.sweep(10 + ENDED_S)
    assert calls.get("CA1") is None


def test_a_call_that_came_back_does_not_keep_others_from_being_forgotten() -> None:
    calls = make_calls()
    for call_sid, now in (("CA1", 0), ("CA2", 1), ("CA1", 500)):
        admit(calls, call_sid, now)
        calls.end(call_sid, "done", now)
    calls.sweep(1 + ENDED_S)
    assert calls.get("CA2") is None
    assert calls.get("CA1") is not None


def test_ended_calls_are_remembered_in_a_bounded_number() -> None:
    calls = make_calls()
    for number in range(ENDED_LIMIT + 1):
        admit(calls, f"CA{number}", number, caller=str(number))
        calls.end(f"CA{number}", "done", 0)
    assert calls.get("CA0") is None
    assert calls.get("CA1") is not None


def test_a_failure_to_dial_says_what_and_what_to_do() -> None:
    error = DialError("Twilio refused: 21219", "verify the number", status=400)
    assert (str(error), error.status) == ("Twilio refused: 21219 (verify the number)", 400)
    assert str(DialError("no")) == "no"
