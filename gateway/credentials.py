"""Secrets: from the environment, or from a file of NAME=value lines that the settings name.

They are kept apart from the settings, which may be printed; these show only which are there.
"""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

# The names are the ecosystem's where it has one.
VARIABLES = {
    "account_sid": "TWILIO_ACCOUNT_SID",
    "auth_token": "TWILIO_AUTH_TOKEN",
    "auth_token_secondary": "TWILIO_AUTH_TOKEN_SECONDARY",
    # Of other regions than the configured one: they tell why a signature failed, never accept one.
    "auth_token_us1": "TWILIO_AUTH_TOKEN_US1",
    "auth_token_ie1": "TWILIO_AUTH_TOKEN_IE1",
    "auth_token_au1": "TWILIO_AUTH_TOKEN_AU1",
    "auth_token_jp1": "TWILIO_AUTH_TOKEN_JP1",
    "openai": "OPENAI_API_KEY",
    "elevenlabs": "ELEVENLABS_API_KEY",
    "deepgram": "DEEPGRAM_API_KEY",
    "agent": "HOPSCOPE_AGENT_API_KEY",
    "calls_token": "HOPSCOPE_CALLS_TOKEN",
}
# POST /calls stands in the internet and spends money: its token must not be guessable.
CALLS_TOKEN_CHARS = 16


class CredentialsError(Exception):
    """Secrets that were refused; str() names them and never shows them."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """ "" is a secret that is not there."""

    account_sid: str = ""
    auth_token: str = ""
    auth_token_secondary: str = ""
    auth_token_us1: str = ""
    auth_token_ie1: str = ""
    auth_token_au1: str = ""
    auth_token_jp1: str = ""
    openai: str = ""
    elevenlabs: str = ""
    deepgram: str = ""
    agent: str = ""
    calls_token: str = ""

    def __repr__(self) -> str:
        there = [VARIABLES[field.name] for field in fields(self) if getattr(self, field.name)]
        return f"<Credentials: {', '.join(there) or 'none'}>"

    def signature_tokens(self) -> dict[str, str]:
        """Auth tokens by name: primary and secondary are accepted, regions only recognised."""
        named = {"primary": self.auth_token, "secondary": self.auth_token_secondary}
        named |= {
            region: str(getattr(self, f"auth_token_{region}"))
            for region in ("us1", "ie1", "au1", "jp1")
        }
        tokens: dict[str, str] = {}
        for name, token in named.items():
            if token and token not in tokens.values():
                tokens[name] = token
        return tokens


def read_credentials(
    file: Path | None, environment: Mapping[str, str]
) -> tuple[Credentials, list[str]]:
    """The secrets, and warnings about their file. The environment wins. Raises CredentialsError."""
    written, warnings = _read_file(file) if file is not None else ({}, [])
    found = {}
    for name, variable in VARIABLES.items():
        value = environment.get(variable) or written.get(variable) or ""
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise CredentialsError(
                f"{variable}: holds blanks at its ends, or characters that no key has; "
                "was it cut out with its quotes or its line end?"
            )
        found[name] = value
    if found["calls_token"] and len(found["calls_token"]) < CALLS_TOKEN_CHARS:
        raise CredentialsError(
            f"HOPSCOPE_CALLS_TOKEN: is shorter than {CALLS_TOKEN_CHARS} characters; "
            "`openssl rand -base64 24` makes a good one"
        )
    return Credentials(**found), warnings


def _read_file(file: Path) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    warnings = []
    try:
        mode = file.stat().st_mode
        with file.open(encoding="utf-8") as lines:
            bindings = list(parse_stream(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{file}: {error}") from None
    if mode & stat.S_IRWXO:
        warnings.append(f"{file}: every user of this machine can read it; chmod 600 {file}")
    for binding in bindings:
        if binding.error:
            raise CredentialsError(f"{file}, line {binding.original.line}: should be NAME=value")
        if binding.key is None:  # a comment or an empty line
            continue
        values[binding.key] = binding.value or ""
        near = get_close_matches(binding.key, VARIABLES.values(), 1, 0.8)
        if near and binding.key not in near:
            warnings.append(f"{file}: {binding.key} is not read; did you mean {near[0]}?")
    return values, warnings
