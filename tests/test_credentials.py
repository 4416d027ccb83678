"""Secrets: where they come from, and that nothing shows them."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.credentials import (
    VARIABLES,
    Credentials,
    CredentialsError,
    read_credentials,
)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.env"
    file.touch(0o600)
    return file


def refusal(file: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(CredentialsError) as refused:
        read_credentials(file, environment or {})
    return str(refused.value)


def test_every_secret_has_its_variable() -> None:
    environment = {variable: f"made-up-{name}" + "-" * 16 for name, variable in VARIABLES.items()}
    credentials, warnings = read_credentials(None, environment)
    assert {name: getattr(credentials, name) for name in VARIABLES} == {
        name: f"made-up-{name}" + "-" * 16 for name in VARIABLES
    }
    assert warnings == []


def test_a_file_holds_what_the_environment_does_not(secrets: Path) -> None:
    secrets.write_text(
        "# of the voice gateway\n\nTWILIO_AUTH_TOKEN=file\nexport OPENAI_API_KEY='quo ted'\n"
        "ELEVENLABS_API_KEY=$HOME\nDEEPGRAM_API_KEY\nOTHERS=1\n"
    )
    credentials, warnings = read_credentials(
        secrets, {"TWILIO_AUTH_TOKEN": "environment", "DEEPGRAM_API_KEY": ""}
    )
    assert credentials.auth_token == "environment"
    assert credentials.openai == "quo ted"
    assert credentials.elevenlabs == "$HOME"  # nothing is put in the place of anything
    assert credentials.deepgram == ""
    assert warnings == []


def test_no_secret_is_ever_shown() -> None:
    credentials = Credentials(auth_token="made-up-1", openai="made-up-2")
    assert repr(credentials) == "<Credentials: TWILIO_AUTH_TOKEN, OPENAI_API_KEY>"
    assert f"{credentials} {[credentials]}".count("made-up") == 0
    assert repr(Credentials()) == "<Credentials: none>"


@pytest.mark.parametrize("value", ["made-up ", "\tmade-up", "made-up\n", "made\x00up", "mäde-up"])
def test_a_secret_that_was_cut_out_badly_is_refused_and_not_shown(value: str) -> None:
    text = refusal(environment={"TWILIO_AUTH_TOKEN": value})
    assert text.startswith("TWILIO_AUTH_TOKEN: holds blanks")
    assert value not in text


def test_a_token_that_can_be_guessed_is_refused() -> None:
    text = refusal(environment={"HOPSCOPE_CALLS_TOKEN": "123456789012345"})
    assert text.startswith("HOPSCOPE_CALLS_TOKEN: is shorter than 16 characters")
    assert "12345" not in text
    assert read_credentials(None, {"HOPSCOPE_CALLS_TOKEN": "1234567890123456"})[0].calls_token


def test_a_file_that_others_can_read_is_told_of(secrets: Path) -> None:
    secrets.chmod(0o644)
    assert read_credentials(secrets, {})[1] == [
        f"{secrets}: every user of this machine can read it; chmod 600 {secrets}"
    ]
    secrets.chmod(0o640)
    assert read_credentials(secrets, {})[1] == []


def test_a_name_that_is_nearly_right_is_told_of(secrets: Path) -> None:
    secrets.write_text("OPENAI_KEY=made-up\nTWILIO_AUTHTOKEN=made-up\nPATH=/bin\n")
    _, warnings = read_credentials(secrets, {})
    assert warnings == [
        f"{secrets}: OPENAI_KEY is not read; did you mean OPENAI_API_KEY?",
        f"{secrets}: TWILIO_AUTHTOKEN is not read; did you mean TWILIO_AUTH_TOKEN?",
    ]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "secrets.env")


def test_a_line_that_is_no_assignment_is_refused_without_being_shown(secrets: Path) -> None:
    secrets.write_text("TWILIO_AUTH_TOKEN=a\nOPENAI_API_KEY='made-up\n")
    text = refusal(secrets)
    assert text == f"{secrets}, line 2: should be NAME=value"


def test_a_file_that_is_no_text_is_refused(secrets: Path) -> None:
    secrets.write_bytes(b"\xff\xfe")
    assert str(secrets) in refusal(secrets)


def test_signature_tokens_go_by_name_and_each_is_there_once() -> None:
    credentials = Credentials(
        auth_token="a", auth_token_secondary="b", auth_token_us1="a", auth_token_ie1="c"
    )
    assert credentials.signature_tokens() == {"primary": "a", "secondary": "b", "ie1": "c"}
    assert Credentials().signature_tokens() == {}
