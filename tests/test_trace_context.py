"""`traceparent` is continued where it is written as W3C's Trace Context says, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.trace_context import TraceParent, parse_traceparent, trace_parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
PARENT = TraceParent(int(TRACE, 16), int(SPAN, 16), is_sampled=True)


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (GOOD, PARENT),
        (f"00-{TRACE}-{SPAN}-00", PARENT._replace(is_sampled=False)),
        pytest.param(f"00-{TRACE}-{SPAN}-03", PARENT, id="random flag of level 2"),
        pytest.param(f"00-{TRACE}-{SPAN}-fe", PARENT._replace(is_sampled=False), id="other flags"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", PARENT, id="later version"),
        pytest.param(f"01-{TRACE}-{SPAN}-01-what.comes", PARENT, id="later version with more"),
    ],
)
def test_the_callers_span_is_read(value: str, parent: TraceParent) -> None:
    assert parse_traceparent(value) == parent


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="forbidden version"),
        pytest.param(f"{GOOD}-more", id="more than version 00 has"),
        pytest.param(f"{GOOD}-", id="a dash too many"),
        pytest.param(f"01-{TRACE}-{SPAN}-01.what", id="later version without dash"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", id="upper case"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="no span"),
        pytest.param(f"00-{TRACE[:-1]}-{SPAN}-01", id="short trace"),
        pytest.param(f"00-{TRACE}0-{SPAN}-01", id="long trace"),
        pytest.param(f"00-{TRACE}-{SPAN}", id="no flags"),
        pytest.param(f"0-{TRACE}-{SPAN}-01", id="short version"),
        pytest.param(f"00_{TRACE}_{SPAN}_01", id="underscores"),
        pytest.param(f" {GOOD}", id="space in front"),
        pytest.param(f"{GOOD}\n", id="newline behind"),
        pytest.param(f"{GOOD}, {GOOD}", id="list"),
        pytest.param(f"00-{'٤' * 32}-{SPAN}-01", id="digits of another script"),
        pytest.param("1-5759e988-bd862e3fe1be46a994272793", id="another vendor's"),
    ],
)
def test_what_is_not_written_so_begins_a_new_trace(value: str) -> None:
    assert parse_traceparent(value) is None


def test_of_two_fields_neither_is_believed() -> None:
    assert trace_parent_of([GOOD]) == PARENT
    assert trace_parent_of([GOOD, GOOD]) is None
    assert trace_parent_of([]) is None


@given(st.text(max_size=80))
def test_nothing_raises_whatever_the_wire_says(value: str) -> None:
    assert parse_traceparent(value) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace_id: int, span_id: int, is_sampled: bool) -> None:
    value = f"00-{trace_id:032x}-{span_id:016x}-{is_sampled:02x}"
    assert parse_traceparent(value) == (trace_id, span_id, is_sampled)
