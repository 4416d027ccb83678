"""Every refusal says what happened and what to do, in our own words."""

import pytest

from gateway.calls import DialError
from gateway.dial_errors import answered_strangely, refused, too_many, uncertain, unreachable


@pytest.mark.parametrize(
    ("code", "said", "do", "status"),
    [
        (20003, "account and its token", "each region has its own", 502),
        (21210, "not the account's", "verify this one", 502),
        (21219, "verified numbers only", "Verified Caller IDs", 422),
        (21215, "that country", "Geo permissions", 422),
        (21211, "not valid", "E.164", 422),
        (21212, "call from is not valid", "E.164", 502),
        (21205, "webhook's address", "HOPSCOPE_PUBLIC_URL", 502),
        (21609, "status callback's address", "HOPSCOPE_PUBLIC_URL", 502),
        (10004, "at once", "fewer calls", 503),
    ],
)
def test_a_known_code_is_explained(code: int, said: str, do: str, status: int) -> None:
    error = refused(code)
    assert isinstance(error, DialError)
    assert said in error.error
    assert f"(Twilio {code})" in error.error
    assert do in error.hint
    assert (error.status, error.code, error.may_have_happened) == (status, code, False)


def test_an_unknown_code_leads_to_its_page() -> None:
    error = refused(29999)
    assert "29999" in error.error
    assert error.hint == "see https://www.twilio.com/docs/api/errors/29999"


def test_only_a_lost_answer_may_have_been_a_call() -> None:
    assert uncertain("Twilio did not answer").may_have_happened
    for error in (refused(20429), answered_strangely(502), unreachable("refused"), too_many(10)):
        assert not error.may_have_happened


def test_what_is_shown_holds_both_sentences() -> None:
    assert str(too_many(10)) == (
        "more calls are waiting than can be placed within 10 s "
        "(try again later; Twilio raises the account's calls per second on request)"
    )
