"""The command line as scripts see it: what it prints, and with which code it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hopscope
from proxy.exchange import OUTCOMES
from proxy.history import Book, History

ROOT = Path(hopscope.__file__).parent
PATIENCE_S = 30.0


class Ended(NamedTuple):
    code: int | str | None
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no HOPSCOPE_* in the environment, and state that is nobody else's."""
    for name in os.environ:
        if name.startswith("HOPSCOPE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the console script within this process."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["hopscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            hopscope.main()
        printed = capsys.readouterr()
        # Help is coloured where the environment says so, as some CI systems do.
        return Ended(ended.value.code, re.sub(r"\x1b\[[0-9;]*m", "", printed.out), printed.err)

    return run


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Run `python -m hopscope` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "hopscope", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )


def finish(process: "subprocess.Popen[str]") -> Ended:
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def line(number: int, **fields: Any) -> dict[str, Any]:
    """A row as `hopscope history` lists it."""
    told: dict[str, Any] = {
        "id": f"{number:018}",
        "at": "2026-01-02T03:04:05.678Z",
        "client": "192.0.2.1",
        "ingress": "nginx",
        "method": "GET",
        "target": "/voice/stream",
        "route": "voice",
        "upstream": "http://127.0.0.1:8081",
        "outcome": "upgraded",
        "status": 101,
        "phases_ms": {"total": 1.0},
        "call_sid": None,
        "violations": [],
    }
    return told | fields


HEADS: dict[str, Any] = {
    "request_head": [["Host", "voice.example.com"], ["Cookie", None]],
    "response_head": [["Upgrade", "websocket"]],
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Three handshakes and a plain request, the newest last."""
    file = tmp_path / "book.sqlite3"
    kept = History(Book(file, rows=1000, days=1))
    for told in (
        line(1),
        line(2, ingress="cloudflare", outcome="refused", status=404),
        line(3, call_sid="CA3"),
    ):
        kept.add_event("handshake", time.time(), told, HEADS)
    request = line(4, method="POST", target="/voice/webhook", outcome="answered", status=200)
    kept.add_event("request", time.time(), request, HEADS)
    kept.close()
    return file


def test_the_version_is_printed_without_a_verb(run: Run) -> None:
    version = metadata.version("hopscope")
    assert run("--version") == Ended(0, f"hopscope {version}\n", "")


def test_help_lists_the_verbs(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    for verb in ("proxy", "gateway", "up", "call", "dial", "history", "show", "tap"):
        assert f" {verb} " in ended.out


@pytest.mark.parametrize(
    "verb", ["proxy", "gateway", "up", "call", "dial", "history", "show", "tap"]
)
def test_every_verb_explains_itself(run: Run, verb: str) -> None:
    ended = run(verb, "-h")
    assert (ended.code, ended.err) == (0, "")
    assert f" {verb} [OPTIONS]" in ended.out


@pytest.mark.parametrize("verb", ["up", "call", "dial", "history", "show", "tap", "capture"])
def test_every_verb_that_prints_a_result_prints_it_as_json(run: Run, verb: str) -> None:
    assert "--json" in run(verb, "--help").out


def test_no_verb_is_a_question_for_help(run: Run) -> None:
    ended = run()
    assert (ended.code, ended.err) == (64, "")
    assert "[OPTIONS] COMMAND [ARGS]" in ended.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["prxy"], "No such command 'prxy'", id="unknown verb"),
        pytest.param(["proxy", "--upstrem", "a"], "No such option: --upstrem", id="unknown option"),
        pytest.param(
            ["proxy", "--listen"], "Option '--listen' requires an argument", id="no value"
        ),
        pytest.param(["history", "--limit", "0"], "Invalid value for '--limit'", id="out of range"),
        pytest.param(
            ["call", "http://a/", "--seconds", "x"], "Invalid value for '--seconds'", id="number"
        ),
        pytest.param(
            ["proxy", "--log-format", "xml"], "Invalid value for '--log-format'", id="word"
        ),
        pytest.param(["show"], "Missing argument 'ID'", id="missing argument"),
        pytest.param(["show", "a", "b"], "unexpected extra argument", id="too many"),
        pytest.param(["proxy"], "upstream: none is set; name the gateway with", id="no upstream"),
        pytest.param(
            ["proxy", "--upstream", "https://gateway"],
            "upstream = 'https://gateway': should be http://",
            id="wrong flag",
        ),
        pytest.param(
            ["proxy", "--upstream", "http://a", "--config", "missing.toml"],
            "missing.toml: there is no such file; is the path right?",
            id="no such file",
        ),
        pytest.param(
            ["history", "--outcome", "fine"], f"one of {', '.join(OUTCOMES)}", id="unknown outcome"
        ),
    ],
)
def test_wrong_usage_is_said_in_one_line_and_ends_with_64(
    run: Run, arguments: list[str], complaint: str
) -> None:
    ended = run(*arguments)
    assert ended.code == 64
    assert ended.out == ""
    [said] = ended.err.splitlines()
    assert said.startswith("hopscope: ")
    assert complaint in said


@pytest.mark.parametrize("verb", [["proxy"], ["history"], ["show", "an id"]], ids=" ".join)
def test_wrong_settings_are_each_said_in_a_line_and_end_with_64(run: Run, verb: list[str]) -> None:
    Path("hopscope.toml").write_text('listn = "a"\n[limits]\nhead_bytes = 1\n')
    ended = run(*verb)
    assert ended.code == 64
    assert sorted(ended.err.splitlines()) == [
        "hopscope: limits.head_bytes = 1: Input should be greater than or equal to 1024",
        "hopscope: listn: there is no such setting; did you mean listen?",
    ]


def test_history_prints_handshakes_newest_first_as_json(run: Run, book: Path) -> None:
    ended = run("history", "--file", book, "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert told["next"] is None
    assert [row["id"] for row in told["handshakes"]] == [line(n)["id"] for n in (3, 2, 1)]
    assert told["handshakes"][-1] == line(1) | {"kind": "handshake", "session": None}


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--all"], [4, 3, 2, 1]),
        (["--ingress", "cloudflare"], [2]),
        (["--outcome", "refused"], [2]),
        (["--call", "CA3"], [3]),
        (["-n", "2"], [3, 2]),
        (["--ingress", "caddy"], []),
    ],
    ids=str,
)
def test_history_is_narrowed_by_its_options(
    run: Run, book: Path, arguments: list[str], numbers: list[int]
) -> None:
    told = json.loads(run("history", "--file", book, "--json", *arguments).out)
    assert [int(row["id"]) for row in told["handshakes"]] == numbers


def test_a_full_page_names_the_next(run: Run, book: Path) -> None:
    told = json.loads(run("history", "--file", book, "--json", "--limit", 2).out)
    assert told["next"] == line(2)["id"]


def test_history_for_people_is_a_line_for_each_row(run: Run, book: Path) -> None:
    ended = run("history", "--file", book)
    assert ended.code == 0
    assert [row.split()[1] for row in ended.out.splitlines()] == [
        line(number)["id"] for number in (3, 2, 1)
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no recorded handshake; --all lists plain requests, too\n"),
        (["--call", "CA9"], "no recorded handshake matches; --all lists plain requests, too\n"),
        (["--all"], "no recorded exchange\n"),
    ],
)
def test_an_empty_history_says_what_it_was_asked_for(
    run: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    file = tmp_path / "empty.sqlite3"
    History(Book(file, rows=1000, days=1)).close()
    assert run("history", "--file", file, *arguments) == Ended(0, "", said)


def test_show_prints_one_row_with_both_heads(run: Run, book: Path) -> None:
    ended = run("show", line(2)["id"], "--file", book, "--json")
    assert (ended.code, ended.err) == (0, "")
    refused = line(2, ingress="cloudflare", outcome="refused", status=404)
    assert json.loads(ended.out) == refused | HEADS | {"kind": "handshake", "session": None}
    ended = run("show", line(2)["id"], "--file", book)
    assert "Host: voice.example.com" in ended.out
    assert "Cookie: present" in ended.out


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["people", "json"])
def test_show_of_an_id_that_is_not_there_is_broken(
    run: Run, book: Path, as_json: list[str]
) -> None:
    ended = run("show", "nonsense", "--file", book, *as_json)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "hopscope: nonsense: not in the history; `hopscope history` lists what is\n"
    )


def test_the_book_of_the_settings_is_read(run: Run, book: Path) -> None:
    Path("hopscope.toml").write_text(f"[history]\nfile = '{book}'\n")
    assert len(json.loads(run("history", "--json").out)["handshakes"]) == 3
    Path("hopscope.toml").rename("other.toml")
    assert run("history", "--json").code == 1
    assert run("show", line(1)["id"], "-c", "other.toml").code == 0


@pytest.mark.parametrize("verb", [["history"], ["show", "an id"]], ids=" ".join)
def test_without_a_book_it_is_said_who_writes_one(run: Run, verb: list[str]) -> None:
    ended = run(*verb)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("`hopscope proxy` writes one as it runs\n")


def test_tap_without_a_sidecar_says_what_to_start(run: Run) -> None:
    ended = run("tap", "--admin", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("hopscope: http://127.0.0.1:1: ")
    assert "start `hopscope proxy`" in ended.err


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["people", "json"])
def test_capture_of_a_stream_that_does_not_run_is_broken_and_one_that_does_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, as_json: list[str]
) -> None:
    def admin(_: str, method: str, path: str) -> tuple[int, str]:
        assert method == "POST"
        name = path.removeprefix("/api/captures/")
        return (201, '{"id": "01abc"}') if name == "CA1" else (404, f"{name}: does not run\n")

    monkeypatch.setattr("proxy.export_command._ask", admin)
    assert run("capture", "CA2", *as_json) == Ended(1, "", "hopscope: CA2: does not run\n")
    ended = run("capture", "CA1", *as_json)
    assert (ended.code, ended.err) == (0, "")
    if as_json:
        assert json.loads(ended.out) == {"id": "01abc"}
    else:
        assert ended.out == "01abc is captured; take it with: hopscope export 01abc ...\n"


def wait_for_event(process: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
    """Read log lines up to one of this name."""
    assert process.stdout is not None
    for text in process.stdout:
        event: dict[str, Any] = json.loads(text)
        if event["event"] == name:
            return event
    pytest.fail(f"the process ended before it said {name}")


PROXY = ["proxy", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin"]


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX's")
@pytest.mark.parametrize("options", [[], ["--no-history"]], ids=["history", "--no-history"])
def test_the_sidecar_keeps_a_file_unless_told_not_to(tmp_path: Path, options: list[str]) -> None:
    process = start(*PROXY, "127.0.0.1:0", *options)
    try:
        listening = wait_for_event(process, "listening")
        process.send_signal(signal.SIGTERM)
    finally:
        ended = finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert listening["routes"] == ["default -> http://127.0.0.1:1"]
    kept = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert kept == ([] if options else ["history.sqlite3"])


def test_an_admin_address_beyond_loopback_without_a_token_is_a_wrong_setting() -> None:
    ended = finish(start(*PROXY, "192.0.2.1:0", "--no-history"))
    assert ended.code == 64
    assert ended.err.startswith("hopscope: admin = '192.0.2.1:0': set HOPSCOPE_ADMIN_TOKEN")
