"""Cases of the linters: a file a rule in tests/configs/KIND, what fires, then what stays quiet.

    ingress:                            the line of the finding ends in a comment, `<- here`
      - service: http_status:99         # <- here
    # quiet                             from here on a file that has no finding at all
    ingress:
      - service: http_status:404

The part that fires may name findings that come with it: `# also CF02`. The paths of a case are
the defaults.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hypothesis import strategies as st

from doctor.linting.findings import LintReport, Paths

# In place of a value: what nobody expects there.
ODD = (
    "",
    "null",
    "[]",
    "{}",
    "[[]]",
    "-1",
    "1e400",
    "true",
    "'",
    '"',
    "*",
    "/",
    "http://[",
    "\x00",
)
CONFIGS = Path(__file__).parent / "configs"
_QUIET = re.compile(r"^(?:#|//) quiet\b.*\n", re.MULTILINE)
_ALSO = re.compile(r"(?:#|//) also ([A-Z0-9, ]+)")


@dataclass(frozen=True)
class Case:
    rule: str
    file: Path
    fires: str
    quiet: str

    @property
    def line(self) -> int:
        lines = [i for i, line in enumerate(self.fires.splitlines(), 1) if "<- here" in line]
        assert len(lines) <= 1, f"{self.file}: {lines}"
        return lines[0] if lines else 0

    @property
    def expected(self) -> set[str]:
        found = _ALSO.search(self.fires)
        return {self.rule, *(re.split(r"[, ]+", found[1].strip()) if found else ())}


def cases_of(kind: str) -> list[Case]:
    """Every RULE.* of a folder. Its name is case-sensitive and holds nothing but the rule's id."""
    cases = []
    for file in sorted((CONFIGS / kind).iterdir()):
        if re.fullmatch(r"[A-Z]{2}[0-9]{2}", file.stem):
            fires, quiet = _QUIET.split(file.read_text())
            cases.append(Case(file.stem, file, fires, quiet))
    return cases


def check_fires(linter: ModuleType, case: Case) -> None:
    """The rule fires on its line, and nothing fires that the case does not name."""
    report = linter.lint(case.fires, case.file, Paths())
    assert not report.unreadable
    assert {finding.rule for finding in report.findings} == case.expected, told(report)
    lines = [finding.line for finding in report.findings if finding.rule == case.rule]
    assert case.line in lines, told(report)


def check_quiet(linter: ModuleType, case: Case) -> None:
    report = linter.lint(case.quiet, case.file, Paths())
    assert not report.unreadable
    assert report.findings == (), told(report)


def check_every_rule_has_a_case(linter: ModuleType, cases: list[Case]) -> None:
    assert [rule.id for rule in linter.RULES] == sorted(case.rule for case in cases)
    for rule in linter.RULES:
        for text in (rule.slug, rule.defect, rule.why, rule.fix):
            assert text.strip(), rule.id
        assert rule.defect.endswith("."), rule.id


def check_no_prefix_raises(linter: ModuleType, cases: list[Case]) -> None:
    """A file is cut anywhere when it is read while it is written."""
    for case in cases:
        for text in (case.fires, case.quiet):
            step = max(1, len(text) // 16)
            for end in range(0, len(text), step):
                report = linter.lint(text[:end], case.file, Paths())
                assert not (report.unreadable and report.findings)


@st.composite
def mangled(draw: st.DrawFn, cases: list[Case]) -> str:
    """A case with words taken out, written twice, or replaced by what is odd."""
    case = draw(st.sampled_from(cases))
    words = re.split(r"(\W+)", draw(st.sampled_from((case.fires, case.quiet))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(words) - 1))
        words[at] = draw(
            st.sampled_from((*ODD, words[at] * 2, words[at - 1])) | st.text(max_size=9)
        )
    return "".join(words)


def told(report: LintReport) -> str:
    return "\n".join(f"{each.rule} {each.line} {each.saw}" for each in report.findings)
