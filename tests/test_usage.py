"""The words of the command line: complaints that are sentences, help that promises no more."""

import json
from pathlib import Path

import pytest

from test_command_line import Ended, Run, _nothing_set, run

__all__ = ["_nothing_set", "run"]  # fixtures
NAME = "voice.example.com"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["call", "--calls", "0", "http://a/"],
            "Invalid value for '--calls': Input should be greater than or equal to 1. "
            "See `hopscope call --help`.",
            id="out of range",
        ),
        pytest.param(
            ["compare", NAME],
            f"the URL of an ingress = '{NAME}': has no scheme; did you mean https://{NAME}? "
            "See `hopscope compare --help`.",
            id="a question",
        ),
        pytest.param(
            ["ingress", "nginx", "--part", "all of it"],
            "Invalid value for '--part': 'all of it' is not one of 'config', 'hops', 'readme', "
            "'systemd', 'launchd', 'all'. See `hopscope ingress --help`.",
            id="a word of Typer's",
        ),
        pytest.param(
            ["prxy"],
            "No such command 'prxy'. Did you mean 'proxy'? See `hopscope --help`.",
            id="no verb",
        ),
        pytest.param(
            ["call", "http://a/", "--say", "none.wav"],
            "No such file or directory: 'none.wav'. See `hopscope call --help`.",
            id="no such recording",
        ),
        pytest.param(
            ["lab", "run"],
            "Missing argument 'NAME'. See `hopscope lab --help`.",
            id="a verb of two",
        ),
    ],
)
def test_a_complaint_is_a_sentence_that_names_the_help_of_its_verb(
    run: Run, arguments: list[str], said: str
) -> None:
    assert run(*arguments) == Ended(64, "", f"hopscope: {said}\n")


@pytest.mark.parametrize("verb", ["", "proxy", "call", "lab run"])
def test_help_shows_no_value_behind_a_flag(run: Run, verb: str) -> None:
    printed = run(*verb.split(), "--help").out
    assert "--help" in printed
    assert "<bool>" not in printed


def test_a_page_is_there_for_machines(run: Run) -> None:
    ended = run("explain", "upgrade-stripped", "--json")
    assert (ended.code, ended.err) == (0, "")
    [page] = json.loads(ended.out)
    assert (page["id"], page["slug"], page["level"]) == ("HS01", "upgrade-stripped", "error")
    assert page["text"] == run("explain", "HS01").out


@pytest.mark.parametrize("listed", ["proxy", "gateway"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"a = [", "is not TOML: Invalid value", id="no TOML"),
        pytest.param(b"\xff\xfe", "is not UTF-8 text", id="no text"),
    ],
)
def test_settings_that_cannot_be_read_say_what_they_are(
    run: Run, listed: str, content: bytes, complaint: str
) -> None:
    Path("own.toml").write_bytes(content)
    ended = run(listed, "--config", "own.toml")
    assert (ended.code, ended.out) == (64, "")
    assert ended.err.startswith(f"hopscope: own.toml: {complaint}")
