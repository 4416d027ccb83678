"""The twilio library's REST client, run in a thread, and what comes of its requests.

Nothing that the library or Twilio says goes into an error or a log as it is: it may quote our
addresses, and with them the id of a plan.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from gateway.addresses import is_loopback
from gateway.dial_errors import (
    TwilioError,
    answered_strangely,
    refused,
    uncertain,
    unreachable,
)

T = TypeVar("T")

# Twilio's API answers well under a second; what takes longer than this is in trouble.
ANSWER_S = 10.0


class RestHttp(TwilioHttpClient):  # type: ignore[misc]  # the library has no types
    """The library's HTTP client: a connection a request, nothing logged, perhaps another host.

    A kept connection that the other end has closed would fail a POST of which nobody can tell
    whether it arrived.
    """

    def __init__(self, timeout_s: float = ANSWER_S, api_url: str | None = None) -> None:
        self._elsewhere = urlsplit(api_url) if api_url else None
        is_here = self._elsewhere is not None and is_loopback(self._elsewhere.hostname or "")
        super().__init__(
            pool_connections=False,
            timeout=timeout_s,
            logger=logging.Logger("unheard", logging.CRITICAL),
            # A proxy of the environment is for the internet; it cannot reach our loopback.
            proxy={"http": "", "https": ""} if is_here else None,
        )

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        if self._elsewhere is not None:
            there, parts = self._elsewhere, urlsplit(url)
            path = there.path.rstrip("/") + parts.path
            url = urlunsplit((there.scheme, there.netloc, path, parts.query, ""))
        more["headers"] = {**(more.get("headers") or {}), "Connection": "close"}
        return super().request(method, url, *args, **more)


class Rest:
    """One account's client in one region. `http_client` can be a test's."""

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        region: str | None,
        edge: str | None,
        http_client: TwilioHttpClient,
    ) -> None:
        if (region is None) != (edge is None):
            # api.REGION.twilio.com was us1 whatever it said, and is no more since April 2026.
            raise ValueError("region and edge go together, for example au1 and sydney")
        self.client = Client(
            account_sid,
            auth_token,
            region=region,
            edge=edge,
            http_client=http_client,
            # Else TWILIO_REGION and TWILIO_EDGE would be taken from the environment, one by one.
            environment={"TWILIO_REGION": "", "TWILIO_EDGE": ""},
        )
        self._timeout_s = float(http_client.timeout or ANSWER_S)

    async def ask(self, request: Callable[[Any], T]) -> T:
        """What a request to the client gives; it runs in a thread. Raises TwilioError."""
        try:
            # The library waits so long to connect, and again for each byte; this bounds the whole.
            async with asyncio.timeout(2 * self._timeout_s + 1):
                return await asyncio.to_thread(request, self.client)
        except TwilioException as error:
            failure = _from_answer(error)
        except (requests.RequestException, TimeoutError) as error:
            failure = _from_silence(error, self._timeout_s)
        except (ValueError, TypeError, AttributeError):
            # A success that is no JSON, or not of the shape that the library takes for granted.
            failure = uncertain("something that is not Twilio's API took the request")
        # Raised out here it has no context, which would quote addresses and forms.
        raise failure


def _from_answer(error: TwilioException) -> TwilioError:
    status, code = getattr(error, "status", 0), getattr(error, "code", 0)
    if status == 429:
        return refused(20429)
    if status >= 500:
        return uncertain(f"Twilio's API failed with HTTP {status}")
    # The library fills in the HTTP status where the body holds no code of Twilio's.
    if not isinstance(code, int) or code == status:
        return answered_strangely(status)
    return refused(code)


def _from_silence(error: Exception, timeout_s: float) -> TwilioError:
    reason = _unsent_because(error)
    if reason is not None:
        return unreachable(reason)
    if isinstance(error, (TimeoutError, requests.Timeout)):
        return uncertain(f"Twilio's API did not answer within {timeout_s:g} s")
    return uncertain("the connection to Twilio's API broke before it answered")


def _unsent_because(error: BaseException) -> str | None:
    """Why a request cannot have left this machine, or None if it may have."""
    seen: object = error
    for _ in range(8):  # requests wraps urllib3, which wraps the socket's error
        if isinstance(seen, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
            return "its address is not one"
        if isinstance(seen, urllib3.exceptions.NameResolutionError):
            return "its name does not resolve"
        # Before the next: some versions derive it from ConnectTimeoutError.
        if isinstance(seen, urllib3.exceptions.NewConnectionError):
            return "no connection"
        if isinstance(seen, (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError)):
            return "no connection in time"
        if isinstance(seen, urllib3.exceptions.ProxyError):
            return "the proxy of this machine does not let it through"
        if isinstance(seen, ssl.SSLCertVerificationError):
            return "its certificate is not trusted here"
        args = getattr(seen, "args", ())
        inner = [value for value in args if isinstance(value, BaseException)]
        seen = getattr(seen, "reason", None) or (inner[0] if inner else None)
    return None
