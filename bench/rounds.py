"""The order of the measurements: interleaved, so that a slow moment of the machine meets all.

In a round every relay is measured once, in turn; the next round takes them the other way about.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from bench import measure
from bench.load import Shape
from bench.payload import Payload
from bench.relays import DIRECT, OURS, REFERENCE, VARIANTS, Relay
from bench.sessions import RefusedError

Part = Literal["frames", "idle", "handshakes"]
PARTS: tuple[Part, ...] = ("frames", "idle", "handshakes")
ATTEMPTS = 3

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how often."""

    shape: Shape
    payloads: tuple[Payload, ...]
    pairs: int
    parts: tuple[Part, ...]
    side_rounds: int
    idle_sessions: int
    handshakes: int


@dataclass(slots=True)
class Row:
    """All samples of one relay with one payload; `refused` says why there are no more."""

    relay: Relay
    payload: Payload
    label: str
    frames: list[measure.Frames] = field(default_factory=list)
    idle_bytes: list[float] = field(default_factory=list)
    handshakes: list[measure.Handshakes] = field(default_factory=list)
    refused: str | None = None

    def us_per_frame(self) -> list[float]:
        """CPU time per frame in each round."""
        return [sample.us_per_frame for sample in self.frames]

    def ratios(self, reference: "Row | None") -> list[float]:
        """CPU time per frame as a multiple of the reference's in the same round."""
        if reference is None:
            return []
        pairs = zip(self.us_per_frame(), reference.us_per_frame(), strict=False)
        return [ours / theirs for ours, theirs in pairs]

    def kept_pace(self) -> bool:
        """Whether the relay passed on what was sent when it was sent, in most rounds."""
        lagging = sum(not sample.kept_pace for sample in self.frames)
        return lagging <= len(self.frames) // 2


def rows_of(relays: list[Relay], plan: Plan) -> list[Row]:
    """One row for each relay, and for ours one for each payload; of its variants' frames, only
    media are measured."""
    rows = []
    for relay in relays:
        payloads = plan.payloads if relay.name == OURS else plan.payloads[:1]
        if relay.name in VARIANTS:
            payloads = ("media",) if "media" in plan.payloads and "frames" in plan.parts else ()
        for payload in payloads:
            label = relay.name if len(payloads) == 1 else f"{relay.name}, {payload}"
            rows.append(Row(relay, payload, label))
    return rows


def run(rows: list[Row], plan: Plan, progress: Progress) -> None:
    """Fill the rows. A refusal of ours or of the reference ends the run, one of another its row."""
    steps = list(_steps(rows, plan))
    for number, (row, part) in enumerate(steps, 1):
        if row.refused is None:
            said = _attempt(row, part, plan)
            progress(f"[{number}/{len(steps)}] {row.label}: {said}")


def _steps(rows: list[Row], plan: Plan) -> Iterator[tuple[Row, Part]]:
    present = [row for row in rows if not row.relay.missing]
    for number in range(plan.pairs if "frames" in plan.parts else 0):
        for row in present[:: -1 if number % 2 else 1]:
            # The direct path is no contender: it costs no CPU time and needs no pairs.
            if row.relay.name != DIRECT or number < plan.side_rounds:
                yield row, "frames"
    for number in range(plan.side_rounds):
        for row in present[:: -1 if number % 2 else 1]:
            # Neither an idle session nor a handshake depends on the payload, or on who reads it.
            if row.relay.name not in (DIRECT, *VARIANTS) and row.payload == plan.payloads[0]:
                yield from ((row, part) for part in plan.parts if part != "frames")


def _attempt(row: Row, part: Part, plan: Plan) -> str:
    """Measure once, again when it is refused; what came of it, in words."""
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return _measure(row, part, plan)
        except RefusedError as refusal:
            reason = f"{part} refused, {refusal}"
    if row.relay.name in (OURS, REFERENCE):
        raise RefusedError(f"{row.label}: {reason} ({ATTEMPTS} attempts)")
    row.refused = reason
    return reason


def _measure(row: Row, part: Part, plan: Plan) -> str:
    match part:
        case "frames":
            shape = replace(plan.shape, payload=row.payload)
            row.frames.append(sample := measure.frames(row.relay, shape))
            if row.relay.name == DIRECT:
                return f"{sample.p50_us or 0:.0f} us of latency"
            lagging = "" if sample.kept_pace else ", did not keep pace"
            return f"{sample.us_per_frame:.1f} us a frame{lagging}"
        case "idle":
            row.idle_bytes.append(
                weight := measure.idle_session_bytes(row.relay, plan.idle_sessions)
            )
            return f"{weight / 1000:.1f} kB an idle session"
        case "handshakes":
            row.handshakes.append(pace := measure.handshakes(row.relay, plan.handshakes))
            return f"{pace.per_s:.0f} handshakes a second"
