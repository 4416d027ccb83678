"""The trace that a request belongs to, as its client says: `traceparent` (W3C Trace Context).

`tracestate` is deliberately not read: it is for whoever writes the field anew, and nothing that
passes here is written anew; what others put into it is nobody's to store.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

# Section 3.2: lower case only. What a later version may add follows a dash (section 4.3).
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_FORBIDDEN_VERSION = "ff"
_SAMPLED = 0x01


class TraceParent(NamedTuple):
    """The caller's span. The other flags of a later version mean nothing to this one."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse_traceparent(value: str) -> TraceParent | None:
    """The caller's span, or None: then a new trace begins (section 4.3)."""
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, later = found.groups()
    if version == _FORBIDDEN_VERSION or (version == "00" and later is not None):
        return None
    parent = TraceParent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return parent if parent.trace_id and parent.span_id else None


def trace_parent_of(values: Sequence[str]) -> TraceParent | None:
    """The same of all values of the field: of two, neither can be believed."""
    return parse_traceparent(values[0]) if len(values) == 1 else None
