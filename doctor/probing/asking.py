"""One HTTP/1.1 request to a hop on a connection of its own: heads as bytes, and what came back."""

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from doctor.evidence import Answer, Exchange, Fault, What
from doctor.probing.dial import Flaw, Line, Lost
from doctor.probing.showing import shown_pairs, shown_strange, shown_words
from doctor.probing.stamp import parse_stamp
from proxy.body import BodyCopy, response_body
from proxy.handshake import response_violations
from proxy.http1 import (
    Fields,
    Malformed,
    RequestHead,
    ResponseHead,
    head_end,
    parse_request_head,
    parse_response_head,
)
from proxy.probes import target_digest
from proxy.redact import shown_target

HEAD_LIMIT = 32 * 1024
BODY_LIMIT = 4096
BODY_S = 1.5  # for the beginning of a body, whose head is the evidence
# RFC 9113 section 3.4: a server's first frame is SETTINGS, on stream 0.
_HTTP2 = re.compile(rb"\0..\x04[\0\x01]\0\0\0\0", re.DOTALL)


@dataclass(slots=True)
class Switched:
    """A connection behind its 101, and the bytes that came right behind the head."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rest: bytearray

    def abort(self) -> None:
        self.writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Asked:
    """An exchange, the reason where it has a fault, and the stream where it was switched.

    `opened_ms` is what of the exchange's time went by until the connection stood, TLS included.
    """

    exchange: Exchange
    detail: str = ""
    switched: Switched | None = None
    opened_ms: float = 0.0


async def ask(
    line: Line,
    what: What,
    method: str,
    path: str,
    fields: Fields,
    answer_s: float,
    behind: bytes = b"",
) -> Asked:
    """Send a request; wait `answer_s` for its head and a moment for its body. Never raises.

    `behind` are bytes that leave together with the head, before any answer.
    """
    raw = head_bytes(method, path, fields)
    request = parse_request_head(raw)
    began = perf_counter()
    answer: Answer | None = None
    fault: Flaw = ""
    detail = first = ""
    switched = None
    opened = began
    try:
        reader, writer = await line.open()
        opened = perf_counter()
        sent = line.preface + request.raw + behind
        answer, switched = await _exchange(reader, writer, sent, request, answer_s)
    except Lost as lost:
        fault, detail = lost.fault, lost.detail
    except _Unreadable as strange:
        fault, detail, first = strange.fault, strange.detail, strange.first
    if answer is not None and what == "upgrade":
        fault, detail = judge_switch(answer)
    if switched is not None and (fault or what != "upgrade"):
        switched.abort()
        switched = None
    exchange = Exchange(
        what,
        method,
        shown_target(path),
        shown_pairs(request.fields),
        (perf_counter() - began) * 1000,
        answer,
        fault,
        first,
        target_digest=target_digest(path),
    )
    return Asked(exchange, detail, switched, (opened - began) * 1000)


def head_bytes(method: str, path: str, fields: Fields) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def judge_switch(answer: Answer) -> tuple[Flaw, str]:
    """What is wrong with the answer to an upgrade, if anything (RFC 6455 section 4.1)."""
    if answer.status != 101:
        return "not_upgraded", f"{answer.status} {answer.reason}".strip()
    for violation in answer.violations:
        said = f"{violation['field']}: saw {violation['saw']}, wanted {violation['wanted']}"
        if violation["field"] == "Sec-WebSocket-Accept":
            return "bad_accept", said
        # A length of 0 behind a 101 breaks a MUST NOT and no client that we know of.
        if (violation["field"], violation["saw"]) != ("Content-Length", "0"):
            return "bad_101", said
    return "", ""


class _Unreadable(Exception):  # noqa: N818 - a fact about a peer, not an error of ours
    """Bytes came, and they are no HTTP/1.x answer."""

    def __init__(self, fault: Fault, detail: str, data: bytes) -> None:
        super().__init__(detail)
        self.fault: Fault = fault
        self.detail = detail
        self.first = shown_strange(data)


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    sent: bytes,
    request: RequestHead,
    answer_s: float,
) -> tuple[Answer, Switched | None]:
    keep = False
    try:
        writer.write(sent)
        buffer = bytearray()
        try:
            async with asyncio.timeout(answer_s):
                head = await _read_head(reader, buffer)
        except TimeoutError:
            raise _silence(buffer, answer_s) from None
        keep = head.status == 101
        body = b"" if keep else await _read_body(reader, head, buffer, request.method)
        violations = response_violations(request, head)
        answer = Answer(
            head.status,
            head.phrase,
            head.version,
            shown_pairs(head.fields),
            shown_words(body.decode(errors="replace")),
            parse_stamp(head.values("Proxy-Status")),
            tuple(violation.line() for violation in violations),
        )
        return answer, Switched(reader, writer, buffer) if keep else None
    finally:
        if not keep:
            writer.transport.abort()


async def _read_head(reader: asyncio.StreamReader, buffer: bytearray) -> ResponseHead:
    """The final head (or 101). Raises Lost and _Unreadable."""
    while True:
        try:
            while not (end := head_end(buffer)):
                _look_at_start(buffer)
                if len(buffer) > HEAD_LIMIT:
                    raise Malformed(f"the head is longer than {HEAD_LIMIT} bytes")
                await _more(reader, buffer)
            head = parse_response_head(bytes(buffer[:end]))
        except Malformed as malformed:
            raise _Unreadable("not_http", malformed.reason, bytes(buffer)) from None
        del buffer[:end]
        if head.status >= 200 or head.status == 101:
            return head


def _look_at_start(buffer: bytearray) -> None:
    """Tell what is no HTTP by its first bytes, rather than wait for an end that never comes."""
    if _HTTP2.match(buffer):
        raise _Unreadable("http2", "it speaks HTTP/2 and nothing else", bytes(buffer))
    if buffer[:1] == b"\x15":
        raise _Unreadable("not_http", "a TLS alert: the port wants TLS", bytes(buffer))
    # Nine bytes are a frame's header, by which HTTP/2 is told.
    is_http = b"HTTP/".startswith(buffer[:5])
    if not is_http and (len(buffer) >= 9 or buffer[:1] != b"\0"):
        raise _Unreadable("not_http", "the answer is not HTTP", bytes(buffer))


def _silence(buffer: bytearray, seconds: float) -> Exception:
    if buffer:
        detail = f"the head of the answer was not whole after {seconds:g} s"
        return _Unreadable("timeout", detail, bytes(buffer))
    return Lost("timeout", f"connected, and no answer in {seconds:g} s")


async def _more(reader: asyncio.StreamReader, buffer: bytearray) -> None:
    try:
        data = await reader.read(65536)
    except ConnectionResetError:
        raise _ended("reset", "the connection was reset", buffer) from None
    except ssl.SSLError as error:  # TLS 1.3: a client certificate is asked for behind the handshake
        raise _ended("tls_alert", f"TLS ended: {error.reason or error}", buffer) from None
    except OSError as error:
        raise _ended("reset", f"the connection broke: {error}", buffer) from None
    if not data:
        raise _ended("eof", "the connection was closed", buffer)
    buffer += data


def _ended(fault: Fault, said: str, buffer: bytearray) -> Exception:
    if buffer:
        return _Unreadable(fault, f"{said} within the answer's head", bytes(buffer))
    return Lost(fault, f"{said} before any answer")


async def _read_body(
    reader: asyncio.StreamReader, head: ResponseHead, buffer: bytearray, method: str
) -> bytes:
    """The beginning of a body, as much as comes in time."""
    copy = BodyCopy(1 << 30)
    with suppress(Malformed, Lost, _Unreadable, TimeoutError):
        body = response_body(head, method)
        body.copy = copy
        async with asyncio.timeout(BODY_S):
            while True:
                del buffer[: body.receive_data(buffer)]
                if body.is_complete or len(copy.data) >= BODY_LIMIT:
                    break
                await _more(reader, buffer)
    return bytes(copy.data[:BODY_LIMIT])
