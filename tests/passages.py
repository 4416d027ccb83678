"""Passages to be laid side by side: healthy by default, as in sights.py."""

from dataclasses import replace
from typing import Any

from doctor.comparing.passage import Passage
from doctor.diagnosis.verdict import diagnose, sights_of
from doctor.evidence import Exchange
from doctor.probing.passed import CallSeen, Manners
from sights import probe

CALLS = tuple(
    CallSeen(number, 0.2, 2.0, trip, 0.1, 24.0, 50, 50)
    for number, trip in enumerate((0.5, 0.7, 0.6), 1)
)
SLOWER = tuple(replace(call, round_trip_ms=call.round_trip_ms * 2) for call in CALLS)
GOOD = Manners("passed", "passed", "passed", "passed")


def passage(
    exchange: Exchange | None = None, name: str = "nginx", calls: Any = (), **changes: Any
) -> Passage:
    probe_changes = {key: changes.pop(key) for key in ("echoes", "silence") if key in changes}
    made = probe("nginx", exchange, name=name, **probe_changes)
    said = diagnose(sights_of([probe("sidecar", name="direct"), made]))
    return Passage(name, made, said, calls=calls, **changes)


DIRECT = replace(passage(name="direct", calls=CALLS, manners=GOOD), is_direct=True)
