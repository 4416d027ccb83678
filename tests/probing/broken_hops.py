"""Small broken hops for the probes, on the loop of the test: what a peer says, byte for byte.

doctor ---- Hop (one handler a connection) ---- sidecar (in a thread), where the handler dials it
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from calls.certificates import OURS
from doctor.evidence import Answer, Hop, Probe
from doctor.probing import ProbeOptions, probe_chain
from peers import RunningSidecar
from proxy.handshake import accept_value
from proxy.http1 import RequestHead, parse_request_head

Handler = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection of the doctor's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> RequestHead:
        return parse_request_head(await self.reader.readuntil(b"\r\n\r\n"))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, *lines: str, body: str = "") -> None:
        head = "\r\n".join((f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
        await self.say(f"{head}\r\n\r\n{body}".encode())

    async def switch(self, head: RequestHead, *lines: str) -> None:
        await self.say(switching(head, *lines))

    async def linger(self) -> None:
        """Wait until the doctor hangs up."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def switching(head: RequestHead, *lines: str) -> bytes:
    """A 101; lines given replace those of their name."""
    accept = accept_value(head.value("Sec-WebSocket-Key") or "")
    usual = {
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-accept": f"Sec-WebSocket-Accept: {accept}",
    }
    for line in lines:
        usual[line.partition(":")[0].lower()] = line
    said = [line for line in usual.values() if line.partition(":")[2].strip()]
    return ("\r\n".join(("HTTP/1.1 101 Switching Protocols", *said)) + "\r\n\r\n").encode()


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A hop that does what `handler` does with every connection; its port."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await handler(Peer(reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


def tls_server(tmp_path: Path, pem: str = OURS, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    file = tmp_path / "server.pem"
    file.write_text(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


QUICK = {"connect_s": 2.0, "answer_s": 0.6, "echo_s": 0.5}


def chain(hops: Sequence[Hop], **options: object) -> tuple[Probe, ...]:
    """Probe hops that run elsewhere."""
    return asyncio.run(
        probe_chain(hops, ProbeOptions(**QUICK | options), lambda _: None)  # type: ignore[arg-type]
    )


def probe(
    handler: Handler,
    sidecar: RunningSidecar | None = None,
    tls: ssl.SSLContext | None = None,
    *,
    scheme: str = "",
    **options: object,
) -> Probe:
    """Probe one hop that does what `handler` does, in front of a sidecar if there is one."""
    if sidecar is not None:
        options = {"admin": admin_of(sidecar)} | options

    async def run() -> Probe:
        async with serving(handler, tls) as port:
            usual = "http" if tls is None else "https"
            hop = Hop("front", "other", f"{scheme or usual}://127.0.0.1:{port}")
            told = ProbeOptions(**QUICK | options)  # type: ignore[arg-type]
            [found] = await probe_chain([hop], told, lambda _: None)
            return found

    return asyncio.run(run())


def admin_of(sidecar: RunningSidecar) -> str:
    return f"http://127.0.0.1:{sidecar.admin_port}"


# -- a hop that passes requests on to the sidecar, and meddles with the frames that come back ------

Meddle = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def passing(
    sidecar: RunningSidecar,
    *,
    request: Callable[[bytes], bytes] = lambda head: head,
    response: Callable[[bytes], bytes] = lambda head: head,
    frames: Meddle | None = None,
    asks: Meddle | None = None,
) -> Handler:
    """A proxy: heads go through `request` and `response`, what the server says frame by frame
    through `frames`, what the client says through `asks`."""

    async def handle(peer: Peer) -> None:
        raw = await peer.reader.readuntil(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        try:
            writer.write(request(raw))
            head = await reader.readuntil(b"\r\n\r\n")
            await peer.say(response(head))
            is_stream = b" 101 " in head
            await asyncio.gather(
                _pump(reader, peer.writer, frames if is_stream else None),
                _pump(peer.reader, writer, asks if is_stream else None),
            )
        finally:
            writer.close()

    return handle


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, meddle: Meddle | None
) -> None:
    buffer = b""
    with suppress(OSError):
        while data := await reader.read(65536):
            if meddle is None:
                writer.write(data)
                continue
            buffer += data
            while frame := _first_frame(buffer):
                buffer = buffer[len(frame) :]
                await meddle(frame, writer)
            await writer.drain()
    writer.close()


def _first_frame(data: bytes) -> bytes:
    """The first whole frame, masked or not; b"" while it is not whole."""
    if len(data) < 2:
        return b""
    length, size = data[1] & 127, 2
    if length >= 126:
        size = 4 if length == 126 else 10
        length = int.from_bytes(data[2:size], "big")
    size += 4 if data[1] & 128 else 0
    return data[: size + length] if len(data) >= size + length else b""


def payload_of(frame: bytes) -> bytes:
    """Of an unmasked frame."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def first_fault(found: Probe) -> tuple[str, str]:
    """The phase that went wrong first, and how."""
    assert found.broken is not None, found
    return found.broken.name, found.broken.fault


def answer_of(found: Probe) -> Answer:
    """What the upgrade got."""
    assert found.upgrade is not None
    assert found.upgrade.answer is not None
    return found.upgrade.answer


def faults(found: Probe) -> Iterator[tuple[str, str]]:
    """The phases that went wrong, by name."""
    return ((phase.name, phase.fault) for phase in found.phases if phase.fault)
