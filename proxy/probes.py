"""Armed probes: requests of the doctor that the sidecar recognises, records and may answer.

Only an id that was armed at the admin address means anything; on a request from the internet an
unknown id is nobody's, and the request goes to the gateway like any other.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from proxy.exchange import Exchange
from proxy.http1 import RequestHead

HEADER = "X-Hopscope-Probe"
LIFETIME_S = 300.0
PROBES_LIMIT = 1000
ARRIVALS_LIMIT = 64  # of one probe: a hop may retry, but not without end


def target_digest(target: str) -> str:
    """A name for a request target, by which two that are shown alike can be told apart."""
    return hashlib.sha256(target.encode("latin-1")).hexdigest()[:16]


def _told(arrival: Exchange) -> dict[str, Any]:
    head = arrival.request
    digest = {"target_digest": target_digest(head.target)} if head is not None else {}
    return arrival.line() | arrival.detail() | digest


@dataclass(slots=True)
class _Probe:
    armed_at: float
    arrivals: list[Exchange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asked:
    """An armed id found on a request, and whether the sidecar is asked to echo."""

    id: str
    wants_echo: bool


class Probes:
    """The ids that are armed now. Times are seconds on the caller's steady clock."""

    def __init__(self) -> None:
        self._probes: dict[str, _Probe] = {}

    def arm(self, now: float) -> str | None:
        """A new id, or None while too many are armed."""
        self._expire(now)
        if len(self._probes) >= PROBES_LIMIT:
            return None
        probe_id = secrets.token_hex(8)
        self._probes[probe_id] = _Probe(now)
        return probe_id

    def disarm(self, probe_id: str) -> bool:
        """Forget an id and what arrived under it. Whether it was armed."""
        return self._probes.pop(probe_id, None) is not None

    def read(self, head: RequestHead, now: float) -> Asked | None:
        """The armed probe that a request carries, if any. The value is `ID` or `ID; echo`."""
        self._expire(now)
        probe_id, _, wish = (head.value(HEADER) or "").partition(";")
        probe_id = probe_id.strip()
        if probe_id not in self._probes:
            return None
        return Asked(probe_id, wish.strip().lower() == "echo")

    def record(self, probe_id: str, arrival: Exchange) -> None:
        """Keep what arrived; what becomes of it is read when somebody asks."""
        probe = self._probes.get(probe_id)
        if probe is not None and len(probe.arrivals) < ARRIVALS_LIMIT:
            probe.arrivals.append(arrival)

    def arrivals(self, probe_id: str, now: float) -> list[dict[str, Any]] | None:
        """What arrived under an id, oldest first; None if the id is not armed."""
        self._expire(now)
        probe = self._probes.get(probe_id)
        if probe is None:
            return None
        return [_told(arrival) for arrival in probe.arrivals]

    def _expire(self, now: float) -> None:
        for probe_id, probe in list(self._probes.items()):
            if now - probe.armed_at < LIFETIME_S:
                break  # in the order they were armed
            del self._probes[probe_id]
