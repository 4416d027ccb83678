"""SIDs and signatures, by Twilio's own library and its documented example."""

import re

from twilio.request_validator import RequestValidator

from doctor.signing import Signer, new_sid

# www.twilio.com/docs/usage/security#explore-the-algorithm-yourself
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675310",
    "Digits": "1234",
    "From": "+14158675310",
    "To": "+18005551212",
}
TOKEN = "12345"


def test_the_documented_example_is_reproduced() -> None:
    assert Signer(TOKEN).sign(URL, FORM) == "GvWf1cFY/Q7PnoempGyD5oXAezc="


def test_what_is_signed_here_is_accepted_by_the_library() -> None:
    signature = Signer(TOKEN).sign("https://a.example/voice", {"From": "+1", "FromCity": ""})
    validator = RequestValidator(TOKEN)
    assert validator.validate("https://a.example/voice", {"From": "+1", "FromCity": ""}, signature)
    assert not validator.validate("https://a.example/other", {"From": "+1"}, signature)


def test_a_url_without_a_form_is_signed_alone() -> None:
    assert Signer(TOKEN).sign("wss://a.example/voice/stream") == Signer(TOKEN).sign(
        "wss://a.example/voice/stream", {}
    )


def test_without_a_token_nothing_is_signed() -> None:
    assert Signer().sign(URL, FORM) is None
    assert Signer.from_environment({}).sign(URL, FORM) is None
    assert Signer.from_environment({"TWILIO_AUTH_TOKEN": ""}).token is None


def test_the_token_comes_from_the_environment_and_is_not_shown() -> None:
    signer = Signer.from_environment({"TWILIO_AUTH_TOKEN": "made-up-secret"})
    assert signer.sign(URL) is not None
    assert "made-up-secret" not in repr(signer)


def test_sids_have_twilios_form_and_differ() -> None:
    sids = {new_sid("CA") for _ in range(100)}
    assert len(sids) == 100
    assert all(re.fullmatch(r"CA[0-9a-f]{32}", sid) for sid in sids)
