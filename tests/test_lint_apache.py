"""Apache's linter: each rule, whole files, includes, files that are half-written."""

from pathlib import Path

import pytest

from apache_snippets import (
    FILE,
    LOADED,
    PAIRS,
    PROPER,
    file,
    report_of,
    rules_of,
    site,
    vhost,
)
from doctor.linting.apache import RULES, lint
from doctor.linting.apache_parser import parse
from doctor.linting.findings import Paths

CONFIGS = Path(__file__).parent / "configs" / "apache"

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


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("good/*/apache2.conf")), ids=str)
def test_a_good_file_has_no_finding(path: Path) -> None:
    report = report_of(path.read_text(), path=path)
    assert report.findings == ()
    assert [each.target for each in report.paths] == [each.path for each in report.paths]
    assert report.remarks == ()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("bad/*/apache2.conf")), ids=str)
def test_a_bad_file_has_the_findings_that_it_names(path: Path) -> None:
    """A comment `# lint: AP01` stands on the line before each defect."""
    wanted = {
        (found, name, number + 2)
        for name in path.parent.rglob("*.conf")
        for number, line in enumerate(name.read_text().splitlines())
        if "# lint: " in line
        for found in line.partition("# lint: ")[2].split()
    }
    findings = report_of(path.read_text(), path=path).findings
    assert {(each.rule, each.file, each.line) for each in findings} == wanted


# Includes and conditions


def test_includes_stand_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "b.conf").write_text("RequestHeader unset Upgrade early\n")
    (tmp_path / "sites" / "a.conf").write_text("# nothing\n")
    main = tmp_path / "apache2.conf"
    text = file(vhost(f"{PROPER}; Include sites"))
    [finding] = report_of(text, path=main).findings
    assert (finding.rule, finding.file) == ("AP04", tmp_path / "sites" / "b.conf")
    by_root = f"ServerRoot {tmp_path}\n" + file(vhost(f"{PROPER}; IncludeOptional sites/*.conf"))
    assert [each.rule for each in report_of(by_root).findings] == ["AP04"]


def test_what_an_absent_include_may_hold_is_not_missed(tmp_path: Path) -> None:
    report = report_of(site("Include /nowhere/voice.conf"), path=tmp_path / "apache2.conf")
    assert report.findings == ()
    assert "Include /nowhere/voice.conf" in report.remarks[0]
    optional = site(f"{PROPER}; IncludeOptional nowhere/*.conf")
    assert report_of(optional, path=tmp_path / "apache2.conf").remarks == ()


def test_includes_in_a_circle_are_told(tmp_path: Path) -> None:
    main = tmp_path / "apache2.conf"
    main.write_text("Include apache2.conf\n")
    assert "includes go round in circles" in lint(main.read_text(), main, Paths()).unreadable


@pytest.mark.parametrize(
    ("condition", "is_read"),
    [
        ("<IfModule mod_headers.c>; RULE; </IfModule>", True),
        ("<IfModule headers_module>; RULE; </IfModule>", True),
        ("<IfModule mod_security2.c>; RULE; </IfModule>", False),
        ("<IfModule !mod_security2.c>; RULE; </IfModule>", True),
        ("<IfDefine VOICE>; RULE; </IfDefine>", False),
        ("<IfDefine !VOICE>; RULE; </IfDefine>", True),
        ("Define VOICE; <IfDefine VOICE>; RULE; </IfDefine>", True),
        ("<IfVersion >= 2.4>; RULE; </IfVersion>", True),
        ("Define HEADER Upgrade; RequestHeader unset ${HEADER}", True),
    ],
)
def test_conditions_are_decided_as_far_as_the_file_tells(condition: str, is_read: bool) -> None:
    text = condition.replace("RULE", "RequestHeader unset Upgrade")
    assert rules_of(site(f"{PROPER}; {text}")) == ({"AP04"} if is_read else set())


def test_without_a_module_line_every_module_is_taken_to_be_there() -> None:
    text = "<IfModule mod_headers.c>; RequestHeader unset Upgrade; </IfModule>"
    assert rules_of(vhost(f"{PROPER}; {text}")) == {"AP04"}


def test_a_site_s_file_alone_says_nothing_of_the_timeout() -> None:
    assert rules_of(vhost(PROPER)) == set()
    assert rules_of(vhost(f"{PROPER}; Timeout 20")) == {"AP07"}
    assert rules_of(site(PROPER, main="")) == {"AP07"}


# Reading


def test_lines_are_joined_and_words_unquoted() -> None:
    text = (
        "# a comment \\\n with a second line\n"
        "ProxyPass \\\n  /a \\\n  http://b\n"
        'Header set X "a \\"b\\"" \'c d\' e"f\n'
        '  <LOCATION "/a b">\n</Location>'
    )
    first, second, third = parse(text, FILE).block
    assert (first.name, first.args, first.line) == ("proxypass", ("/a", "http://b"), 3)
    assert second.args == ("set", "X", 'a "b"', "c d", 'e"f')
    assert (third.name, third.args, third.block) == ("location", ("/a b",), ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<VirtualHost *:80>\nProxyPass / http://a/\n", "line 1: <VirtualHost> is never closed"),
        ("<VirtualHost *:80\n", "line 1: <VirtualHost *:80 lacks its >"),
        ("A b\n</VirtualHost>\n", "line 2: </VirtualHost> where nothing is open"),
        (
            "<VirtualHost a>\n<Location />\n</VirtualHost>\n",
            "line 3: </VirtualHost> where </Location> is expected",
        ),
    ],
)
def test_a_half_written_file_is_told_with_its_line(text: str, told: str) -> None:
    report = lint(text, FILE, Paths())
    assert report.unreadable.startswith(f"{FILE}: {told}")
    assert (report.findings, report.paths) == ((), ())


def test_a_file_that_takes_no_request_is_told() -> None:
    report = report_of("# nothing\n")
    assert report.remarks == ("there is nothing in it that takes a request",)


def test_no_beginning_of_a_file_raises() -> None:
    texts = [path.read_text() for path in CONFIGS.rglob("*.conf")]
    assert texts
    for text in [*texts, *(pair.fires.replace(LOADED, "") for pair in PAIRS.values())]:
        for end in range(0, len(text), 9):
            report = lint(text[:end], FILE, Paths())
            assert not (report.unreadable and report.findings)
