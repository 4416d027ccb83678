"""Several simulated calls at once, and what they came to together."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.outcome import CallReport
from doctor.signing import new_sid

# Twilio places one call a second by default; a burst of them all would test the burst.
START_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class CallsSummary:
    """Calls in the order in which they were placed; None stands where nothing was measured."""

    reports: tuple[CallReport, ...]

    def as_json(self) -> dict[str, Any]:
        streams = [report.stream for report in self.reports if report.stream is not None]
        answers = [
            turn["answer_ms"]
            for report in self.reports
            for turn in report.turns
            if turn["answer_ms"] is not None
        ]
        asked = sum(len(report.turns) for report in self.reports)
        firsts = [stream.first_audio_ms for stream in streams if stream.first_audio_ms is not None]
        webhooks = [report.webhook.ms for report in self.reports if report.webhook is not None]
        errors = Counter(report.twilio_error for report in self.reports if report.twilio_error)
        warnings = Counter(
            code
            for report in self.reports
            for code in {objection.code for objection in report.warnings}
            if code is not None
        )
        return {
            "calls": len(self.reports),
            "failed": sum(errors.values()),
            "errors": _by_code(errors),
            "warnings": _by_code(warnings),
            "ended_by": dict(Counter(report.ended_by for report in self.reports)),
            "turns": asked,
            "turns_answered": len(answers),
            "webhook_ms": _spread(webhooks),
            "first_audio_ms": _spread(firsts),
            "answer_ms": _spread(answers),
            "gap_ms_max": max((stream.gap_ms_max for stream in streams), default=0.0),
            "underruns": sum(stream.underruns for stream in streams),
            "media_sent": sum(stream.sent for stream in streams),
            "media_received": sum(stream.received for stream in streams),
        }


async def place_calls(
    options: CallOptions,
    count: int,
    on_progress: Callable[[float], None] = lambda _: None,
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
) -> CallsSummary:
    """Place `count` calls, begun one shortly after the other; each has its own CallSid.

    A recording of several calls is numbered: out-1.wav, out-2.wav. Raises OSError, ValueError where
    one cannot be written.
    """
    shared = replace(options, account_sid=options.account_sid or new_sid("AC"))
    shares = [0.0] * count

    async def place(index: int) -> CallReport:
        def progress(share: float) -> None:
            shares[index] = share
            on_progress(sum(shares) / count)

        await asyncio.sleep(index * START_EVERY_S)
        own = replace(
            shared,
            call_sid=options.call_sid if count == 1 else "",
            record=_numbered(options.record, index + 1) if count > 1 else options.record,
        )
        return await SimulatedCall(own, progress, on_event).run()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(place(index)) for index in range(count)]
    except* (OSError, ValueError) as failures:
        raise failures.exceptions[0] from None
    return CallsSummary(tuple(task.result() for task in tasks))


def _numbered(path: Path | None, number: int) -> Path | None:
    return None if path is None else path.with_stem(f"{path.stem}-{number}")


def _by_code(counts: Counter[int]) -> dict[str, int]:
    """Keys of JSON objects are strings."""
    return {str(code): counts[code] for code in sorted(counts)}


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "median": round(median(ordered), 1),
        "p95": ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)],
        "worst": ordered[-1],
    }
