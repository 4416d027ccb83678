"""Why a call could not be placed, in sentences that say what to do next (pure).

Codes are of Twilio's error dictionary (www.twilio.com/docs/api/errors). What Twilio writes about
them is not repeated: it may quote our addresses, and with them the id of a plan.
"""

from gateway.calls import DialError

# Twilio's codes for a call that is no more, when it is to be changed. 20404 is also what another
# region or account says of a call that it never had.
ENDED_CODES = (20404, 21220)

_NUMBER, _ACCOUNT, _BUSY = 422, 502, 503
_REGION = (
    "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN; the token must be that of the region in use, "
    "each region has its own"
)
_FORM = "write it in E.164 form: +, country code, number, nothing else"
_FROM = "choose a number that the account bought, or verify this one as a caller id in the Console"
_ACTIVE = "look at the account's balance and standing in the Console"
_OPEN_COUNTRY = "allow the country in the Console: Voice, Settings, Geo permissions"
_ADDRESS = "check HOPSCOPE_PUBLIC_URL: https, a host name without underscores, reachable by Twilio"
_SLOWER = "wait a minute, then place fewer calls at once"

_SENTENCES: dict[int, tuple[str, str, int]] = {
    10001: ("the Twilio account is not active", _ACTIVE, _ACCOUNT),
    10002: ("a trial account may not do this", "upgrade the account in the Console", _ACCOUNT),
    10004: ("the account has as many calls as it may have at once", _SLOWER, _BUSY),
    20003: ("Twilio does not accept the account and its token", _REGION, _ACCOUNT),
    20005: ("the Twilio account is not active", _ACTIVE, _ACCOUNT),
    20006: ("the credentials may not place calls", "use the account's auth token", _ACCOUNT),
    20008: (
        "these are test credentials, which reach no telephone",
        "use the live account SID and token",
        _ACCOUNT,
    ),
    20404: ("Twilio has no such account or call here", _REGION, _ACCOUNT),
    20429: ("Twilio is asked too much at once", _SLOWER, _BUSY),
    21201: ("no number to call was given", _FORM, _NUMBER),
    21202: ("the number is a premium one, which Twilio does not call", "", _NUMBER),
    21203: ("the account may not call other countries", _OPEN_COUNTRY, _NUMBER),
    21205: ("Twilio cannot use the webhook's address", _ADDRESS, _ACCOUNT),
    21210: ("the number to call from is not the account's", _FROM, _ACCOUNT),
    21211: ("the number to call is not valid", _FORM, _NUMBER),
    21212: ("the number to call from is not valid", f"{_FORM}; {_FROM}", _ACCOUNT),
    21213: ("no number to call from is set", _FROM, _ACCOUNT),
    21214: ("the number to call cannot be reached", "check the number", _NUMBER),
    21215: ("the account may not call that country", _OPEN_COUNTRY, _NUMBER),
    21216: ("Twilio has blocked the number to call", "ask Twilio's support why", _NUMBER),
    21217: ("the number to call is not valid", _FORM, _NUMBER),
    21219: (
        "a trial account calls verified numbers only, and this one is not",
        "verify the number in the Console under Verified Caller IDs, or upgrade the account",
        _NUMBER,
    ),
    21220: ("the call is not in a state in which this can be done", "", _ACCOUNT),
    21609: ("Twilio cannot use the status callback's address", _ADDRESS, _ACCOUNT),
}


class TwilioError(DialError):
    """What came of a request to Twilio's REST API.

    `code` is Twilio's, None where Twilio said nothing. `may_have_happened`: the request may have
    been carried out all the same, so its plan has to be kept and it must not be sent again.
    """

    def __init__(
        self,
        error: str,
        hint: str = "",
        *,
        status: int = 502,
        code: int | None = None,
        may_have_happened: bool = False,
    ) -> None:
        super().__init__(error, hint, status=status)
        self.code = code
        self.may_have_happened = may_have_happened


def refused(code: int) -> TwilioError:
    """Twilio answered with an error code."""
    if code in _SENTENCES:
        error, hint, status = _SENTENCES[code]
        return TwilioError(f"{error} (Twilio {code})", hint, status=status, code=code)
    hint = f"see https://www.twilio.com/docs/api/errors/{code}"
    return TwilioError(f"Twilio refused with {code}", hint, code=code)


def answered_strangely(status: int) -> TwilioError:
    """Something answered that is not Twilio's API: a proxy, a wrong address."""
    hint = "check the address of the API, its region and edge, and the proxies on the way"
    return TwilioError(f"an HTTP {status} that is not Twilio's", hint)


def unreachable(reason: str) -> TwilioError:
    """Nothing was sent. `reason` is of our own words."""
    hint = "check this machine's network and DNS, its proxy settings, and the region and edge"
    return TwilioError(f"Twilio's API cannot be reached: {reason}", hint)


def uncertain(what: str) -> TwilioError:
    """The request was sent, and what came of it is not known."""
    hint = "whether it was carried out is not known; the Console tells"
    return TwilioError(what, hint, status=504, may_have_happened=True)


def may_ring(error: TwilioError) -> TwilioError:
    """A create of which nothing is known, although it was looked for."""
    return TwilioError(
        f"{error.error}; the call may have been placed, so it is not placed again",
        "look for it in the Console's call log before trying again",
        status=504,
        may_have_happened=True,
    )


def too_many(wait_limit_s: float) -> TwilioError:
    return TwilioError(
        f"more calls are waiting than can be placed within {wait_limit_s:g} s",
        "try again later; Twilio raises the account's calls per second on request",
        status=_BUSY,
    )
