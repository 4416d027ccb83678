"""HAProxy's linter: each rule, whole files, how lines are read, files that are half-written."""

from pathlib import Path

import pytest

from doctor.linting.findings import Paths
from doctor.linting.haproxy import RULES, lint
from doctor.linting.haproxy_parser import parse
from haproxy_snippets import (
    FILE,
    PAIRS,
    report_of,
    rules_of,
)

CONFIGS = Path(__file__).parent / "configs" / "haproxy"

# Rules


def test_every_rule_has_a_pair() -> None:
    assert {rule.id for rule in RULES} == set(PAIRS)


@pytest.mark.parametrize("rule", PAIRS)
def test_a_rule_fires_where_it_should_and_is_the_only_error(rule: str) -> None:
    pair = PAIRS[rule]
    findings = report_of(pair.fires, pair.paths).findings
    own = [each for each in findings if each.rule == rule]
    assert own
    for found in own:
        assert found.file == FILE
        assert pair.fires.splitlines()[found.line - 1].strip()
        assert "/voice/" in found.saw or f"({FILE.name}:{found.line})" in found.saw
    assert {each.rule for each in findings if each.level == "error"} <= {rule}


@pytest.mark.parametrize("rule", PAIRS)
def test_nothing_is_found_where_a_rule_is_quiet(rule: str) -> None:
    assert rules_of(PAIRS[rule].quiet, PAIRS[rule].paths) == set()


# Files


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("good/*.cfg")), ids=str)
def test_a_good_file_has_no_finding(path: Path) -> None:
    report = report_of(path.read_text(), path=path)
    assert report.findings == ()
    assert [each.target for each in report.paths] == [each.path for each in report.paths]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("bad/*.cfg")), ids=str)
def test_a_bad_file_has_the_findings_that_it_names(path: Path) -> None:
    """A comment `# lint: HA01` stands on the line before each defect."""
    wanted = {
        (found, number + 2)
        for number, line in enumerate(path.read_text().splitlines())
        if "# lint: " in line
        for found in line.partition("# lint: ")[2].split()
    }
    findings = report_of(path.read_text(), path=path).findings
    assert {(each.rule, each.line) for each in findings} == wanted


# Reading


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bind :80 # comment", ("bind", ":80")),
        ("acl a path '/a b' # c", ("acl", "a", "path", "/a b")),
        ('acl a path "/a \\"b\\""', ("acl", "a", "path", '/a "b"')),
        ("acl a path_reg \\.php$ a\\ b \\#x", ("acl", "a", "path_reg", "\\.php$", "a b", "#x")),
        ("acl a path /a#b", ("acl", "a", "path", "/a")),
        ("acl a path x'y z'w", ("acl", "a", "path", "xy zw")),
    ],
)
def test_words_are_read_as_haproxy_quotes_them(line: str, words: tuple[str, ...]) -> None:
    config = parse(f"frontend a\n{line}\n", FILE)
    assert config.proxies[0].lines[0].words == words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bind :80\n", "line 1: bind stands before any section"),
        ("frontend\n", "line 1: frontend has no name"),
        ("frontend a\n  bind\n", "line 2: bind has no argument"),
        ("defaults\n\n  timeout", "line 3: timeout has no argument"),
        ("frontend a\n acl b path '/a\n", "line 2: a quote is not closed"),
        ('frontend a\n acl b path "/a\n', "line 2: a quote is not closed"),
    ],
)
def test_a_half_written_file_is_told_with_its_line(text: str, told: str) -> None:
    report = lint(text, FILE, Paths())
    assert report.unreadable.startswith(f"{FILE}: {told}")


def test_a_file_without_a_frontend_is_told() -> None:
    report = report_of("global\n    daemon\n.if defined(X)\n.endif\n")
    assert (report.findings, report.paths) == ((), ())
    assert report.remarks == ("there is no frontend in it, and no listen",)


def test_no_beginning_of_a_file_raises() -> None:
    texts = [path.read_text() for path in CONFIGS.rglob("*.cfg")]
    assert texts
    for text in [*texts, *(pair.fires for pair in PAIRS.values())]:
        for end in range(0, len(text), 11):
            report = lint(text[:end], FILE, Paths())
            assert not (report.unreadable and report.findings)
