"""Which linter reads a file, what silences a finding, what is told of files that cannot be read."""

import codecs
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from doctor.linting import engine
from doctor.linting.family import Family, Saw
from doctor.linting.findings import Becomes, LintFinding, LintReport, Paths
from doctor.linting.ignores import ignored_rules, without_ignored
from doctor.linting.kinds import LINTERS, kind_of_text
from doctor.linting.nginx_dump import sections
from doctor.linting.reading import SIZE_MAX

STRIPPING = """\
server {
    location /voice/ {
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_read_timeout 1h;
        proxy_pass http://127.0.0.1:8080;
    }
    location = /voice/stream { proxy_pass http://127.0.0.1:8080; }
}
"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def rules_of(report: LintReport) -> list[str]:
    assert report.unreadable == ""
    return [finding.rule for finding in report.findings]


# Kinds


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("nginx.conf", "", "nginx"),
        ("nginx-voice.conf", "", "nginx"),
        ("dump.txt", "# configuration file /etc/nginx/nginx.conf:\nuser a;\n", "nginx"),
        ("voice", "server {\n listen 80;\n}", "nginx"),
        ("voice.conf", "upstream a { server b; }", "nginx"),
        ("ws.inc", "    proxy_set_header Upgrade $http_upgrade;\n", "nginx"),
        ("haproxy.cfg", "", "haproxy"),
        ("edge.cfg", "global\n  daemon\nfrontend a\n  bind :80\n", "haproxy"),
        ("apache2.conf", "", "apache"),
        ("voice.conf", "<VirtualHost *:443>\n</VirtualHost>", "apache"),
        ("voice.conf", "ProxyPass / http://127.0.0.1:8080/\n", "apache"),
        ("Caddyfile", "", "caddy"),
        ("voice.caddy", "", "caddy"),
        ("site", "voice.example.com {\n\treverse_proxy 127.0.0.1:8080\n}", "caddy"),
        ("config.json", '{"apps": {"http": {}}}', "caddy"),
        ("config.yml", "tunnel: a\ningress:\n  - service: http://a\n", "cloudflared"),
        ("pushed.json", '{"config": {"ingress": []}}', "cloudflared"),
        ("status.json", '{"TCP": {"443": {"HTTPS": true}}, "Web": {}}', "tailscale"),
        ("status.json", '{"Web": {"a', "tailscale"),
        ("funnel.json", "{}", "tailscale"),
        ("dynamic.yml", "http:\n\n  # ours\n  routers:\n    a: {}\n", "traefik"),
        ("static.yaml", "entryPoints:\n  web: {}\n", "traefik"),
        ("traefik.toml", "", "traefik"),
        ("edge.yaml", "static_resources:\n  listeners: []\n", "envoy"),
        ("edge.json", '{"static_resources": {}}', "envoy"),
        ("hopscope.toml", "", "hopscope"),
        ("settings.toml", '[[route]]\nname = "a"\n', "hopscope"),
        ("openclaw.json", "{", "openclaw"),
        ("mine.json5", "{\n  // ours\n  plugins: {\n", "openclaw"),
        ("mine.json", "{\n// ours\nplugins: {\n\tentries: {\n\t\tconfig: {} } } }", "openclaw"),
        ("ours.toml", '[gateway.paths]\nstream = "/media"\n', "hopscope"),
        ("ours.toml", 'upstream = "http://127.0.0.1:3334"\n', "hopscope"),
        ("notes.txt", "call the customer", None),
        ("list.json", "[1, 2]", None),
        ("a.json", '{"name": 1}', None),
    ],
)
def test_a_kind_is_told_from_name_and_text(name: str, text: str, kind: str | None) -> None:
    assert kind_of_text(Path(name), text) == kind


def test_telling_a_kind_from_a_long_file_of_nothing_takes_no_time() -> None:
    assert kind_of_text(Path("blank"), "http:\n" + "\n" * 40_000 + " \t" * 40_000) is None


def test_the_name_of_a_file_is_asked_before_its_text() -> None:
    assert kind_of_text(Path("Caddyfile"), "server {\n listen 80;\n}") == "caddy"


def test_every_linter_that_is_there_has_rules_of_its_own_with_pages() -> None:
    ids = [rule.id for rule in engine.all_rules()]
    assert len(ids) == len(set(ids))
    # A linter of its own each, and none of them is missing.
    families = {linter.RULES[0].id[:2] for kind in LINTERS if (linter := engine.linter_of(kind))}
    assert len(families) == len(LINTERS)
    assert {f"{family}01" for family in families} <= set(ids)
    for rule in engine.all_rules():
        assert all((rule.slug, rule.defect, rule.why, rule.fix)), rule.id
        assert rule.level in ("error", "warning")


def test_a_linter_that_is_missing_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LINTERS, "squid", "squid")
    file = write(tmp_path, "squid.conf", "http_port 3128")
    assert engine.linter_of("squid") is None
    assert engine.linter_of("nobody") is None
    assert engine.lint_file(file, "squid", Paths()).unreadable.endswith("no linter for squid")


# Reading


def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    big = tmp_path / "big.conf"
    with big.open("wb") as stream:
        stream.truncate(SIZE_MAX + 1)
    cases = [
        (tmp_path / "absent.conf", "there is no such file"),
        (tmp_path, "it is a folder; name the files in it"),
        (Path("a\0b"), "is no name of a file"),
        (write(tmp_path, "empty.conf", " \n"), "it is empty"),
        (write(tmp_path, "notes.txt", "call the customer"), "known are nginx, haproxy"),
        (write(tmp_path, "binary.conf", "\0\1"), "it is binary"),
        (big, "more than 4 MiB"),
        (write(tmp_path, "nginx.conf", "http {"), "line 1: the file ends within a block"),
    ]
    for path, told in cases:
        report = engine.lint_file(path, None, Paths())
        assert told in report.unreadable
        assert str(path).replace("\0", "\\x00") in report.unreadable
        assert (report.findings, report.paths) == ((), ())


def test_a_file_that_this_user_may_not_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("doctor.linting.reading.os.open", refuse)
    report = engine.lint_file(write(tmp_path, "nginx.conf", "a"), None, Paths())
    assert "Permission denied; may this user read it?" in report.unreadable


def test_what_cannot_be_read_has_no_kind(tmp_path: Path) -> None:
    assert engine.kind_of(tmp_path / "absent.conf") is None
    assert engine.kind_of(write(tmp_path, "voice", "server {\n}")) == "nginx"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (b"", "latin-1")],
)
def test_marks_of_windows_and_other_encodings_are_read(
    tmp_path: Path, mark: bytes, encoding: str
) -> None:
    file = tmp_path / "dump.txt"
    text = f"# configuration file /etc/nginx/nginx.conf:\r\n# Straße\r\n{STRIPPING}"
    file.write_bytes(mark + text.encode(encoding))
    report = engine.lint_file(file, None, Paths())
    assert rules_of(report)[0] == "NG01"
    assert report.findings[0].file == Path("/etc/nginx/nginx.conf")
    assert report.findings[0].line == 11


# Ignores


@pytest.mark.parametrize(
    ("text", "silenced"),
    [
        ("a; # hopscope:ignore NG01\nb;", {1: {"NG01"}}),
        ("# hopscope:ignore NG01 the other hop does it\n\n# why\na;\nb;", {4: {"NG01"}}),
        ("a // hopscope:ignore TS01, TS02 TS03", {1: {"TS01", "TS02", "TS03"}}),
        ("# hopscope:ignore NG01\n# hopscope:ignore NG02\na;", {3: {"NG01", "NG02"}}),
        ("# hopscope:ignore NG01\na; # hopscope:ignore NG02", {2: {"NG01", "NG02"}}),
        ("a{# hopscope:ignore NG01\n}", {1: {"NG01"}}),
        ("hopscope:ignore NG01\na;", {}),
        ('"http://hopscope:ignore NG01";', {}),
        ("a#hopscope:ignore NG01", {}),
        ("# hopscope:ignore ng01\na;", {}),
        ("# hopscope:ignore\na;", {}),
        ("a; # see // hopscope:ignore NG01 NG02x\nb;", {1: {"NG01"}}),
        ("a " + "# " * 200_000 + "hopscope:ignore\nb;", {}),
    ],
)
def test_a_comment_silences_its_line_or_the_next(text: str, silenced: dict[int, set[str]]) -> None:
    assert ignored_rules(text) == silenced


def test_only_the_named_rule_at_that_line_is_silenced(tmp_path: Path) -> None:
    line = "    location = /voice/stream { proxy_pass http://127.0.0.1:8080; }\n"
    everything = engine.lint_file(write(tmp_path, "voice", STRIPPING), None, Paths())
    assert rules_of(everything) == ["NG01", "NG20", "NG22"]
    comment = "    # hopscope:ignore NG01 NG20\n"
    text = STRIPPING.replace(line, comment + line)
    assert rules_of(engine.lint_file(write(tmp_path, "voice", text), None, Paths())) == ["NG22"]
    text = STRIPPING.replace("server {\n", "server { # hopscope:ignore NG01 NG20\n")
    assert len(engine.lint_file(write(tmp_path, "voice", text), None, Paths()).findings) == 3


def test_a_comment_in_an_included_file_silences_what_is_found_there(tmp_path: Path) -> None:
    included = write(tmp_path, "voice.inc", "location / { proxy_pass http://127.0.0.1:8080; }\n")
    main = write(tmp_path, "nginx.conf", "http { server { include voice.inc; } }")
    assert {found.file for found in engine.lint_file(main, None, Paths()).findings} == {included}
    ids = " ".join(rules_of(engine.lint_file(main, None, Paths())))
    included.write_text(f"# hopscope:ignore {ids}\n" + included.read_text())
    assert rules_of(engine.lint_file(main, None, Paths())) == []


def test_a_file_that_is_gone_silences_nothing() -> None:
    finding = LintFinding("NG01", "a", "error", Path("/gone"), 1, "saw", "fix")
    assert without_ignored([finding], lambda file: "") == (finding,)


# Reports


def test_findings_are_sorted_by_file_line_and_rule(tmp_path: Path) -> None:
    write(tmp_path, "a.inc", "location = /voice/stream { proxy_pass http://127.0.0.1:8080; }\n")
    body = "include a.inc;\nlocation / {\n proxy_pass http://127.0.0.1:8080;\n auth_basic a;\n}\n"
    main = write(tmp_path, "voice.conf", f"server {{\n listen 443 ssl;\n{body}}}\n")
    found = engine.lint_file(main, None, Paths()).findings
    places = [(str(each.file), each.line, each.rule) for each in found]
    assert places == sorted(places)
    assert len({file for file, _, _ in places}) == 2


def test_the_json_of_findings_has_the_doctor_s_form_with_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "voice", STRIPPING)
    absent = tmp_path / "absent"
    reports = {path: engine.lint_file(path, None, Paths()) for path in (file, absent)}
    told = json.loads(json.dumps(engine.as_json(reports)))
    assert told["findings"][0] == {
        "rule": "NG01",
        "slug": "upgrade-not-passed",
        "level": "error",
        "hop": "nginx",
        "file": str(file),
        "line": 10,
        "saw": "location = /voice/stream (voice:10) passes /voice/stream to http://127.0.0.1:8080 "
        "with neither Upgrade nor Connection",
        "fix": told["findings"][0]["fix"],
        "evidence": [f"{file}:10"],
    }
    assert told["paths"][1] == {
        "file": str(file),
        "path": "/voice/stream",
        "place": "location = /voice/stream (voice:10)",
        "upstream": "http://127.0.0.1:8080",
        "target": "/voice/stream",
    }
    assert [each["file"] for each in told["unreadable"]] == [str(absent)]
    assert told["remarks"] == []


def test_the_listing_says_where_what_and_how_to_mend_it() -> None:
    finding = LintFinding("NG01", "upgrade-lost", "error", Path("a.conf"), 3, "[bold]saw", "x\n y")
    paths = (Becomes("/a", "", "", ""), Becomes("/b", "location /", "http://c", "/d"))
    reports = {
        Path("a.conf"): LintReport((finding,), paths, remarks=("[i]not modelled",)),
        Path("b.conf"): LintReport((), (Becomes("/a", "location /", "", ""),)),
        Path("c.conf"): LintReport(unreadable="c.conf: it is empty"),
    }
    out = StringIO()
    engine.print_reports(Console(file=out, width=60), reports)
    assert out.getvalue().splitlines() == [
        "a.conf",
        "  a.conf:3 NG01 upgrade-lost  [bold]saw",
        "      x",
        "       y",
        "  /a  nothing takes it",
        "  /b  location / -> http://c as /d",
        "  note: [i]not modelled",
        "b.conf",
        "  /a  location /, which answers by itself",
        "  no findings",
        "c.conf: it is empty",
    ]


def test_the_listing_gives_no_orders_to_the_terminal() -> None:
    finding = LintFinding("NG01", "a", "error", Path("\udcff.conf"), 3, "\x1b[2J\x9b2J", "x\r\x1b")
    paths = (Becomes("/\x1b]0;a\x07", "location /", "http://\x00", ""),)
    out = StringIO()
    reports = {
        Path("\udcff.conf"): LintReport((finding,), paths, remarks=("\x7f",)),
        Path("b"): LintReport(unreadable="\x1bc"),
    }
    engine.print_reports(Console(file=out, width=60), reports)
    assert "".join(out.getvalue().split("\n")).isprintable()
    assert "\\xdcff.conf:3 NG01 a  \\x1b[2J\\x9b2J" in out.getvalue()


# Families of rules


def test_a_rule_without_a_page_is_refused() -> None:
    family: Family[str] = Family()

    def nothing(subject: str) -> list[Saw]:
        """A defect.

        Why:
            Because.
        """
        return []

    with pytest.raises(ValueError, match="XX01: its page lacks Fix"):
        family.rule("XX01")(nothing)
    with pytest.raises(ValueError, match="X1: is no rule's id"):
        family.rule("X1")(nothing)


def test_a_rule_speaks_once_of_a_line() -> None:
    family: Family[str] = Family()

    @family.rule("XX01", level="warning")
    def loud(subject: str) -> list[Saw]:
        """A defect.

        Why:
            Because.
        Fix:
            Mend it.
        """
        return [Saw(subject, Path("a"), 1), Saw(subject, Path("a"), 2, "so", "error")]

    found = list(family.judge(["first", "second"]))
    assert [(each.saw, each.line, each.fix, each.level) for each in found] == [
        ("first", 1, "Mend it.", "warning"),
        ("first", 2, "so", "error"),
    ]
    assert [(rule.id, rule.slug, rule.why) for rule in family.rules] == [
        ("XX01", "loud", "Because.")
    ]


# The output of `nginx -T`


def test_a_dump_is_taken_apart_into_its_files() -> None:
    text = (
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
        "# configuration file /etc/nginx/nginx.conf:\na;\n\n"
        "# configuration file /etc/nginx/b c.conf:\nb;\n"
    )
    assert sections(text) == {
        Path("/etc/nginx/nginx.conf"): "a;\n",
        Path("/etc/nginx/b c.conf"): "b;\n",
    }
    assert sections("server { }") == {}


def test_a_secret_in_a_quoted_line_is_not_repeated(tmp_path: Path) -> None:
    text = 'server { location /voice/ { return 403 "token=s3cret-0123456789abcdef"; } }'
    report = engine.lint_file(write(tmp_path, "nginx.conf", text), None, Paths())
    told = " ".join(found.saw for found in report.findings)
    assert "return 403" in told
    assert "s3cret" not in told
