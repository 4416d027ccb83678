"""Reports of the linters for people."""

import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from doctor.linting.findings import Becomes, LintFinding, LintReport

_STYLES = {"error": "bold red", "warning": "yellow"}
# What a file quotes may be orders to the terminal, and a name of a file no text at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


def print_reports(console: Console, reports: Mapping[Path, LintReport]) -> None:
    """What is wrong and where, then what becomes of the paths. Nothing is read as markup."""
    for path, report in reports.items():
        if report.unreadable:
            console.print(_text(report.unreadable, style="bold red"), soft_wrap=True)
            continue
        console.print(_text(str(path), style="bold"), soft_wrap=True)
        for finding in report.findings:
            _print_finding(console, finding)
        for each in report.paths:
            console.print(_text(f"  {_told(each)}"), soft_wrap=True)
        for remark in report.remarks:
            console.print(_text(f"  note: {remark}", style="dim"), soft_wrap=True)
        if not report.findings:
            console.print(Text("  no findings", style="green"))


def _print_finding(console: Console, finding: LintFinding) -> None:
    line = _text(f"  {finding.file}:{finding.line} ")
    line.append(f"{finding.rule} {finding.slug}", style=_STYLES[finding.level])
    line.append_text(_text(f"  {finding.saw}"))
    console.print(line, soft_wrap=True)
    for row in finding.fix.splitlines():
        console.print(_text(f"      {row}", style="dim"), soft_wrap=True)


def _told(each: Becomes) -> str:
    if not each.place and not each.upstream:
        return f"{each.path}  nothing takes it"
    target = f" as {each.target}" if each.target and each.target != each.path else ""
    upstream = f" -> {each.upstream}{target}" if each.upstream else ", which answers by itself"
    return f"{each.path}  {each.place}{upstream}"


def _text(text: str, style: str = "") -> Text:
    return Text(_UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text), style=style)
