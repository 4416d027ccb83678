"""hopscope.toml: each rule fires and stays quiet, and what a refused file is refused for."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from doctor.linting import engine, hopscope_toml
from doctor.linting.findings import LintReport, Paths
from gateway.settings import SettingsError as GatewaySettingsError
from gateway.settings import load_settings as load_gateway_settings
from lint_cases import (
    Case,
    cases_of,
    check_every_rule_has_a_case,
    check_fires,
    check_no_prefix_raises,
    check_quiet,
    mangled,
)
from proxy.settings import SettingsError, load_settings

ROOT = Path(__file__).parent.parent
CASES = cases_of("hopscope")
GATEWAY = "http://127.0.0.1:3334"
# Hopscope does not start with what these find.
REFUSING = {"HO10", "HO11", "HO12", "HO13", "HO14", "HO15"}


def lint(text: str, paths: Paths | None = None) -> LintReport:
    return hopscope_toml.lint(text, Path("hopscope.toml"), paths or Paths())


def fired(text: str, paths: Paths | None = None) -> list[str]:
    report = lint(text, paths)
    assert not report.unreadable
    return sorted(finding.rule for finding in report.findings)


def route(name: str, *lines: str, upstream: str = GATEWAY) -> str:
    return "\n".join(["[[route]]", f'name = "{name}"', f'upstream = "{upstream}"', *lines, ""])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_fires_on_its_line_and_alone(case: Case) -> None:
    check_fires(hopscope_toml, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_healthy_file_has_no_finding(case: Case) -> None:
    check_quiet(hopscope_toml, case)


def test_every_rule_has_a_case_and_a_page() -> None:
    check_every_rule_has_a_case(hopscope_toml, CASES)


def test_a_file_may_end_anywhere() -> None:
    check_no_prefix_raises(hopscope_toml, CASES)


@settings(max_examples=60, deadline=None)
@given(mangled(CASES))
def test_garbage_is_read_or_refused(text: str) -> None:
    lint(text)


# What Hopscope refuses, the linter refuses, and nothing else


REFUSED = [
    'listen = "8080"',
    'listen = "127.0.0.1:9101"',
    "route = 5",
    "route = [1]",
    '[[route]]\nname = "a"',
    '[[route]]\nupstream = "http://a:1"',
    route("a b"),
    route("a") + 'path = "/a"\nprefix = "/a"',
    route("a", 'path = "/a"') + route("a", 'path = "/b"'),
    route("default", 'path = "/a"') + route("default"),
    route("a", 'path = "voice"'),
    route("a", "connect_seconds = 0"),
    route("a", "[route.request_headers]", 'set = { Content-Length = "5" }'),
    route("a", "[route.request_headers]", 'set = { "a b" = "5" }'),
    "[limits]\nhead_bytes = 12",
    "limits = 5",
    '[media]\nread = "some"',
    "gateway = 5",
    "[gateway]\nvoice = []",
    '[gateway]\nlisten = "127.0.0.1:9102"',
    '[gateway]\nlisten = "0.0.0.0:8081"\nallow_unsigned = true',
    '[gateway.paths]\nstream = "/voice/webhook"',
    '[gateway.paths]\nstream = "/voice/stream/"',
    '[gateway]\npublic_url = "https://voice.example.com?a=b"',
    '[gateway.inbound]\npolicy = "allow_list"',
    '[gateway.agent]\nprovider = "chat"',
    '[gateway.twilio]\nregion = "au1"\nedge = "dublin"',
]
ACCEPTED = [
    "",
    'listen = "127.0.0.1:0"\nadmin = "127.0.0.1:0"',
    '[gateway]\nlisten = "0.0.0.0:8081"',
    "[gateway]\nallow_unsigned = true",
]


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        *((text, True) for text in REFUSED),
        *((text, False) for text in ACCEPTED),
        *((case.fires, case.rule in REFUSING) for case in CASES),
        *((case.quiet, False) for case in CASES),
    ],
)
def test_what_the_program_refuses_is_an_error_and_nothing_else_is_called_refused(
    text: str, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith("HOPSCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "made-up")
    (tmp_path / "secrets.env").write_text("")
    (tmp_path / "secrets.env").chmod(0o600)
    file = tmp_path / "hopscope.toml"
    file.write_text(text)
    if "public_url" not in text:
        monkeypatch.setenv("HOPSCOPE_PUBLIC_URL", "https://voice.example.com")
    told = []
    for load in (load_settings, load_gateway_settings):
        try:
            load(file)
        except (SettingsError, GatewaySettingsError) as refused:
            told.append(str(refused))
    assert bool(told) == is_refused, told
    found = [finding for finding in lint(text).findings if finding.rule in REFUSING]
    assert bool(found) == is_refused
    assert all(finding.level == "error" for finding in found)


@pytest.mark.parametrize(
    ("text", "rule", "line", "told"),
    [
        ("\nupstrem = 1", "HO10", 2, "upstrem: there is no such setting; did you mean upstream?"),
        ("gatway = 1", "HO10", 1, "gatway: there is no such setting; did you mean gateway?"),
        (
            route("a", 'strip_prefx = "/a"'),
            "HO10",
            4,
            "route.'a'.strip_prefx: there is no such setting; did you mean strip_prefix?",
        ),
        (
            "[gateway]\n[gateway.turns]\nbarge_inn = true",
            "HO10",
            3,
            "gateway.turns.barge_inn: there is no such setting; did you mean barge_in?",
        ),
        (
            '[gateway]\n\n[gateway.inbound]\npolicy = "none"',
            "HO11",
            4,
            "gateway.inbound.policy = 'none': Input should be 'open', 'allow_list' or 'off'",
        ),
        (
            route("a", 'path = "/a"') + route("b", 'path = "/b"') + route("a", 'path = "/c"'),
            "HO11",
            9,
            "route 'a' is there twice; a default upstream is 'default'",
        ),
        ('[[route]]\n\nname = "a"', "HO12", 1, "route.'a'.upstream: Field required"),
        (
            'upstream = "ftp://a:1"',
            "HO12",
            1,
            "upstream = 'ftp://a:1': should be http://HOST:PORT or unix:/path/to.sock",
        ),
        (
            '[gateway]\nmetrics = "127.0.0.1:8081"',
            "HO11",
            1,
            "gateway: listen and metrics are both 127.0.0.1:8081; each needs its own port",
        ),
        (
            'admin = "127.0.0.1:3334"\nupstream = "http://localhost:3334"',
            "HO15",
            2,
            "route 'default' leads to http://localhost:3334, and admin is 127.0.0.1:3334",
        ),
    ],
)
def test_a_refusal_names_the_setting_and_its_line(
    text: str, rule: str, line: int, told: str
) -> None:
    [finding] = [each for each in lint(text).findings if each.rule in REFUSING]
    assert (finding.rule, finding.line, finding.saw) == (rule, line, told)


@pytest.mark.parametrize(
    "text",
    [
        '[gateway.twilio]\nauth_token = "hunter2"',
        '[gateway.voices.openai]\napi_key = "hunter2"',
        'HOPSCOPE_ADMIN_TOKEN = "hunter2"',
        'TWILIO_AUTH_TOKEN = "hunter2"',
        '[gateway]\npublic_url = "https://me:hunter2@voice.example.com"',
        '[gateway.agent]\nbase_url = "https://me:hunter2@api.example.com"',
        route("a", "[route.request_headers]", 'set = { Authorization = "hunter2\u20ac" }'),
        'something = "hunter2"',
    ],
)
def test_no_secret_is_shown(text: str) -> None:
    report = lint(text)
    assert report.findings
    assert "hunter2" not in str(report)


def test_a_comment_excuses_a_line(tmp_path: Path) -> None:
    file = tmp_path / "hopscope.toml"
    file.write_text(
        "# hopscope:ignore HO04 the gateway is asked for /stream\n"
        + route("voice", 'prefix = "/voice"', 'strip_prefix = "/voice"')
    )
    report = engine.lint_file(file, None, Paths())
    assert (report.kind, report.findings) == ("hopscope", ())


# What we show ourselves


def shown() -> list[tuple[str, str]]:
    """Every hopscope.toml of the documentation, and of deploy."""
    [plain, routes] = _blocks(ROOT / "README.md")
    [gateway] = _blocks(ROOT / "gateway" / "README.md")
    texts = [
        ("settings", plain),
        ("settings and routes", plain + routes),
        ("routes", routes),
        ("gateway", gateway),
        ("all", _with_examples(plain) + gateway + routes),
    ]
    deploy = ROOT / "deploy"
    files = [file for file in sorted(deploy.rglob("*.toml")) if engine.kind_of(file) == "hopscope"]
    told = [(file, text) for file in sorted(deploy.rglob("*.md")) for text in _blocks(file)]
    told += [(file, file.read_text()) for file in files]
    return texts + [
        (str(file.relative_to(ROOT)), text)
        for file, text in told
        if engine.kind_of(Path("any.toml"), text) == "hopscope"
    ]


def _blocks(file: Path) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", file.read_text(), re.DOTALL)


def _with_examples(text: str) -> str:
    return re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("name", "text"), shown(), ids=[name for name, _ in shown()])
def test_what_the_documentation_shows_has_no_finding(name: str, text: str) -> None:
    assert fired(text) == [], name
