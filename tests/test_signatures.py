"""Signatures: what is accepted, what never is, and that the reason of a wrong one is found.

They are made as Twilio makes them, by its own library.
"""

import base64
import hashlib
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from gateway import signatures
from gateway.signatures import (
    EXPLANATIONS_PER_S,
    HMAC_LIMIT,
    Form,
    Verdict,
)
from signed import FORM, HOST, STREAM, WEBHOOK, checker, explanation, sign, upgrade, webhook

# What is accepted


def test_the_example_of_twilios_documentation() -> None:
    form = {
        "CallSid": ["CA1234567890ABCDE"],
        "Caller": ["+14158675310"],
        "Digits": ["1234"],
        "From": ["+14158675310"],
        "To": ["+18005551212"],
    }
    own = checker("https://mycompany.com", tokens={"primary": "12345"})
    fields = [("X-Twilio-Signature", "GvWf1cFY/Q7PnoempGyD5oXAezc=")]
    verdict = own.check_webhook("/myapp.php?foo=1&bar=2", fields, form, now=0)
    assert verdict == Verdict(True, "https://mycompany.com/myapp.php?foo=1&bar=2", "primary")


@pytest.mark.parametrize("token", ["primary", "secondary"])
def test_a_webhook_signed_over_the_public_url_is_accepted(token: str) -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", by=token)
    assert verdict == Verdict(True, f"https://{HOST}{WEBHOOK}", token)


def test_the_query_is_part_of_what_is_signed() -> None:
    target = f"{WEBHOOK}?plan=a%20b&after=stream"
    assert webhook(f"https://{HOST}{target}", target=target).is_valid
    assert not webhook(f"https://{HOST}{target}", target=f"{WEBHOOK}?plan=other").is_valid


@pytest.mark.parametrize("public_url", [f"https://{HOST}", f"https://{HOST}:443"])
@pytest.mark.parametrize("signed", [f"https://{HOST}", f"https://{HOST}:443"])
def test_the_default_port_may_be_written_or_not(public_url: str, signed: str) -> None:
    """Twilio's own checks try both, since what signs is not consistent about it."""
    assert webhook(f"{signed}{WEBHOOK}", public_url=public_url).is_valid
    assert upgrade(f"wss{signed[5:]}{STREAM}", public_url=public_url).is_valid


@pytest.mark.parametrize("signed", [f"https://{HOST}:8443", f"https://{HOST}"])
def test_a_port_of_ones_own_may_be_left_out(signed: str) -> None:
    public_url = f"https://{HOST}:8443"
    assert webhook(f"{signed}{WEBHOOK}", public_url=public_url).is_valid
    assert upgrade(f"wss{signed[5:]}{STREAM}", public_url=public_url).is_valid


@pytest.mark.parametrize("target", [WEBHOOK, f"/pre{WEBHOOK}"])
def test_a_prefix_counts_whether_the_ingress_strips_it_or_not(target: str) -> None:
    public_url = f"https://{HOST}/pre"
    verdict = webhook(f"{public_url}{WEBHOOK}", public_url=public_url, target=target)
    assert verdict == Verdict(True, f"{public_url}{WEBHOOK}", "primary")


@pytest.mark.parametrize("signed", ["/voice/webhook", "/voice/voice/webhook"])
def test_a_prefix_that_looks_like_our_own_path_may_be_either(signed: str) -> None:
    public_url = f"https://{HOST}/voice"
    assert webhook(f"https://{HOST}{signed}", public_url=public_url).is_valid


def test_an_upgrade_is_signed_over_wss() -> None:
    verdict = upgrade(f"wss://{HOST}{STREAM}")
    assert verdict == Verdict(True, f"wss://{HOST}{STREAM}", "primary")


def test_on_loopback_plain_http_and_ws_are_signed() -> None:
    public_url = "http://127.0.0.1:8081"
    assert webhook(f"{public_url}{WEBHOOK}", public_url=public_url).is_valid
    assert upgrade(f"ws://127.0.0.1:8081{STREAM}", public_url=public_url).is_valid


