"""One request and its answer: what it must be before anybody looks into it, and what all share."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.stamp import SERVER

FORM_TYPE = "application/x-www-form-urlencoded"
FIELDS_LIMIT = 200  # Twilio's forms have some thirty
VALUE_LIMIT = 2048
# All answers close: the first line of a connection decides what it speaks (gateway/port.py).
_HEADERS = {
    "Server": SERVER,
    "Connection": "close",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

Form = dict[str, list[str]]


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """A request is answered with this status and text, and not looked at any further."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, dict(headers or {})


def answer(
    status: int,
    text: str = "",
    content_type: str = "text/plain",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A response that ends its connection."""
    response = web.Response(status=status, headers={**_HEADERS, **(headers or {})})
    if text:
        response.content_type, response.charset = content_type, "utf-8"
        response.text = text
    response.force_close()
    return response


def answer_json(
    status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> web.Response:
    return answer(status, json.dumps(value) + "\n", "application/json", headers)


def target_of(request: web.BaseRequest) -> str:
    """Path and query letter for letter, as signatures need them."""
    # A proxy is asked with the whole URL, and some pass it on so (RFC 9112 section 3.2.2).
    return re.sub(r"^https?://[^/?]*", "", request.raw_path) or "/"


def check_method(request: web.BaseRequest, allowed: Sequence[str], hint: str = "") -> None:
    """Raises Refusal."""
    if request.method not in allowed:
        text = f"{request.method} is not for this path; {' or '.join(allowed)} is. {hint}".rstrip()
        raise Refusal(405, f"{text}\n", {"Allow": ", ".join(allowed)})


async def read_body(
    request: web.BaseRequest, content_type: str, limit_bytes: int, limit_s: float
) -> bytes:
    """The body of a request of this type. Raises Refusal, or ConnectionError if the client left."""
    if request.content_type != content_type:
        raise Refusal(415, f"the body should be {content_type}, not {request.content_type}\n")
    too_large = Refusal(413, f"the body is longer than {limit_bytes} bytes\n")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limit_s):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > limit_bytes:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, f"the body was not here within {limit_s:g} s\n") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise Refusal(
            400, "the body cannot be read: its chunks or its encoding are broken\n"
        ) from (None)
    return bytes(body)


def parse_form(body: bytes) -> Form:
    """The fields of a form, in bounded number. Raises Refusal."""
    try:
        return parse_qs(
            body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_LIMIT
        )
    except ValueError:
        raise Refusal(413, f"the form has more than {FIELDS_LIMIT} fields\n") from None


def parse_query(target: str) -> Form:
    """The query of a target; {} for one that nobody of ours has made."""
    try:
        return parse_qs(target.partition("?")[2], max_num_fields=FIELDS_LIMIT)
    except ValueError:
        return {}


def field(form: Mapping[str, Sequence[str]], name: str) -> str:
    """The first value of a field, cut to what Twilio would ever send; "" without one."""
    return (form.get(name) or [""])[0][:VALUE_LIMIT]
