"""Twilio's names for things (SIDs) and its signature, made by its own library.

Without a token nothing is signed, and the call says so: a gateway that checks signatures will
answer 403, which at Twilio looks like 11200 for a webhook and 31920 for a stream.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from twilio.request_validator import RequestValidator

TOKEN_VARIABLE = "TWILIO_AUTH_TOKEN"  # noqa: S105 - the name of a variable
ACCOUNT_VARIABLE = "TWILIO_ACCOUNT_SID"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with one account's auth token."""

    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Signer":
        return cls(environment.get(TOKEN_VARIABLE) or None)

    def sign(self, url: str, params: Mapping[str, str] | None = None) -> str | None:
        """X-Twilio-Signature of a request: its URL as configured, and the fields of its form."""
        if self.token is None:
            return None
        return str(RequestValidator(self.token).compute_signature(url, dict(params or {})))


def new_sid(prefix: str) -> str:
    """A SID as Twilio makes them: CA for a call, MZ for a stream, AC for an account."""
    return prefix + secrets.token_hex(16)
