"""One HTTP/1.1 request on a connection of its own, and what came back, as it came."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from doctor.addresses import Detour, Target
from doctor.dial import Patience, Unanswered, connect
from proxy.body import BodyCopy, response_body
from proxy.http1 import Malformed, ResponseHead, head_end, parse_response_head

HEAD_LIMIT = 32 * 1024
BODY_LIMIT = 8 << 20  # audio that <Play> fetches; TwiML has a smaller limit of its own
_INFORMATIONAL = range(102, 200)

# Header fields of a response that tell who answered.
_TELLING = (
    "proxy-status server via location cf-ray ngrok-error-code x-powered-by content-type"
).split()

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response. `is_cut`: the body was longer than is kept."""

    head: ResponseHead = field(repr=False)
    body: bytes = field(repr=False)
    is_cut: bool = False

    @property
    def status(self) -> int:
        return self.head.status


def answered_by(head: ResponseHead) -> dict[str, str]:
    """What a response tells of the hop that made it."""
    return {name: value for name in _TELLING if (value := head.value(name)) is not None}


def request_head(method: str, path: str, fields: Fields) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def ask(
    method: str,
    target: Target,
    fields: Fields,
    body: bytes,
    detour: Detour,
    tls: ssl.SSLContext | None,
    patience: Patience,
) -> Answer:
    """Send a request and read the response to its end. Raises Unanswered."""
    end = asyncio.get_running_loop().time() + patience.total_s
    context = tls if detour.is_secure(target) else None
    reader, writer = await connect(detour.address(target), context, target.address.host, patience)
    try:
        async with asyncio.timeout_at(end):
            writer.write(request_head(method, target.path, fields) + body)
            return await _read(reader, method)
    except TimeoutError:
        saw = f"{target.address} was connected and gave no whole answer in {patience.total_s:g} s"
        raise Unanswered("silent", saw) from None
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without waiting for the peer."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def read_head(
    reader: asyncio.StreamReader, buffer: bytearray | None = None
) -> tuple[ResponseHead, bytearray]:
    """The next final response head (or 101), and what came behind it. Raises Unanswered."""
    buffer = bytearray() if buffer is None else buffer
    while True:
        try:
            while not (end := head_end(buffer)):
                if len(buffer) > HEAD_LIMIT:
                    raise Malformed(f"the response head is longer than {HEAD_LIMIT} bytes")
                await _more(reader, buffer)
            head = parse_response_head(bytes(buffer[:end]))
        except Malformed as fault:
            saw = f"{fault.reason}: {bytes(buffer[:60])!r}"
            raise Unanswered("not_http", saw) from None
        del buffer[:end]
        if head.status != 100 and head.status not in _INFORMATIONAL:
            return head, buffer


async def read_body(
    reader: asyncio.StreamReader, head: ResponseHead, buffer: bytearray, method: str, limit: int
) -> tuple[bytes, bool]:
    """The body behind a head, up to a limit, and whether it was cut. Raises Unanswered."""
    try:
        body = response_body(head, method)
        body.copy = BodyCopy(limit)
        while True:
            del buffer[: body.receive_data(buffer)]
            if body.is_complete or body.copy.is_cut:
                return bytes(body.copy.data), body.copy.is_cut
            try:
                await _more(reader, buffer)
            except Unanswered as fault:
                body.receive_eof()
                if fault.fault == "closed" and body.is_complete:
                    return bytes(body.copy.data), False
                raise
    except Malformed as fault:
        raise Unanswered("not_http", fault.reason) from None


async def _read(reader: asyncio.StreamReader, method: str) -> Answer:
    head, rest = await read_head(reader)
    body, is_cut = await read_body(reader, head, rest, method, BODY_LIMIT)
    return Answer(head, body, is_cut)


async def _more(reader: asyncio.StreamReader, buffer: bytearray) -> None:
    try:
        data = await reader.read(65536)
    except ConnectionResetError:
        raise Unanswered("reset", "the connection was reset before the answer was whole") from None
    except OSError as error:
        raise Unanswered("reset", f"the connection broke: {error}") from None
    if not data:
        raise Unanswered("closed", "the connection was closed before the answer was whole")
    buffer += data
