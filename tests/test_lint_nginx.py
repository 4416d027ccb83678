"""nginx's linter: each rule, whole files, includes, files that are half-written."""

from pathlib import Path

import pytest

from doctor.linting.findings import Paths
from doctor.linting.nginx import RULES, lint
from nginx_snippets import (
    FILE,
    HEADERS,
    PAIRS,
    PASS,
    PROPER,
    TLS,
    at,
    file,
    report_of,
    rules_of,
    site,
    voice,
)

CONFIGS = Path(__file__).parent / "configs" / "nginx"


# Rules


def test_every_rule_has_a_pair() -> None:
    assert {rule.id for rule in RULES} == set(PAIRS)


@pytest.mark.parametrize("rule", PAIRS)
def test_a_rule_fires_where_it_should(rule: str) -> None:
    pair = PAIRS[rule]
    findings = [each for each in report_of(pair.fires, pair.paths).findings if each.rule == rule]
    assert findings
    for found in findings:
        assert found.file == FILE
        assert pair.fires.splitlines()[found.line - 1].strip(" }")
        assert "/voice/" in found.saw or f"({FILE.name}:{found.line})" in found.saw


@pytest.mark.parametrize("rule", PAIRS)
def test_nothing_is_found_where_a_rule_is_quiet(rule: str) -> None:
    assert rules_of(PAIRS[rule].quiet, PAIRS[rule].paths) == set()


@pytest.mark.parametrize("rule", PAIRS)
def test_a_rule_that_fires_is_the_only_error(rule: str) -> None:
    pair = PAIRS[rule]
    errors = {each.rule for each in report_of(pair.fires, pair.paths).findings}
    levels = {rule.id: rule.level for rule in RULES}
    assert {found for found in errors if levels[found] == "error"} <= {rule}


# Files


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("good/**/nginx.conf")), ids=str)
def test_a_good_file_has_no_finding(path: Path) -> None:
    report = report_of(path.read_text(), path=path)
    assert report.findings == ()
    assert [each.target for each in report.paths] == [each.path for each in report.paths]
    assert report.remarks == ()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("bad/**/nginx.conf")), ids=str)
def test_a_bad_file_has_the_findings_that_it_names(path: Path) -> None:
    """A comment `# lint: NG01` stands on the line before each defect."""
    wanted = {
        (found, name, number + 2)
        for name in path.parent.rglob("*.conf")
        for number, line in enumerate(name.read_text().splitlines())
        if "# lint: " in line
        for found in line.partition("# lint: ")[2].split()
    }
    findings = report_of(path.read_text(), path=path).findings
    assert {(each.rule, each.file, each.line) for each in findings} == wanted


# Fragments and includes


def test_a_site_s_file_alone_is_read_as_one() -> None:
    text = f"server {{\n listen 80;\n location / {{ {HEADERS} {PASS} }}\n}}\n"
    assert rules_of(text) == {"NG22"}
    assert rules_of(at("/", PASS)) >= {"NG01"}
    assert rules_of(PROPER + PASS) == set()
    assert rules_of(f"upstream a {{ server b; }}\n{text}") == {"NG22"}


def test_a_variable_of_a_map_that_is_not_here_is_taken_to_be_right() -> None:
    assert rules_of(f"server {{ location / {{ {PROPER} {PASS} }} }}") == set()


def test_includes_stand_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "ws.conf").write_text(PROPER)
    (tmp_path / "sites" / "voice.conf").write_text(
        f"server {{\n listen 8480;\n location /voice/ {{ include ws.conf; {PASS} }}\n}}\n"
    )
    main = tmp_path / "nginx.conf"
    text = file("include sites/*.conf;\ninclude none/*.conf;")
    assert report_of(text, path=main) == report_of(text, path=main)
    assert report_of(text, path=main).findings == ()
    site_file = tmp_path / "sites" / "voice.conf"
    assert report_of(site_file.read_text(), path=site_file).findings == ()
    (tmp_path / "ws.conf").write_text("proxy_set_header X-Hop nginx;\n")
    [first, *_] = report_of(text, path=main).findings
    assert (first.rule, first.file, first.line) == ("NG01", site_file, 3)


def test_what_an_absent_include_may_hold_is_not_missed(tmp_path: Path) -> None:
    text = site(at("/voice/", f"include /nowhere/proxy_params; {PASS}"))
    report = report_of(text, path=tmp_path / "nginx.conf")
    assert report.findings == ()
    assert "include /nowhere/proxy_params" in report.remarks[0]
    assert "nginx -T" in report.remarks[0]


def test_includes_in_a_circle_are_told(tmp_path: Path) -> None:
    main = tmp_path / "nginx.conf"
    main.write_text("http { include nginx.conf; }")
    report = lint(main.read_text(), main, Paths())
    assert "includes go round in circles" in report.unreadable


def test_a_dump_holds_its_includes() -> None:
    text = f"""nginx: configuration file /etc/nginx/nginx.conf test is successful
# configuration file /etc/nginx/nginx.conf:
events {{}}
http {{
    include /etc/nginx/mime.types;
    include /etc/nginx/conf.d/*.conf;
    include sites-enabled/*;
}}

# configuration file /etc/nginx/conf.d/map.conf:
{"map $http_upgrade $connection_upgrade { default upgrade; '' close; }"}

# configuration file /etc/nginx/sites-enabled/voice:
server {{
    listen 80;
    location /voice/ {{
        {PASS}
    }}
}}
"""
    report = report_of(text, path=Path("dump.txt"))
    first = next(each for each in report.findings if each.rule == "NG01")
    assert (first.file, first.line) == (Path("/etc/nginx/sites-enabled/voice"), 4)
    assert report.remarks == ()
    proper = text.replace(PASS, PROPER + PASS)
    assert report_of(proper, path=Path("dump.txt")).findings == ()


# Half-written files


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http {\n server {\n", "line 2: the file ends within a block"),
        ("http {\n}\n}\n", 'line 3: unexpected "}"'),
        ("server {\n listen 80\n}\n", 'line 2: directive "listen" is not terminated by ";"'),
        ("user www-data", "line 1: the file ends within a directive"),
        ("location / { }\nexpires", "line 2: the file ends within a directive"),
        ("location / { return 200 'a; }", "line 1: the file ends within a block"),
        (
            "server {\n location / {\n proxy_pass http://a\n proxy_http_version 1.1;\n}}\n",
            "line 3: proxy_pass has no ; at its end, and takes proxy_http_version for an argument",
        ),
        ("location / { }\n}\nserver {", 'line 2: unexpected "}"'),
    ],
)
def test_a_half_written_file_is_told_with_its_line(text: str, told: str) -> None:
    report = lint(text, FILE, Paths())
    assert report.unreadable.startswith(f"{FILE}: {told}")
    assert (report.findings, report.paths) == ((), ())


def test_arguments_that_a_newer_nginx_allows_are_read() -> None:
    pool = "upstream pool { server 127.0.0.1:8080; keepalive 32 local; }"
    text = voice("proxy_pass http://pool;", http=pool, server="    http2 on;\n")
    assert rules_of(text) == set()


def test_no_beginning_of_a_file_raises() -> None:
    text = (CONFIGS / "good" / "includes" / "nginx.conf").read_text()
    text += voice(f"if ($http_upgrade) {{ {PASS} }} try_files $uri @a;", listen=TLS)
    for end in range(0, len(text), 7):
        report = lint(text[:end], FILE, Paths())
        assert not (report.unreadable and report.findings)
