"""The table of the fault laboratory: printed by the tests, kept in docs/faults.md."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ingress.faults.fault_lab import Outcome, Verdict

TITLES = {
    "faults": "Faults",
    "unseen": "The same faults in configurations that the rules were not written against",
    "healthy": "Healthy configurations",
}
INTRODUCTION = """\
# What the doctor is tested on

Each row is a chain of real programs with one fault: a gateway, `hopscope proxy`, and the programs
of the case in front of it. The configurations are in tests/ingress/faults, one short file each;
`hopscope lab run NAME` starts one. *Right* is verdict, hop, phase and rule as expected and no other
error; *right hop* is another rule at the guilty hop; *cannot tell* is the doctor's own word.

This page is made by `make faults`.
"""


def summary(outcomes: Iterable[Outcome]) -> list[str]:
    """One line for each set of cases: how many, and how the doctor did."""
    counted: dict[str, Counter[Verdict]] = {name: Counter() for name in TITLES}
    for outcome in outcomes:
        counted[outcome.case.set][outcome.verdict] += 1
    lines = ["            cases  right hop  right rule  wrong  cannot tell"]
    for name, count in counted.items():
        total = sum(count.values())
        hops = count["right"] + count["right hop"]
        lines.append(
            f"{name:12}{total:5}  {hops:9}  {count['right']:10}  {count['wrong']:5}"
            f"  {count['cannot tell']:11}"
        )
    return lines


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/faults.md: the summary, then a table for each set."""
    parts = [INTRODUCTION, "```\n" + "\n".join(summary(outcomes)) + "\n```\n"]
    for name, title in TITLES.items():
        chosen = [outcome for outcome in outcomes if outcome.case.set == name]
        if chosen:
            parts.append(f"## {title}\n\n{_table(chosen)}")
    return "\n".join(parts)


def _table(outcomes: Iterable[Outcome]) -> str:
    rows = ["| case | row | what is so | hop | rule | doctor |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        case, expected = outcome.case, outcome.case.expected
        hop = expected.hop or expected.verdict.replace("_", " ")
        says = case.says.replace("|", "\\|")
        rule = expected.rule or ""
        rows.append(f"| {case.name} | {case.row} | {says} | {hop} | {rule} | {outcome.verdict} |")
    return "\n".join(rows) + "\n"
