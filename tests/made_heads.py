"""A webhook and its answer as they may be on the wire, and requests made to measure."""

import pytest
from hypothesis import settings

from proxy.http1 import (
    Malformed,
    parse_request_head,
)

WEBHOOK = (
    b"POST /voice/webhook?a=1&b=%2F HTTP/1.1\r\n"
    b"HOST: voice.example.com\r\n"
    b"x-Odd-cAse:   padded \t\r\n"
    b"Via: 1.1 a\r\n"
    b"Empty:\r\n"
    b"Latin: caf\xe9\r\n"
    b"via: 1.1 b,1.1 c\r\n"
    b"Content-Length: 3\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 All Right\r\n"
    b"Content-type: text/xml\r\n"
    b"Set-Cookie: a=1\r\n"
    b"set-cookie: b=2\r\n"
    b"Content-Length: 0\r\n\r\n"
)
quickly = settings(derandomize=True, deadline=None, max_examples=25)


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n"


def refusal(raw: bytes) -> str:
    with pytest.raises(Malformed) as refused:
        parse_request_head(raw)
    assert refused.value.reason == str(refused.value)
    return refused.value.reason
