"""Requests signed by Twilio's own library, and a checker of signatures for made-up tokens."""

from typing import Any

from twilio.request_validator import RequestValidator

from gateway.addresses import parse_public_url
from gateway.signatures import (
    Form,
    SignatureChecker,
    Verdict,
)

TOKENS = {"primary": "made-up-1", "secondary": "made-up-2", "ie1": "made-up-3"}
HOST = "voice.example.com"
WEBHOOK, STREAM = "/voice/webhook", "/voice/stream"
FORM = {"CallSid": ["CA1"], "From": ["+15550100001"], "Empty": [""], "Twice": ["b", "a"]}


class Params(dict[str, Any]):
    def getall(self, name: str) -> Any:
        return self[name]


def sign(url: str, form: Form | None = None, by: str = "primary") -> str:
    secret = TOKENS.get(by, by)
    return str(RequestValidator(secret).compute_signature(url, Params(form or {})))


def checker(public_url: str = f"https://{HOST}", **options: Any) -> SignatureChecker:
    return SignatureChecker(parse_public_url(public_url), options.pop("tokens", TOKENS), **options)


def webhook(
    signed_url: str,
    *,
    target: str = WEBHOOK,
    public_url: str = f"https://{HOST}",
    by: str = "primary",
    headers: dict[str, str] | None = None,
    signed_form: Form = FORM,
) -> Verdict:
    fields = [("Host", HOST), ("X-Twilio-Signature", sign(signed_url, signed_form, by))]
    fields += (headers or {}).items()
    return checker(public_url).check_webhook(target, fields, FORM, now=0)


def upgrade(
    signed_url: str, *, public_url: str = f"https://{HOST}", target: str = STREAM
) -> Verdict:
    fields = [("x-twilio-signature", sign(signed_url))]
    return checker(public_url).check_upgrade(target, fields, now=0)


def explanation(verdict: Verdict) -> str:
    assert not verdict.is_valid
    assert verdict.reason == "mismatch"
    assert len(verdict.matches) == 1
    return verdict.matches[0]
