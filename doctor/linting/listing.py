"""Reports of the linters for people."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from doctor.linting.findings import Becomes, LintFinding, LintReport

_STYLES = {"error": "bold red", "warning": "yellow"}


def print_reports(console: Console, reports: Mapping[Path, LintReport]) -> None:
    """What is wrong and where, then what becomes of the paths. Nothing is read as markup."""
    for path, report in reports.items():
        if report.unreadable:
            console.print(Text(report.unreadable, style="bold red"), soft_wrap=True)
            continue
        console.print(Text(str(path), style="bold"), soft_wrap=True)
        for finding in report.findings:
            _print_finding(console, finding)
        for each in report.paths:
            console.print(Text(f"  {_told(each)}"), soft_wrap=True)
        for remark in report.remarks:
            console.print(Text(f"  note: {remark}", style="dim"), soft_wrap=True)
        if not report.findings:
            console.print(Text("  no findings", style="green"))


def _print_finding(console: Console, finding: LintFinding) -> None:
    line = Text(f"  {finding.file}:{finding.line} ")
    line.append(f"{finding.rule} {finding.slug}", style=_STYLES[finding.level])
    line.append(f"  {finding.saw}")
    console.print(line, soft_wrap=True)
    for row in finding.fix.splitlines():
        console.print(Text(f"      {row}", style="dim"), soft_wrap=True)


def _told(each: Becomes) -> str:
    if not each.place and not each.upstream:
        return f"{each.path}  nothing takes it"
    target = f" as {each.target}" if each.target and each.target != each.path else ""
    upstream = f" -> {each.upstream}{target}" if each.upstream else ", which answers by itself"
    return f"{each.path}  {each.place}{upstream}"
