"""Calls: who may call, whose a stream is, and what an outbound call is for."""

import pytest

from gateway.calls import (
    CALLERS_LIMIT,
    DIALLING_S,
    PLAN_S,
    TOKEN_S,
    Call,
    CallRefusal,
    Calls,
    Policy,
    StreamRefusal,
    is_e164,
)
from made_calls import (
    ALICE,
    BOB,
    CONVERSE,
    NOTIFY,
    admit,
    make_calls,
    phase_of,
    planned,
    refusal,
    stream_refusal,
    streaming,
)

# Who may call


def test_an_open_gateway_admits_everyone() -> None:
    calls = make_calls()
    call = admit(calls, caller="anonymous")
    assert (call.direction, call.other, call.plan) == ("inbound", "anonymous", CONVERSE)
    assert calls.get("CA1") is call


def test_a_closed_gateway_admits_nobody() -> None:
    assert refusal(make_calls("off"), "CA1") == "inbound_off"


@pytest.mark.parametrize("caller", [BOB, "15550100001", f"{ALICE}0", ALICE[:-1], "anonymous", ""])
def test_an_allow_list_admits_exactly_its_numbers(caller: str) -> None:
    calls = make_calls("allow_list", (ALICE,))
    assert refusal(calls, "CA1", caller=caller) == "not_allowed"
    assert admit(calls, "CA2", caller=ALICE).other == ALICE


@pytest.mark.parametrize("policy", ["off", "allow_list"])
def test_the_policy_for_inbound_calls_is_not_asked_about_outbound_ones(policy: Policy) -> None:
    calls = make_calls(policy)
    assert isinstance(calls.admit("CA1", "outbound", BOB, CONVERSE, 0), Call)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ALICE, True),
        ("+4930123456", True),
        ("+123456789012345", True),
        ("+1234567890123456", False),
        ("+05550100001", False),
        ("15550100001", False),
        ("+1 555 010 0001", False),
        ("+1", False),
        ("+12\n", False),
        ("+1\u09e8345678", False),
        ("client:alice", False),
    ],
)
def test_numbers_are_recognised_as_e164(text: str, expected: bool) -> None:
    assert is_e164(text) is expected


# Limits


def test_the_line_is_busy_when_all_places_are_taken_and_free_when_one_is_given_back() -> None:
    calls = make_calls(calls=2)
    admit(calls, "CA1")
    admit(calls, "CA2")
    assert refusal(calls, "CA3") == "all_lines_busy"
    calls.end("CA1", "done", 1)
    admit(calls, "CA3", 1)


def test_outbound_calls_take_places_from_the_moment_they_are_planned() -> None:
    calls = make_calls(calls=1)
    plan_id = calls.plan(NOTIFY, BOB, 0)
    assert calls.places_taken == 1
    assert refusal(calls, "CA1") == "all_lines_busy"
    assert calls.plan(NOTIFY, BOB, 0) == CallRefusal("all_lines_busy")
    assert isinstance(plan_id, str)
    calls.forget_plan(plan_id)
    assert calls.places_taken == 0


def test_a_place_is_taken_once_though_the_call_is_planned_and_dialled_and_fetched() -> None:
    calls = make_calls(calls=1)
    plan_id = planned(calls)
    calls.dialled(plan_id, "CA1", 1)
    calls.admit_planned(plan_id, "CA1", 2)
    assert calls.places_taken == 1


def test_a_text_that_twilio_says_takes_no_place() -> None:
    calls = make_calls(calls=1)
    calls.say(admit(calls), 0)
    assert calls.places_taken == 0


def test_one_caller_cannot_call_again_and_again() -> None:
    calls = make_calls(calls_per_caller_per_minute=2)
    admit(calls, "CA1", 0)
    admit(calls, "CA2", 30)
    assert refusal(calls, "CA3", 59.9) == "caller_too_often"
    admit(calls, "CA4", 59.9, caller=BOB)
    admit(calls, "CA5", 60)
    assert refusal(calls, "CA6", 89) == "caller_too_often"