def test_a_json_body_is_signed_through_its_hash() -> None:
    body = '{"a": 1}'
    target = f"{WEBHOOK}?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    fields = [("X-Twilio-Signature", sign(f"https://{HOST}{target}"))]
    assert checker().check_webhook(target, fields, body, now=0).is_valid
    changed = checker().check_webhook(target, fields, body + " ", now=0)
    assert explanation(changed) == (
        "the URL is right, but the body is not the one that was signed (bodySHA256)"
    )


def test_a_json_body_without_a_hash_is_no_signed_request() -> None:
    fields = [("X-Twilio-Signature", sign(f"https://{HOST}{WEBHOOK}"))]
    verdict = checker().check_webhook(WEBHOOK, fields, "{}", now=0)
    assert (verdict.is_valid, verdict.reason) == (False, "malformed")
    assert "bodySHA256 in the query, which is not there" in verdict.matches[0]


# What never is


@pytest.mark.parametrize(
    "changed",
    [
        {**FORM, "From": ["+15550100002"]},
        {**FORM, "More": ["1"]},
        {name: values for name, values in FORM.items() if name != "From"},
        {**FORM, "Twice": ["b"]},
    ],
)
def test_a_form_that_was_changed_is_refused(changed: Form) -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", signed_form=changed)
    assert "it matches nothing that goes wrong often" in explanation(verdict)


def test_another_accounts_token_is_refused() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", by="another account's")
    assert "the auth token is another account's" in explanation(verdict)


def test_a_request_without_a_signature_is_refused() -> None:
    verdict = checker().check_webhook(WEBHOOK, [("Host", HOST)], FORM, now=0)
    assert (verdict.is_valid, verdict.reason) == (False, "missing")
    assert "there is no X-Twilio-Signature" in verdict.matches[0]


@pytest.mark.parametrize(
    "value", ["", "x", "a" * 28, "a" * 27 + "==", "ä" * 27 + "=", "a" * 27 + "=\n", "\udcff"]
)
def test_a_signature_that_is_none_is_refused_before_anything_is_computed(value: str) -> None:
    verdict = checker().check_webhook(WEBHOOK, [("X-Twilio-Signature", value)], FORM, now=0)
    assert (verdict.is_valid, verdict.reason) == (False, "malformed")
    assert verdict.matches == ("X-Twilio-Signature is not the base64 of 20 bytes",)


def test_two_signatures_are_refused_though_one_is_right() -> None:
    right = sign(f"https://{HOST}{WEBHOOK}", FORM)
    fields = [("X-Twilio-Signature", right), ("x-twilio-signature", right)]
    verdict = checker().check_webhook(WEBHOOK, fields, FORM, now=0)
    assert verdict.matches == ("there are 2 X-Twilio-Signature headers",)


def test_a_shared_key_is_named_as_such() -> None:
    signature = base64.b64encode(bytes(32)).decode()
    fields = [
        ("X-Twilio-Signature", signature),
        ("X-Twilio-Webhooks-Signature-Settings", "key=k,algorithm=HMAC_SHA256"),
    ]
    verdict = checker().check_webhook(WEBHOOK, fields, FORM, now=0)
    assert not verdict.is_valid
    assert "shared key" in verdict.matches[0]


@pytest.mark.parametrize(
    "target", ["voice", "*", "", "/ä", "/a b", "/\udcff", "http://evil.example/"]
)
def test_a_target_that_nobody_signs_is_refused(target: str) -> None:
    fields = [("X-Twilio-Signature", "a" * 27 + "=")]
    verdict = checker().check_webhook(target, fields, FORM, now=0)
    assert verdict.matches == ("the request's target is no path of printable ASCII",)


# Why it is wrong


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        (f"http://{HOST}{WEBHOOK}", "http:// in place of https://"),
        (f"wss://{HOST}{WEBHOOK}", "wss:// in place of https://"),
        (f"https://{HOST}:80{WEBHOOK}", "the port :80 in the URL"),
        (f"https://{HOST}{WEBHOOK}/", "the path with a slash at its end"),
        (f"https://{HOST.upper()}{WEBHOOK}", "the host in upper case"),
        (f"https://{HOST}/webhook", "the path /webhook, to which an ingress adds"),
        (f"https://{HOST}/", "the path /, to which an ingress adds"),
    ],
)
def test_one_thing_wrong_with_a_webhooks_url_is_named(signed: str, words: str) -> None:
    assert explanation(webhook(signed)) == f"it matches {words}: {signed}"


