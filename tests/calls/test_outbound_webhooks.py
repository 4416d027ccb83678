"""Outbound calls as Twilio asks about them: their plans, statuses, and machines that answer."""

from collections.abc import Iterator

import pytest

from gateway.calls import Plan
from webhook_gateway import ALICE, AMD, OTHER_SID, OURS, SID, STATUS, WEBHOOK, Gateway, running


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running() as gateway:
        yield gateway


OUTBOUND = {"From": OURS, "To": ALICE, "Direction": "outbound-api", "CallStatus": "in-progress"}


def test_an_outbound_call_does_what_it_was_planned_for() -> None:
    with running(inbound={"policy": "off"}) as gateway:
        talk = gateway.plan(Plan("conversation", "Hi."))
        call = gateway.open_stream(gateway.post(f"{WEBHOOK}?plan={talk}", SID, **OUTBOUND))
        assert (call.direction, call.other, call.plan.text) == ("outbound", ALICE, "Hi.")
    with running(notify={"via": "say"}) as gateway:
        tell = gateway.plan(Plan("notify", "Ready."))
        assert gateway.post(f"{WEBHOOK}?plan={tell}", SID, **OUTBOUND).says == "Ready."
        assert len(gateway.of("call_started")) == 1
        assert gateway.of("call_ended") == []
        assert gateway.calls.places_taken == 0
        gateway.post(f"{STATUS}?plan={tell}", SID, CallStatus="completed")
        assert gateway.of("call_ended")[0]["ending"] == "completed"


def test_a_plan_that_is_not_ours_is_apologised_for(gateway: Gateway) -> None:
    assert "went wrong" in gateway.post(f"{WEBHOOK}?plan=guess", SID, **OUTBOUND).says
    assert gateway.of("call_refused")[0]["reason"] == "unknown_plan"
    assert gateway.of("call_refused")[0]["number"] == "+********001"


def test_an_outbound_call_that_somebody_else_created_converses() -> None:
    with running(inbound={"policy": "off"}) as gateway:
        call = gateway.open_stream(gateway.post(WEBHOOK, SID, **OUTBOUND))
        assert (call.direction, call.other) == ("outbound", ALICE)


def test_statuses_are_told_and_followed_to_the_end(gateway: Gateway) -> None:
    plan_id = gateway.plan(Plan("notify", "Ready."))
    for status in ("initiated", "ringing", "made-up", "no-answer"):
        assert gateway.post(f"{STATUS}?plan={plan_id}", SID, CallStatus=status).status == 204
    told = [fields["status"] for fields in gateway.of("call_status")]
    assert told == ["initiated", "ringing", "other", "no-answer"]
    ended = gateway.of("call_ended")
    assert [(fields["direction"], fields["ending"]) for fields in ended] == [
        ("outbound", "no_answer")
    ]
    assert gateway.calls.places_taken == 0


def test_the_end_of_a_call_is_told_once_and_by_its_stream(gateway: Gateway) -> None:
    gateway.open_stream(gateway.post())
    gateway.post(STATUS, SID, CallStatus="completed")
    assert gateway.of("call_ended") == []
    gateway.end("caller_hung_up")
    gateway.post(STATUS, SID, CallStatus="completed")
    assert [fields["ending"] for fields in gateway.of("call_ended")] == ["caller_hung_up"]


@pytest.mark.parametrize(
    ("on_machine", "plan", "verbs"),
    [
        ("hang_up", Plan("notify", "Ready."), ["Hangup"]),
        ("hang_up", Plan("conversation", "Hi."), ["Hangup"]),
        ("leave_message", Plan("notify", "Ready."), ["Say", "Hangup"]),
        ("leave_message", Plan("conversation", "Hi."), ["Say", "Hangup"]),
        ("leave_message", Plan("conversation", ""), ["Hangup"]),
        ("continue", Plan("conversation", "Hi."), ["Connect", "Redirect"]),
    ],
)
def test_a_machine_that_answers_is_treated_as_the_settings_say(
    on_machine: str, plan: Plan, verbs: list[str]
) -> None:
    with running(twilio={"on_machine": on_machine}, notify={"via": "say"}) as gateway:
        target = f"{WEBHOOK}?plan={gateway.plan(plan)}"
        form = {**OUTBOUND, "AnsweredBy": "machine_end_beep", "MachineDetectionDuration": "3200"}
        assert gateway.post(target, SID, **form).verbs == verbs
        assert gateway.of("amd") == [
            {"call_sid": SID, "answered_by": "machine_end_beep", "ms": 3200}
        ]
        if verbs == ["Hangup"]:
            assert gateway.of("call_ended")[0]["ending"] == "machine"


def test_a_person_who_answers_is_talked_to(gateway: Gateway) -> None:
    target = f"{WEBHOOK}?plan={gateway.plan(Plan('conversation'))}"
    assert gateway.post(target, SID, **OUTBOUND, AnsweredBy="human").verbs[0] == "Connect"


@pytest.mark.parametrize(
    ("on_machine", "answered_by", "expected"),
    [
        ("hang_up", "machine_start", [SID]),
        ("leave_message", "fax", [SID]),
        ("hang_up", "human", []),
        ("hang_up", "unknown", []),
        ("continue", "machine_start", []),
    ],
)
def test_a_machine_found_during_the_call_is_told(
    on_machine: str, answered_by: str, expected: list[str]
) -> None:
    with running(twilio={"on_machine": on_machine}) as gateway:
        gateway.open_stream(gateway.post())
        reply = gateway.post(AMD, SID, AnsweredBy=answered_by, MachineDetectionDuration="x")
        assert reply.status == 204
        assert gateway.machines == expected
        call = gateway.calls.get(SID)
        assert call is not None
        assert call.answered_by == answered_by


def test_a_machine_found_too_late_is_nobodys(gateway: Gateway) -> None:
    gateway.post(AMD, OTHER_SID, AnsweredBy="machine_start")
    gateway.open_stream(gateway.post())
    gateway.post(STATUS, SID, CallStatus="completed")
    gateway.post(AMD, SID, AnsweredBy="machine_start")
    assert gateway.machines == []
