"""Calls as the tests make them."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from gateway.calls import Call, CallLimits, CallRefusal, Calls, Plan, Policy, StreamRefusal

CONVERSE = Plan("conversation", "Hello.")
NOTIFY = Plan("notify", "Your table is ready.")
ALICE, BOB = "+15550100001", "+15550100002"


def make_calls(policy: Policy = "open", allow: tuple[str, ...] = (), **limits: Any) -> Calls:
    numbers: Iterator[int] = count(1)
    return Calls(CallLimits(**limits), policy, allow, make_token=lambda: f"token-{next(numbers)}")


def admit(calls: Calls, call_sid: str = "CA1", now: float = 0, *, caller: str = ALICE) -> Call:
    call = calls.admit(call_sid, "inbound", caller, CONVERSE, now)
    assert isinstance(call, Call)
    return call


def refusal(calls: Calls, call_sid: str, now: float = 0, *, caller: str = ALICE) -> str:
    refused = calls.admit(call_sid, "inbound", caller, CONVERSE, now)
    assert isinstance(refused, CallRefusal)
    return refused.reason


def stream_refusal(calls: Calls, call_sid: str, token: str, now: float = 0) -> str:
    refused = calls.open_stream(call_sid, token, now)
    assert isinstance(refused, StreamRefusal)
    return refused.reason


def phase_of(call: Call) -> str:
    return call.phase


def streaming(calls: Calls, call_sid: str = "CA1", now: float = 0) -> Call:
    call = admit(calls, call_sid, now)
    assert calls.open_stream(call_sid, calls.advertise(call, now), now) is call
    return call


def planned(calls: Calls, plan: Plan = NOTIFY, now: float = 0) -> str:
    plan_id = calls.plan(plan, BOB, now)
    assert isinstance(plan_id, str)
    return plan_id
