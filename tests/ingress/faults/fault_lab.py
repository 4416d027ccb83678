"""The fault laboratory: a case run, and what the doctor says of it beside what is so.

PYTHONPATH=tests python -m ingress.faults.fault_lab list
PYTHONPATH=tests python -m ingress.faults.fault_lab run nginx/h01-no-upgrade-headers
PYTHONPATH=tests python -m ingress.faults.fault_lab table docs/faults.md
"""

import argparse
import asyncio
import json
import queue
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from doctor.diagnosis.examination import examine
from doctor.diagnosis.verdict import Diagnosis
from doctor.evidence import Hop, Probe, as_json
from doctor.probing.options import ProbeOptions
from ingress.faults.fault_cases import Case, all_cases
from ingress.faults.fault_chains import Chain, Laboratory, Seen, StartError, reload

Verdict = Literal["right", "right hop", "cannot tell", "wrong"]
Progress = Callable[[str], None]
CONNECT_S = 1.0
ECHO_S = 1.0
LABORATORIES = 4
# What a case raises that cannot be run here: a program is missing, or did not serve in time.
MISSING = (pytest.skip.Exception, pytest.fail.Exception, StartError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the doctor said of a case, beside what was so."""

    case: Case
    diagnosis: Diagnosis
    probes: tuple[Probe, ...]
    notes: tuple[str, ...] = ()

    @property
    def complaints(self) -> list[str]:
        """What is not as the case expects, in words."""
        wanted, said = self.case.expected, self.diagnosis
        pairs = [
            (name, getattr(wanted, name), getattr(said, name))
            for name in ("verdict", "hop", "phase", "rule")
        ]
        wrong = [f"{name}: {saw!r}, not {want!r}" for name, want, saw in pairs if want != saw]
        wrong += [f"{rule} is missing" for rule in wanted.also if rule not in self._rules]
        for finding in said.findings:
            if finding.rule in (wanted.rule, *wanted.also) or (
                finding.level == "warning" and finding.rule in wanted.warns
            ):
                continue
            if finding.level == "error" or self.case.set == "healthy":
                wrong.append(f"also {finding.rule} {finding.slug} at {finding.hop}: {finding.saw}")
        return wrong

    @property
    def _rules(self) -> set[str]:
        return {finding.rule for finding in self.diagnosis.findings}

    @property
    def verdict(self) -> Verdict:
        if not self.complaints:
            return "right"
        said, wanted = self.diagnosis, self.case.expected
        if said.verdict == "cannot_tell" and wanted.verdict == "broken":
            return "cannot tell"
        return "right hop" if (said.verdict, said.hop) == (wanted.verdict, wanted.hop) else "wrong"

    def evidence(self) -> dict[str, Any]:
        """Everything, for who wants to know why."""
        return {
            "case": self.case.name,
            "says": self.case.says,
            "expected": asdict(self.case.expected),
            "complaints": self.complaints,
            "diagnosis": as_json(self.diagnosis),
            "notes": list(self.notes),
            "probes": [as_json(probe) for probe in self.probes],
        }


def look(chain: Chain, progress: Progress = lambda _: None) -> Outcome:
    """Let the doctor examine a running chain by its hops.toml, as `hopscope doctor` does."""
    case = chain.case

    def follow(text: str) -> None:
        progress(text)
        if case.reload_when_idle and "silent" in text:
            reload(chain)

    options = ProbeOptions(
        stream_path=case.path,
        webhook_path=case.webhook,
        admin=chain.admin if case.admin else None,
        idle_s=case.idle_s,
        host=case.host,
        connect_s=CONNECT_S,
        answer_s=case.answer_s,
        echo_s=ECHO_S,
        ca=chain.ca,
    )
    hops_file = chain.folder / "hops.toml"
    hops_file.write_text("\n".join(_table(hop) for hop in chain.hops))
    seen = asyncio.run(examine(hops_file, None, [], options, follow))
    return Outcome(case, seen.diagnosis, seen.probes, seen.notes)


def _table(hop: Hop) -> str:
    config = f'config = "{hop.config}"\n' if hop.config else ""
    return f'[[hop]]\nname = "{hop.name}"\nkind = "{hop.kind}"\nurl = "{hop.url}"\n{config}'


def list_cases() -> list[Case]:
    """For `hopscope lab list`."""
    return all_cases()


def run(name: str, progress: Progress = lambda _: None) -> tuple[Seen, Outcome]:
    """For `hopscope lab run NAME`. Raises KeyError for a name that is no case's, and MISSING."""
    case = {each.name: each for each in all_cases()}[name]
    with (
        tempfile.TemporaryDirectory() as folder,
        Laboratory(Path(folder)) as laboratory,
        laboratory.running(case) as chain,
    ):
        return laboratory.look(chain), look(chain, progress)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a caller saw of a case, and what the doctor said of it."""

    seen: Seen
    outcome: Outcome


class Crew:
    """Laboratories side by side: most of a case's time is waiting. A context manager.

    `started_anew` tells which cases had a program that came up at the second attempt only: its free
    port was taken in the meantime, or the machine was too busy.
    """

    def __init__(self, folder: Path) -> None:
        self.started_anew: list[str] = []
        self._folder = folder
        self._stack = ExitStack()
        self._free: queue.Queue[Laboratory] = queue.Queue()
        self._workers = ThreadPoolExecutor(LABORATORIES)

    def __enter__(self) -> "Crew":
        for number in range(LABORATORIES):
            folder = self._folder / f"laboratory-{number}"
            folder.mkdir()
            self._free.put(self._stack.enter_context(Laboratory(folder)))
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._stack.close()

    def submit(self, case: Case) -> Future[Examined]:
        """Have a case examined in the next laboratory that is free."""
        return self._workers.submit(self._examine, case)

    def _examine(self, case: Case) -> Examined:
        laboratory = self._free.get()
        try:
            return self._examine_in(laboratory, case)
        except StartError as error:
            self.started_anew.append(f"{case.name}: {error}")
            return self._examine_in(laboratory, case)
        finally:
            self._free.put(laboratory)

    @staticmethod
    def _examine_in(laboratory: Laboratory, case: Case) -> Examined:
        with laboratory.running(case) as chain:
            return Examined(laboratory.look(chain), look(chain))


def main(arguments: list[str]) -> int:
    from ingress.faults.fault_table import page

    parser = argparse.ArgumentParser(prog="fault_lab")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    verbs.add_parser("run").add_argument("name")
    verbs.add_parser("table").add_argument("file", type=Path)
    asked = parser.parse_args(arguments)

    def tell(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    if asked.verb == "list":
        for case in list_cases():
            sys.stdout.write(f"{case.name:48} {case.row:5} {case.says}\n")
        return 0
    if asked.verb == "run":
        seen, outcome = run(asked.name, tell)
        told = {"caller": asdict(seen)} | outcome.evidence()
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return 1 if outcome.complaints else 0
    with tempfile.TemporaryDirectory() as folder, Crew(Path(folder)) as crew:
        cases = all_cases()
        futures = [crew.submit(case) for case in cases]
        outcomes = []
        for future in futures:
            outcomes.append(future.result().outcome)
            if outcomes[-1].complaints:
                tell(f"{outcomes[-1].case.name}: {'; '.join(outcomes[-1].complaints)}")
        for said in crew.started_anew:
            tell(f"started anew: {said}")
    asked.file.write_text(page(outcomes), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
