"""What becomes of what passes an ingress, broken or not (pure records).

Targets, early bytes, pings, ends, and calls that were placed in turn with those through others.
Times are milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

from doctor.evidence import Fault

# What became of a target between its sending and its arrival.
Fate = Literal[
    "kept",  # byte for byte
    "changed",  # see `arrived`
    "lost",  # it was answered in front of the sidecar
    "unknown",  # nobody can tell: no arrival could be fetched
]
# What became of something that was sent over a stream, or of its end.
Passed = Literal[
    "passed",
    "answered",  # by a hop, in place of the other end
    "lost",
    "cut",  # the stream ended under it
    "refused",  # there was no stream
    "unknown",
]


@dataclass(frozen=True, slots=True)
class TargetSeen:
    """A request target and what became of it. `arrived` is as it may be shown."""

    name: str  # "escaped slash"
    sent: str
    fate: Fate
    arrived: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Manners:
    """What a stream's ends get to see of each other."""

    early: Passed = "unknown"  # bytes that left together with the upgrade's head
    ping_by_client: Passed = "unknown"
    ping_by_server: Passed = "unknown"
    half_close: Passed = "unknown"  # the client's end, with the server's last words behind it


@dataclass(frozen=True, slots=True)
class CallSeen:
    """One call: Twilio's handshake, then media at its beat. `switched_ms` is from head to 101."""

    round: int
    opened_ms: float  # TCP and TLS
    switched_ms: float
    round_trip_ms: float = 0.0  # medians over the frames of the call
    jitter_ms: float = 0.0
    worst_gap_ms: float = 0.0
    sent: int = 0
    received: int = 0
    fault: Fault | Literal[""] = ""
