"""Which ProviderError an answer is: told from its status, its body, a close code or an event.

A status alone misleads: OpenAI says "no credit" as 429, ElevenLabs as 401. So the words with which
an API names the failure in its body go first where they are about money, and are all there is in
an event on a WebSocket.

Sources: developers.openai.com/api/docs/guides/error-codes, elevenlabs.io/docs/eleven-api/resources/
errors and its realtime event reference, developers.deepgram.com/docs/errors and
/docs/stt-troubleshooting-websocket-data-and-net-errors; RFC 6455 section 7.4 for close codes.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from gateway.speech import ProviderError, Reason

DETAIL_LIMIT = 160
# A body is read this far to find the words; error bodies are a few hundred bytes.
WORDS_LIMIT = 16 * 1024
# Servers on one's own machine are given keys like "none", which are no secrets.
SECRET_LENGTH = 6

_STATUSES: dict[int, Reason] = {
    401: "unauthorized",
    402: "no_credit",
    403: "unauthorized",
    408: "timeout",
    429: "rate_limited",
}

# What the APIs call their failures, in `code`, `type`, `status`, `err_code` or `message_type`.
_WORDS: dict[str, Reason] = {
    # no money: OpenAI
    "insufficient_quota": "no_credit",
    "credit_balance_exhausted": "no_credit",
    "organization_spend_limit_exceeded": "no_credit",
    "project_spend_limit_exceeded": "no_credit",
    "organization_usage_limit_exceeded": "no_credit",
    "billing_hard_limit_reached": "no_credit",
    "billing_not_active": "no_credit",
    # ElevenLabs, Deepgram
    "quota_exceeded": "no_credit",
    "payment_required": "no_credit",
    "insufficient_credits": "no_credit",
    "asr_payment_required": "no_credit",
    # the key
    "invalid_api_key": "unauthorized",
    "auth_error": "unauthorized",
    "authentication_error": "unauthorized",
    "invalid_auth": "unauthorized",
    "unaccepted_terms": "unauthorized",
    "missing_permissions": "unauthorized",
    # too much at once
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "rate_limited": "rate_limited",
    "too_many_concurrent_requests": "rate_limited",
    "too_many_requests": "rate_limited",
    "commit_throttled": "rate_limited",
    # theirs
    "server_error": "unavailable",
    "internal_error": "unavailable",
    "service_unavailable_error": "unavailable",
    "server_is_overloaded": "unavailable",
    "slow_down": "unavailable",
    "system_busy": "unavailable",
    "transcriber_error": "unavailable",
    "queue_overflow": "unavailable",
    "resource_exhausted": "unavailable",
    # the end of a session
    "session_expired": "closed",
    "session_time_limit_exceeded": "closed",
    "insufficient_audio_activity": "closed",
    # ours
    "invalid_request_error": "refused",
    "invalid_request": "refused",
    "input_error": "refused",
    "chunk_size_exceeded": "refused",
    "schemaerror": "refused",
}

_CLOSE_CODES: dict[int, Reason] = {
    **dict.fromkeys((1002, 1003, 1007, 1008, 1009, 1010), "refused"),
    **dict.fromkeys((1011, 1012, 1013, 1014), "unavailable"),
    3000: "unauthorized",  # RFC 6455 section 11.7: the registry's Unauthorized and Forbidden
    3003: "unauthorized",
}

_NAMES = ("code", "type", "status", "err_code", "message_type", "variant", "category")
_TEXTS = ("message", "err_msg", "description", "reason", "details", "error", "detail", "msg")
_WORD = re.compile(r"[a-z_]{8,}")
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]+")
_SCHEME = re.compile(r"\b(Bearer|Token|Basic)\s+\S+", re.IGNORECASE)
_KEY = re.compile(r"\b(?:sk|pk|xi|dg|rk|ek)[-_][\w*.\-]{6,}|[\w\-*+/=]{24,}")
_HIDDEN = "[hidden]"


def status_reason(status: int, body: str = "") -> Reason:
    """What an answer other than the documented one means."""
    if 400 <= status < 500:
        if "no_credit" in _reasons(_parse(body)):
            return "no_credit"
        return _STATUSES.get(status, "refused")
    return "unavailable" if status >= 500 else "bad_answer"


def close_reason(code: int, text: str = "") -> Reason:
    """What it means that the provider closed a WebSocket that we still needed."""
    for word in reversed(_WORD.findall(text.lower())):  # the last is the most precise
        if word in _WORDS:
            return _WORDS[word]
    return _CLOSE_CODES.get(code, "closed")


def event_reason(event: dict[str, Any]) -> Reason:
    """What an error event means: the first name in it that is known, the more precise first."""
    return next(_reasons(event), "unavailable")


def refusal(provider: str, status: int, body: bytes = b"", *, secret: str = "") -> ProviderError:
    """The error for an HTTP answer, also one to an upgrade."""
    text = body[:WORDS_LIMIT].decode(errors="replace")
    said = _text(_parse(text)) or text
    detail = shown(f"{status} {said}".strip(), secret)
    return ProviderError(provider, status_reason(status, text), detail, status=status)


def closure(provider: str, code: int, text: str = "", *, secret: str = "") -> ProviderError:
    """The error for a WebSocket that ended. Code 1006: without a closing handshake."""
    detail = shown(f"WebSocket closed: {code} {text}".strip(), secret)
    return ProviderError(provider, close_reason(code, text), detail)


def complaint(provider: str, event: dict[str, Any], *, secret: str = "") -> ProviderError:
    """The error for an error event on a WebSocket or within a stream of events."""
    names = [name for name in _names(event) if name != "error"]
    detail = shown(f"{' '.join(names[:2])}: {_text(event) or event}", secret)
    return ProviderError(provider, event_reason(event), detail)


def shown(text: str, secret: str = "") -> str:
    """Text of a provider's as it may be logged: one line, cut, nothing in it that opens a door."""
    if len(secret) >= SECRET_LENGTH:
        text = text.replace(secret, _HIDDEN)
    text = _CONTROLS.sub(" ", text[: 4 * DETAIL_LIMIT])
    text = _KEY.sub(_hide_key, _SCHEME.sub(rf"\1 {_HIDDEN}", text)).strip()
    return text if len(text) <= DETAIL_LIMIT else text[: DETAIL_LIMIT - 1] + "…"


def _hide_key(found: re.Match[str]) -> str:
    """Long words are let through, long mixtures of letters and digits are not."""
    run = found[0]
    is_word = run.replace("_", "").replace("-", "").isalpha() and run[2:3] not in "-_"
    return run if is_word else _HIDDEN


def _parse(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _inner(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object that tells of the failure, and the one around it."""
    for name in ("error", "detail"):
        if isinstance(inner := body.get(name), dict):
            yield inner
    yield body


def _names(body: dict[str, Any]) -> Iterator[str]:
    for level in _inner(body):
        yield from (level[name] for name in _NAMES if isinstance(level.get(name), str))


def _reasons(body: dict[str, Any]) -> Iterator[Reason]:
    return (_WORDS[name.lower()] for name in _names(body) if name.lower() in _WORDS)


def _text(body: dict[str, Any]) -> str:
    for level in _inner(body):
        for name in _TEXTS:
            if isinstance(text := level.get(name), str) and text:
                return text
    return ""