def test_a_plan_that_came_to_nothing_gives_its_place_back_by_itself() -> None:
    calls = make_calls(calls=1)
    planned(calls, now=10)
    assert refusal(calls, "CA1", 10 + DIALLING_S - 1) == "all_lines_busy"
    admit(calls, "CA1", 10 + DIALLING_S)
    calls.end("CA1", "done", 10 + DIALLING_S)
    planned(calls, now=10 + DIALLING_S)
    planned(calls, now=10 + 2 * DIALLING_S)


def test_a_refused_attempt_does_not_prolong_the_wait() -> None:
    calls = make_calls(calls_per_caller_per_minute=1)
    admit(calls, "CA1", 0)
    assert refusal(calls, "CA2", 50) == "caller_too_often"
    admit(calls, "CA3", 60)


def test_callers_are_remembered_in_a_bounded_number() -> None:
    calls = make_calls(calls_per_caller_per_minute=1)
    for number in range(CALLERS_LIMIT + 1):
        admit(calls, f"CA{number}", caller=str(number))
        calls.end(f"CA{number}", "done", 0)
    assert refusal(calls, "CA", caller=str(CALLERS_LIMIT)) == "caller_too_often"
    assert refusal(calls, "CA", caller="1") == "caller_too_often"
    admit(calls, "CAX", caller="0")  # the one that was forgotten
    assert refusal(calls, "CA", caller="1") == "caller_too_often"
    admit(calls, "CAY", caller="2")  # and now the one that was not heard of for longest


def test_a_webhook_that_comes_twice_is_one_call() -> None:
    calls = make_calls(calls=1, calls_per_caller_per_minute=1)
    assert admit(calls, "CA1", 0) is admit(calls, "CA1", 1)
    assert calls.places_taken == 1


def test_sockets_that_do_not_say_whose_they_are_are_limited() -> None:
    calls = make_calls(pending_streams=1)
    for _ in range(2):
        assert calls.take_pending() is None
        assert calls.take_pending() == StreamRefusal("too_many_pending")
        calls.release_pending()


# Tokens of streams


def test_a_stream_opens_with_the_token_of_its_call() -> None:
    calls = make_calls()
    call = admit(calls)
    token = calls.advertise(call, 0)
    assert phase_of(call) == "waiting"
    assert calls.open_stream("CA1", token, TOKEN_S - 0.1) is call
    assert phase_of(call) == "streaming"


def test_each_wrong_stream_is_told_from_the_others() -> None:
    calls = make_calls()
    token = calls.advertise(admit(calls), 0)
    others = calls.advertise(admit(calls, "CA2"), 0)
    assert stream_refusal(calls, "CA3", token) == "unknown_call"
    assert stream_refusal(calls, "CA1", "") == "no_token"
    assert stream_refusal(calls, "CA1", "guess") == "wrong_token"
    assert stream_refusal(calls, "CA1", "tökén\udcff") == "wrong_token"
    assert stream_refusal(calls, "CA1", others) == "wrong_token"
    assert stream_refusal(calls, "CA1", token, TOKEN_S) == "expired_token"
    calls.open_stream("CA1", token, 1)
    assert stream_refusal(calls, "CA1", token, 2) == "used_token"


def test_wrong_guesses_do_not_cost_the_call_its_token() -> None:
    calls = make_calls()
    token = calls.advertise(admit(calls), 0)
    for guess in ("a", "b", "c"):
        stream_refusal(calls, "CA1", guess)
    assert isinstance(calls.open_stream("CA1", token, 0), Call)


def test_a_call_without_a_stream_has_no_token_that_fits() -> None:
    calls = make_calls()
    admit(calls)
    assert stream_refusal(calls, "CA1", "") == "no_token"
    assert stream_refusal(calls, "CA1", "x") == "wrong_token"


def test_a_stream_that_comes_after_its_call_ended_is_refused() -> None:
    calls = make_calls()
    token = calls.advertise(admit(calls), 0)
    calls.status_changed("CA1", "completed", 1)
    assert stream_refusal(calls, "CA1", token, 2) == "call_ended"


def test_twiml_fetched_twice_promises_the_same_unused_token_for_longer() -> None:
    calls = make_calls()
    call = admit(calls)
    token = calls.advertise(call, 0)
    assert calls.advertise(call, 50) == token
    assert isinstance(calls.open_stream("CA1", token, 100), Call)
    assert calls.advertise(call, 101) != token


