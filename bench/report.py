"""The figures of a run: a table, one line for each aim, or JSON."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.table import Table

from bench.relays import CAPTURE, DIRECT, OTLP, OURS, REFERENCE, UNREAD, VARIANTS
from bench.rounds import Plan, Row

CPU_RATIO_AT_MOST = 1.5
READING_RATIO_AT_MOST = 1.33  # what it costs to read media messages: a third
CAPTURE_RATIO_AT_MOST = 1.5  # to unmask, search and keep every frame besides
OTLP_RATIO_AT_MOST = 1.1  # no frame is exported
IDLE_SESSION_KB_AT_MOST = 40.0
WAITED_AT_MOST = 0.005  # more than this, and it shows in the p99


@dataclass(frozen=True, slots=True)
class Aim:
    """What Hopscope may cost. The value is None when it could not be measured."""

    name: str
    value: float | None
    at_most: float
    unit: str
    remark: str | None = None

    @property
    def is_met(self) -> bool | None:
        """None when it cannot be told."""
        if self.value is None:
            return None
        return self.value <= self.at_most and self.remark is None

    def sentence(self) -> str:
        """The aim in one line."""
        if self.value is None:
            return f"{self.name}: cannot tell, {self.remark}"
        value = f"{self.value:.2f}" if not self.unit else f"{self.value:.0f}{self.unit}"
        remark = f", {self.remark}" if self.remark else ""
        return f"{self.name}: {value} (aim at most {self.at_most:g}{remark})"


def aims(rows: list[Row], plan: Plan) -> list[Aim]:
    """The aims that this run measured."""
    ours = next(row for row in rows if row.relay.name == OURS)
    found = []
    if "frames" in plan.parts:
        name = f"{OURS}/{REFERENCE} CPU per frame"
        ratios = ours.ratios(_reference(rows))
        if ratios:
            remark = None if ours.kept_pace() else "did not keep pace"
            found.append(Aim(name, median(ratios), CPU_RATIO_AT_MOST, "", remark))
        else:
            remark = f"{REFERENCE} was not measured"
            found.append(Aim(name, None, CPU_RATIO_AT_MOST, "", remark))
        found += [
            aim
            for over, under, at_most in (
                (OURS, UNREAD, READING_RATIO_AT_MOST),
                (CAPTURE, OURS, CAPTURE_RATIO_AT_MOST),
                (OTLP, OURS, OTLP_RATIO_AT_MOST),
            )
            if (aim := _among_ours(rows, over, under, at_most)) is not None
        ]
    if "idle" in plan.parts:
        weight = median(ours.idle_bytes) / 1000
        found.append(Aim("idle session", weight, IDLE_SESSION_KB_AT_MOST, " kB"))
    return found


def _among_ours(rows: list[Row], over: str, under: str, at_most: float) -> Aim | None:
    """One way to run Hopscope against another; None where the run is not about them."""
    [name] = {over, under} - {OURS}
    variant = next((row for row in rows if row.relay.name == name), None)
    if variant is None:
        return None
    ours = _ours(rows, variant.payload)
    first, second = (variant, ours) if over == name else (ours, variant)
    what = f"{over}/{under} CPU per frame"
    ratios = first.ratios(second)
    if not ratios:
        because = variant.relay.missing or f"{name} was not measured"
        return Aim(what, None, at_most, "", because)
    kept_pace = first.kept_pace() and second.kept_pace()
    return Aim(what, median(ratios), at_most, "", None if kept_pace else "did not keep pace")


def _ours(rows: list[Row], payload: str) -> Row:
    return next(row for row in rows if row.relay.name == OURS and row.payload == payload)


def table(rows: list[Row], plan: Plan) -> Table:
    """One line for each row; medians, and in brackets the least and the most."""
    drawn = Table()
    drawn.add_column("relay", no_wrap=True)
    drawn.add_column("version", no_wrap=True)
    columns = ["handshakes/s", "CPU us each"] if "handshakes" in plan.parts else []
    if "idle" in plan.parts:
        columns = ["idle kB", *columns]
    if "frames" in plan.parts:
        latencies = [] if plan.shape.saturated else ["added p50 us", "added p99 us"]
        columns = ["CPU us/frame", f"ratio to {REFERENCE}", "busy", *latencies, *columns]
    for column in columns:
        drawn.add_column(column, justify="right")
    for row in rows:
        if row.relay.missing:
            drawn.add_row(row.label, "", f"skipped: {row.relay.missing}")
        else:
            cells = _cells(rows, row)
            drawn.add_row(
                row.label, row.relay.version, *(cells.get(column, "") for column in columns)
            )
    return drawn


def remarks(rows: list[Row]) -> list[str]:
    """What a reader must know beside the table."""
    found = [
        f"{row.label} did not keep pace: its figures are those of an overloaded relay."
        for row in rows
        if row.frames and not row.kept_pace()
    ]
    waited = max((s.waited for row in rows for s in row.frames), default=0.0)
    if waited > WAITED_AT_MOST:
        found.append(
            f"Something else ran on the relay's CPU: a relay waited for it up to {waited:.0%} of "
            "the time. CPU times hold, latencies and handshakes a second do not."
        )
    for row in rows:
        if row.relay.name in VARIANTS and (ratios := row.ratios(_ours(rows, row.payload))):
            told = _cell(ratios, "{:.2f}", spread=True)
            found.append(f"{row.label}/{OURS} CPU per frame in the same round: {told}.")
    found += [f"{row.label}: {row.refused}." for row in rows if row.refused]
    for row in rows:
        if row.relay.name == DIRECT and (p50 := _median(s.p50_us for s in row.frames)) is not None:
            p99 = _median(s.p99_us for s in row.frames)
            found.append(
                f"With no relay a frame takes {p50:.0f} us (p50) and {p99:.0f} us (p99); "
                "added latency is what a relay adds to each."
            )
    return found


def as_json(rows: list[Row], plan: Plan, where: dict[str, str]) -> dict[str, Any]:
    """Everything, every sample included."""
    return {
        "where": where,
        "plan": asdict(plan),
        "relays": [
            {
                "name": row.relay.name,
                "payload": row.payload,
                "version": row.relay.version,
                "skipped": row.relay.missing,
                "refused": row.refused,
                "kept_pace": row.kept_pace(),
                "us_per_frame": _median(row.us_per_frame()),
                "ratio": _median(row.ratios(_reference(rows))),
                "ratios": row.ratios(_reference(rows)),
                "ratios_to_ours": (
                    row.ratios(_ours(rows, row.payload)) if row.relay.name in VARIANTS else None
                ),
                "idle_session_bytes": _median(row.idle_bytes),
                "handshakes_per_s": _median(h.per_s for h in row.handshakes),
                "samples": {
                    "frames": [asdict(sample) for sample in row.frames],
                    "idle_bytes": row.idle_bytes,
                    "handshakes": [asdict(sample) for sample in row.handshakes],
                },
            }
            for row in rows
        ],
        "aims": [{**asdict(aim), "met": aim.is_met} for aim in aims(rows, plan)],
    }


def _cells(rows: list[Row], row: Row) -> dict[str, str]:
    direct = next((r for r in rows if r.relay.name == DIRECT), None)
    cells = {
        "idle kB": _cell([size / 1000 for size in row.idle_bytes], "{:.1f}"),
        "handshakes/s": _cell([h.per_s for h in row.handshakes], "{:.0f}"),
        "CPU us each": _cell([h.cpu_us for h in row.handshakes], "{:.0f}"),
    }
    if row.relay.name == DIRECT:
        return cells
    cells["CPU us/frame"] = _cell(row.us_per_frame(), "{:.1f}", spread=True)
    ratios = row.ratios(_reference(rows))
    cells[f"ratio to {REFERENCE}"] = _cell(ratios, "{:.2f}", spread=row.relay.name != REFERENCE)
    cells["busy"] = _cell([sample.busy for sample in row.frames], "{:.0%}")
    for name in ("p50_us", "p99_us"):
        through = _median(getattr(sample, name) for sample in row.frames)
        floor = _median(getattr(s, name) for s in direct.frames) if direct else None
        if through is not None and floor is not None:
            cells[f"added {name[:3]} us"] = f"{through - floor:.0f}"
    return cells


def _cell(samples: list[float], form: str, *, spread: bool = False) -> str:
    if not samples:
        return ""
    text = form.format(median(samples))
    if spread and len(samples) > 1:
        text += f" ({form.format(min(samples))} to {form.format(max(samples))})"
    return text


def _median(samples: Iterable[float | None]) -> float | None:
    known = [sample for sample in samples if sample is not None]
    return median(known) if known else None


def _reference(rows: list[Row]) -> Row | None:
    return next((row for row in rows if row.relay.name == REFERENCE), None)