@pytest.mark.parametrize(
    ("header", "value", "signed"),
    [
        ("Host", "other.example.com", "other.example.com"),
        ("Host", "other.example.com:8080", "other.example.com"),
        ("X-Forwarded-Host", "Other.Example.com, inner:80", "Other.Example.com"),
        ("X-Original-Host", "other.example.com", "other.example.com:443"),
    ],
)
def test_the_host_that_twilio_called_is_found_in_the_request(
    header: str, value: str, signed: str
) -> None:
    fields = [("X-Twilio-Signature", sign(f"https://{signed}{WEBHOOK}", FORM)), (header, value)]
    verdict = checker().check_webhook(WEBHOOK, fields, FORM, now=0)
    assert explanation(verdict) == (
        f"it matches the host {signed} (the request's {header}): https://{signed}{WEBHOOK}"
    )


def test_a_public_url_that_was_never_set_is_found_from_the_host() -> None:
    signed = f"https://{HOST}{WEBHOOK}"
    verdict = webhook(signed, public_url="http://127.0.0.1:8081")
    assert explanation(verdict) == (
        f"it matches the host {HOST} (the request's Host), https:// in place of http://: {signed}"
    )


def test_a_lower_case_host_is_named() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", public_url="https://Voice.Example.com")
    assert "the host voice.example.com (the request's Host)" in explanation(verdict)
    verdict = upgrade(f"wss://{HOST}{STREAM}", public_url="https://Voice.Example.com")
    assert "the host in lower case" in explanation(verdict)


@pytest.mark.parametrize(
    "header", ["X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X-Envoy-Original-Path"]
)
def test_the_path_before_a_rewrite_is_found_in_the_request(header: str) -> None:
    verdict = webhook(f"https://{HOST}/twilio/in", headers={header: "/twilio/in?x=1"})
    assert "the path /twilio/in, as it was before it was rewritten" in explanation(verdict)


def test_a_prefix_that_was_stripped_is_found_in_the_request() -> None:
    verdict = webhook(f"https://{HOST}/pre{WEBHOOK}", headers={"X-Forwarded-Prefix": "/pre"})
    assert f"/pre{WEBHOOK}, as it was before it was rewritten" in explanation(verdict)


def test_a_prefix_that_twilio_does_not_know_is_named() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", public_url=f"https://{HOST}/pre")
    assert explanation(verdict).startswith("it matches the path without the prefix /pre: ")


def test_a_slash_that_twilio_does_not_have_is_named() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", target=f"{WEBHOOK}/")
    assert explanation(verdict).startswith("it matches the path without the slash at its end: ")


def test_another_regions_token_is_named_and_not_accepted() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", by="ie1")
    assert explanation(verdict).startswith("it matches the token of region ie1: ")


def test_what_became_of_the_query_is_named() -> None:
    target = f"{WEBHOOK}?plan=1"
    dropped = webhook(f"https://{HOST}{WEBHOOK}", target=target)
    assert explanation(dropped).startswith("it matches the URL without its query: ")
    moved = webhook(f"https://{HOST}{WEBHOOK}", target=target, signed_form={**FORM, "plan": ["1"]})
    assert explanation(moved).startswith("it matches the query's values as parameters: ")
    assert "plan=1" not in explanation(moved)


def test_a_form_that_was_lost_is_named() -> None:
    verdict = webhook(f"https://{HOST}{WEBHOOK}", signed_form={})
    assert "the URL without the form's fields, as of a GET" in explanation(verdict)


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        (f"https://{HOST}{STREAM}", "https:// in place of wss://"),
        (f"wss://{HOST}{STREAM}/", "the path with a slash at its end"),
        (f"ws://{HOST}{STREAM}", "ws:// in place of wss://"),
    ],
)
def test_one_thing_wrong_with_a_streams_url_is_named(signed: str, words: str) -> None:
    assert explanation(upgrade(signed)) == f"it matches {words}: {signed}"


