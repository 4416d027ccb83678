"""Twilio's HTTP client: a signed form, redirects followed by GET, one code for each failure.

Twilio allows 5 s for a TCP connection, tries twice, and 15 s for everything; the token in
I-Twilio-Idempotency-Token names the request. A redirect is followed without the form.
"""

import asyncio
import base64
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode, urlsplit

from doctor.addresses import BadUrl, Detour, Target, parse_url
from doctor.dial import Patience, Unanswered
from doctor.errors import status_code, webhook_code
from doctor.exchange import Answer, ask
from doctor.signing import Signer
from proxy.http1 import ResponseHead

USER_AGENT = "TwilioProxy/1.1"
FORM_TYPE = "application/x-www-form-urlencoded; charset=UTF-8"
REDIRECT_LIMIT = 10  # how many Twilio follows is not documented
_REDIRECTS = (301, 302, 303, 307, 308)
_EXCERPT_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Fetched:
    """A 2xx answer. `url` is where it came from, behind redirects."""

    url: str
    status: int
    ms: float
    content_type: str | None
    body: bytes = field(repr=False)


class FetchFailed(Exception):  # noqa: N818 - a fact about a webhook, not an error of ours
    """`code` is Twilio's; `status` and `head` of the answer, if one came."""

    def __init__(
        self,
        code: int,
        saw: str,
        ms: float,
        status: int | None = None,
        head: ResponseHead | None = None,
    ) -> None:
        super().__init__(saw)
        self.code = code
        self.saw = saw
        self.ms = ms
        self.status = status
        self.head = head


class Webhooks:
    """Requests of one call, or of several of one account."""

    def __init__(
        self, signer: Signer, detour: Detour, tls: ssl.SSLContext, patience: Patience
    ) -> None:
        self._signer = signer
        self._detour = detour
        self._tls = tls
        self._patience = patience

    async def fetch(
        self, url: str, method: str, params: Mapping[str, str], base: str | None = None
    ) -> Fetched:
        """Ask, and follow redirects. `url` may be relative to `base`. Raises FetchFailed."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def elapsed_ms() -> float:
            return round((loop.time() - began) * 1000, 1)

        token = str(uuid.uuid4())
        try:
            target = parse_url(url, base)
            if method == "GET" and params:
                joint = "&" if urlsplit(target.url).query else "?"
                target = parse_url(f"{target.url}{joint}{urlencode(params)}")
            form: Mapping[str, str] | None = params if method == "POST" else None
            for _ in range(REDIRECT_LIMIT + 1):
                left = max(began + self._patience.total_s - loop.time(), 0.001)
                answer = await self._ask(target, form, token, left)
                if answer.status not in _REDIRECTS:
                    return _checked(target, answer, elapsed_ms())
                target, form = _redirected(target, answer), None
        except Unanswered as failure:
            saw = failure.saw
            raise FetchFailed(webhook_code(failure.fault), saw, elapsed_ms()) from None
        except BadUrl as failure:
            raise FetchFailed(11100, failure.saw, elapsed_ms()) from None
        except _Refusal as failure:
            raise FetchFailed(
                failure.code, failure.saw, elapsed_ms(), failure.head.status, failure.head
            ) from None
        saw = f"more than {REDIRECT_LIMIT} redirects, the last to {target.path}"
        raise FetchFailed(11215, saw, elapsed_ms(), answer.status, answer.head)

    async def _ask(
        self, target: Target, form: Mapping[str, str] | None, token: str, seconds: float
    ) -> Answer:
        fields = [("Host", target.authority), ("User-Agent", USER_AGENT)]
        if target.user is not None:
            credentials = base64.b64encode(target.user.encode()).decode()
            fields.append(("Authorization", f"Basic {credentials}"))
        body = b""
        if form is not None:
            body = urlencode(form).encode()
            fields += [("Content-Length", str(len(body))), ("Content-Type", FORM_TYPE)]
        signature = self._signer.sign(target.url, form)
        if signature is not None:
            fields.append(("X-Twilio-Signature", signature))
        fields += [("I-Twilio-Idempotency-Token", token), ("Accept", "*/*")]
        method = "GET" if form is None else "POST"
        patience = replace(self._patience, total_s=seconds)
        return await ask(method, target, fields, body, self._detour, self._tls, patience)


class _Refusal(Exception):  # noqa: N818 - a fact about an answer
    def __init__(self, code: int, saw: str, head: ResponseHead) -> None:
        super().__init__(saw)
        self.code = code
        self.saw = saw
        self.head = head


def _checked(target: Target, answer: Answer, ms: float) -> Fetched:
    code = status_code(answer.status)
    if code is not None:
        saw = f"{answer.status} {answer.head.phrase}".strip()
        excerpt = answer.body[:_EXCERPT_LIMIT].decode(errors="replace").strip()
        raise _Refusal(code, f"{saw}: {excerpt}" if excerpt else saw, answer.head)
    content_type = answer.head.value("Content-Type")
    return Fetched(target.url, answer.status, ms, content_type, answer.body)


def _redirected(target: Target, answer: Answer) -> Target:
    location = answer.head.value("Location")
    if not location:
        raise _Refusal(11216, f"{answer.status} without a Location", answer.head)
    try:
        return parse_url(location, target.url)
    except BadUrl as failure:
        raise _Refusal(11216, f"{answer.status} to {failure.saw}", answer.head) from None