def test_an_expired_token_is_not_given_again() -> None:
    calls = make_calls()
    call = admit(calls, now=10)
    token = calls.advertise(call, 10)
    assert calls.advertise(call, 9 + TOKEN_S) == token
    assert calls.advertise(call, 9 + 2 * TOKEN_S) != token
    assert stream_refusal(calls, "CA1", token, 9 + 2 * TOKEN_S) == "wrong_token"


def test_twiml_fetched_during_a_stream_leaves_the_stream_running() -> None:
    """A call may be redirected to us by REST while it talks to us."""
    calls = make_calls(call_seconds=300)
    call = streaming(calls)
    calls.advertise(call, 10)
    assert calls.sweep(10 + TOKEN_S) == []
    assert call.phase == "streaming"


def test_tokens_are_random_and_never_shown() -> None:
    calls = Calls()
    tokens = {
        calls.advertise(call, 0)
        for number in range(20)
        if isinstance(call := calls.admit(f"CA{number}", "inbound", str(number), CONVERSE, 0), Call)
    }
    assert len(tokens) == 20
    assert all(len(token) >= 22 for token in tokens)  # 128 bits in base64
    assert not any(token in repr(calls.get(f"CA{n}")) for token in tokens for n in range(20))


# Outbound


def test_an_outbound_call_is_told_what_it_is_for() -> None:
    calls = make_calls()
    plan_id = planned(calls)
    dialled = calls.dialled(plan_id, "CA1", 1)
    assert dialled is not None
    assert (dialled.phase, dialled.direction, dialled.other) == ("dialling", "outbound", BOB)
    assert calls.admit_planned(plan_id, "CA1", 2) is dialled
    assert dialled.plan == NOTIFY


def test_the_webhook_may_come_before_twilio_has_answered_the_create() -> None:
    calls = make_calls()
    plan_id = planned(calls)
    call = calls.admit_planned(plan_id, "CA1", 1)
    assert call is calls.dialled(plan_id, "CA1", 2)


def test_so_may_the_first_status() -> None:
    calls = make_calls()
    plan_id = planned(calls)
    calls.status_changed("CA1", "ringing", 1, plan_id)
    call = calls.dialled(plan_id, "CA1", 2)
    assert call is not None
    assert call.status == "ringing"


def test_a_plan_is_good_for_one_call_only() -> None:
    calls = make_calls()
    plan_id = planned(calls)
    calls.dialled(plan_id, "CA1", 0)
    assert calls.admit_planned(plan_id, "CA2", 1) == CallRefusal("plan_of_another_call")
    assert calls.dialled(plan_id, "CA2", 1) is None
    assert calls.status_changed("CA2", "completed", 1, plan_id) is None
    assert calls.admit_planned("guess", "CA3", 1) == CallRefusal("unknown_plan")


def test_a_plan_outlives_its_place_and_is_forgotten_in_the_end() -> None:
    calls = make_calls(calls=1)
    plan_id = planned(calls, now=10)
    calls.sweep(10 + DIALLING_S)
    assert calls.places_taken == 0
    calls.sweep(9 + PLAN_S)
    assert isinstance(calls.admit_planned(plan_id, "CA1", 9 + PLAN_S), Call)
    calls.sweep(10 + PLAN_S)
    assert calls.admit_planned(plan_id, "CA1", 10 + PLAN_S) == CallRefusal("unknown_plan")


def test_a_call_that_was_given_up_is_taken_up_again_if_there_is_room() -> None:
    calls = make_calls(calls=1)
    plan_id = planned(calls)
    calls.dialled(plan_id, "CA1", 0)
    assert [call.ending for call in calls.sweep(DIALLING_S)] == ["stale"]
    admit(calls, "CA2", DIALLING_S)
    assert calls.admit_planned(plan_id, "CA1", DIALLING_S) == CallRefusal("all_lines_busy")
    calls.end("CA2", "done", DIALLING_S)
    call = calls.admit_planned(plan_id, "CA1", DIALLING_S + 1)
    assert isinstance(call, Call)
    assert (call.ending, call.plan) == (None, NOTIFY)
