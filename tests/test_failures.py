"""Which ProviderError it is, and that nothing in it opens a door."""

import json
from typing import Any

import pytest

from gateway.providers.failures import (
    DETAIL_LIMIT,
    close_reason,
    closure,
    complaint,
    event_reason,
    refusal,
    shown,
    status_reason,
)
from gateway.speech import Reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (101, "bad_answer"),
        (204, "bad_answer"),
        (307, "bad_answer"),
        (400, "refused"),
        (401, "unauthorized"),
        (402, "no_credit"),
        (403, "unauthorized"),
        (404, "refused"),
        (408, "timeout"),
        (422, "refused"),
        (429, "rate_limited"),
        (500, "unavailable"),
        (503, "unavailable"),
        (529, "unavailable"),
    ],
)
def test_a_status_alone_has_a_reason(status: int, reason: Reason) -> None:
    assert status_reason(status) == status_reason(status, "<html>") == reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        pytest.param(
            429, {"error": {"type": "insufficient_quota", "code": None}}, "no_credit", id="OpenAI"
        ),
        pytest.param(
            429,
            {"error": {"type": "insufficient_quota", "code": "project_spend_limit_exceeded"}},
            "no_credit",
            id="OpenAI's spend limit",
        ),
        pytest.param(
            429,
            {"error": {"type": "tokens", "code": "rate_limit_exceeded"}},
            "rate_limited",
            id="OpenAI's rate limit",
        ),
        pytest.param(401, {"detail": {"status": "quota_exceeded"}}, "no_credit", id="ElevenLabs"),
        pytest.param(
            401, {"detail": {"status": "invalid_api_key"}}, "unauthorized", id="ElevenLabs' key"
        ),
        pytest.param(402, {"err_code": "ASR_PAYMENT_REQUIRED"}, "no_credit", id="Deepgram"),
        pytest.param(
            401,
            {"error": {"type": "invalid_request_error", "code": "invalid_api_key"}},
            "unauthorized",
            id="the status goes before a type",
        ),
        pytest.param(500, {"error": {"code": "insufficient_quota"}}, "unavailable", id="theirs"),
        pytest.param(400, {"detail": [{"msg": "field required"}]}, "refused", id="a list"),
        pytest.param(400, {"error": "no such model"}, "refused", id="a string"),
        pytest.param(400, ["insufficient_quota"], "refused", id="no object"),
    ],
)
def test_a_body_that_speaks_of_money_goes_before_the_status(
    status: int, body: Any, reason: Reason
) -> None:
    assert refusal("x", status, json.dumps(body).encode()).reason == reason


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"type": "error", "error": {"type": "server_error", "code": None}}, "unavailable"),
        ({"type": "error", "error": {"type": "invalid_request_error"}}, "refused"),
        (
            {"error": {"type": "invalid_request_error", "code": "session_expired"}},
            "closed",
        ),
        ({"message_type": "auth_error", "error": "no"}, "unauthorized"),
        ({"message_type": "rate_limited", "error": "no"}, "rate_limited"),
        ({"message_type": "session_time_limit_exceeded", "error": "no"}, "closed"),
        ({"type": "Error", "variant": "SchemaError", "description": "no"}, "refused"),
        ({"message_type": "a new one", "error": "no"}, "unavailable"),
        ({}, "unavailable"),
        ({"error": {"code": 7, "type": ["x"]}}, "unavailable"),
    ],
)
def test_an_event_is_told_by_the_most_precise_name_in_it(
    event: dict[str, Any], reason: Reason
) -> None:
    assert event_reason(event) == complaint("x", event).reason == reason


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (1000, "", "closed"),
        (1001, "going away", "closed"),
        (1006, "", "closed"),
        (1008, "DATA-0000", "refused"),
        (1009, "", "refused"),
        (1011, "NET-0001", "unavailable"),
        (1013, "", "unavailable"),
        (4000, "invalid_request_error.invalid_api_key", "unauthorized"),
        (3000, "", "unauthorized"),
        (4000, "insufficient_quota", "no_credit"),
        (4321, "whatever", "closed"),
    ],
)
def test_a_close_is_told_by_its_words_and_then_by_its_code(
    code: int, text: str, reason: Reason
) -> None:
    assert close_reason(code, text) == closure("x", code, text).reason == reason


def test_an_error_quotes_what_the_provider_said_and_names_it() -> None:
    body = b'{"error": {"message": "The model `x` does not exist.", "code": "model_not_found"}}'
    error = refusal("openai", 404, body)
    assert str(error) == "openai: refused (404 The model `x` does not exist.)"
    assert error.status == 404
    assert str(closure("deepgram", 1011, "NET-0001 no audio")) == (
        "deepgram: unavailable (WebSocket closed: 1011 NET-0001 no audio)"
    )
    event = {"message_type": "quota_exceeded", "error": "You have no credits."}
    assert str(complaint("elevenlabs", event)) == (
        "elevenlabs: no_credit (quota_exceeded: You have no credits.)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abc***********wxyz.",
        "Authorization: Bearer abc.def.ghi",
        "authorization: token 0a1b2c3d",
        "key 0123456789abcdef0123456789abcdef01234567 is not valid",
        "xi-api-key: xi_0a1b2c3d4e5f",
        "dG9rZW46c2VjcmV0LXNlY3JldA==",
        "my own pass phrase, echoed",
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    hidden = shown(text, secret="my own pass phrase")
    assert "[hidden]" in hidden
    for secret in ("abc", "wxyz", "0a1b", "0123456789", "dG9r", "phrase"):
        assert secret not in hidden


@pytest.mark.parametrize(
    "text",
    [
        "You exceeded your current quota, please check your plan and billing details.",
        "conversation.item.input_audio_transcription.completed",
        "too_many_concurrent_requests_of_this_kind",
        "A model with model ID eleven_flash_v9 does not exist",
    ],
)
def test_words_are_not_hidden(text: str) -> None:
    assert shown(text) == text


def test_a_key_that_is_no_secret_hides_nothing() -> None:
    assert shown("none of it", secret="none") == "none of it"


def test_a_detail_is_one_line_and_cut() -> None:
    detail = shown("a\r\nb\x1b[31m\x00c\u2028d\ud800e " + "long " * 1000)
    assert detail.startswith("a b [31m c d e long")
    assert len(detail) == DETAIL_LIMIT
    assert str(refusal("x", 500, b"\xff\xfe" + b"y " * 100_000)).isprintable()