@pytest.mark.parametrize(
    ("signed", "by", "words"),
    [
        (f"http://{HOST}:80{WEBHOOK}", "primary", "the port :80 in the URL, http:// in place of"),
        (f"http://{HOST}{WEBHOOK}", "ie1", "the token of region ie1, http:// in place of https://"),
        (f"https://{HOST}{WEBHOOK}/", "secondary", "the secondary token, the path with a slash"),
    ],
)
def test_two_things_wrong_are_both_named(signed: str, by: str, words: str) -> None:
    assert explanation(webhook(signed, by=by)).startswith(f"it matches {words}")


def test_a_port_of_ones_own_that_was_not_signed_is_named_beside_what_else_is_wrong() -> None:
    verdict = webhook(f"http://{HOST}{WEBHOOK}", public_url=f"https://{HOST}:8443")
    assert explanation(verdict).startswith("it matches the URL without its port :8443, http:// in")


def test_a_host_that_is_none_is_not_tried() -> None:
    fields = [("X-Twilio-Signature", sign(f"https://a\x00b{WEBHOOK}", FORM)), ("Host", "a\x00b")]
    assert "nothing" in explanation(checker().check_webhook(WEBHOOK, fields, FORM, now=0))


# What it costs, and what it shows


def test_an_explanation_costs_a_bounded_number_of_hmacs(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = 0
    original = RequestValidator.compute_signature

    def count(*arguments: Any) -> Any:
        nonlocal computed
        computed += 1
        return original(*arguments)

    monkeypatch.setattr(RequestValidator, "compute_signature", count)
    headers = dict.fromkeys(signatures._ORIGINAL_PATHS, "/x/y") | {
        "X-Forwarded-Host": "a",
        "X-Original-Host": "b",
    }
    fields = [("X-Twilio-Signature", "a" * 27 + "="), ("Host", "c"), *headers.items()]
    verdict = checker(f"https://{HOST}/pre").check_webhook(f"{WEBHOOK}?plan=1", fields, FORM, now=0)
    assert "nothing" in explanation(verdict)
    assert HMAC_LIMIT <= computed <= HMAC_LIMIT + 8


def test_only_so_many_are_explained_in_a_second() -> None:
    own = checker()
    fields = [("X-Twilio-Signature", sign(f"http://{HOST}{WEBHOOK}", FORM))]

    def explained(now: float) -> bool:
        return "http:// in place" in explanation(own.check_webhook(WEBHOOK, fields, FORM, now=now))

    assert all(explained(10.0) for _ in range(EXPLANATIONS_PER_S))
    assert not explained(10.9)
    assert explained(11.0)


def test_a_right_signature_is_accepted_however_many_wrong_ones_came_before() -> None:
    own = checker()
    for _ in range(EXPLANATIONS_PER_S + 5):
        own.check_webhook(WEBHOOK, [("X-Twilio-Signature", "a" * 27 + "=")], FORM, now=0)
    fields = [("X-Twilio-Signature", sign(f"https://{HOST}{WEBHOOK}", FORM))]
    assert own.check_webhook(WEBHOOK, fields, FORM, now=0).is_valid


def test_no_token_and_no_signature_is_shown() -> None:
    verdict = webhook(f"http://{HOST}{WEBHOOK}")
    shown = f"{checker()!r} {verdict!r}"
    assert "made-up" not in shown
    assert sign(f"http://{HOST}{WEBHOOK}", FORM) not in shown
    assert repr(checker()) == (
        f"<SignatureChecker https://{HOST} with tokens: primary, secondary, ie1>"
    )


# Without signatures


def test_without_tokens_everything_passes() -> None:
    verdict = checker(tokens={}).check_webhook(WEBHOOK, [], FORM, now=0)
    assert verdict == Verdict(True, f"https://{HOST}{WEBHOOK}", reason="unsigned")


def test_unsigned_requests_pass_where_they_are_allowed_and_wrong_ones_do_not() -> None:
    own = checker(allow_unsigned=True)
    assert own.check_upgrade(STREAM, [], now=0).reason == "unsigned"
    wrong = own.check_upgrade(STREAM, [("X-Twilio-Signature", "a" * 27 + "=")], now=0)
    assert not wrong.is_valid
