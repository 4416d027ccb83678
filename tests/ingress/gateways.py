"""WebSocket servers of the `websockets` library, each a process of its own: what stands behind.

Run as `python gateways.py NAME`: it prints its port and serves until it is ended.
"""

import asyncio
import base64
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Data

SILENCE = base64.b64encode(b"\xff" * 160).decode()


async def echo(connection: ServerConnection) -> None:
    """Answer every message with itself, fragment by fragment; "close CODE REASON" closes."""
    try:
        while True:
            message = b"".join([fragment async for fragment in _bytes(connection)])
            if message.startswith(b"close "):
                _, code, reason = message.decode().split(" ", 2)
                await connection.close(int(code), reason)
                return
            is_text = message[:5] != b"\0bin\0"
            await connection.send(message.decode() if is_text else message)
    except ConnectionClosed:
        return


async def agent(connection: ServerConnection) -> None:
    """A voice agent that answers the caller's first words with half a second and a mark."""
    heard = 0
    try:
        async for text in connection:
            message = json.loads(text)
            if message["event"] == "media":
                heard += 1
                if heard == 10:
                    await _speak(connection, message["streamSid"])
            elif message["event"] == "stop":
                return
    except ConnectionClosed:
        return


async def _speak(connection: ServerConnection, stream_sid: str) -> None:
    envelope = {"streamSid": stream_sid}
    for _ in range(25):
        media = {"event": "media"} | envelope | {"media": {"payload": SILENCE}}
        await connection.send(json.dumps(media))
    await connection.send(json.dumps({"event": "mark", "mark": {"name": "said"}} | envelope))


async def _bytes(connection: ServerConnection) -> AsyncIterator[bytes]:
    fragment: Data
    async for fragment in connection.recv_streaming():
        yield fragment.encode() if isinstance(fragment, str) else fragment


def _answer_plain(connection: ServerConnection, request: Request) -> Response | None:
    """Plain requests get 200 without `Connection: close`, so that hops keep their connections."""
    if request.path != "/plain":
        return None
    response = connection.respond(200, "plain\n")
    del response.headers["Connection"]
    return response


def serve_in_order() -> None:
    """An echo for Autobahn's cases whose answers do not depend on how TCP cut the stream.

    Other servers answer a message and then fail on the next frame, or fail at once if both came
    in one segment, and their verdicts vary from run to run.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_echo_in_order, args=(sock,), daemon=True).start()


def _echo_in_order(sock: socket.socket) -> None:
    protocol = ServerProtocol(max_size=None)
    fragments = b""
    opcode = Opcode.TEXT
    with sock, suppress(OSError):
        while protocol.state is not State.CLOSED and (data := sock.recv(65536)):
            for byte in data:
                protocol.receive_data(bytes([byte]))
                for event in protocol.events_received():
                    if isinstance(event, Request):
                        protocol.send_response(protocol.accept(event))
                    elif isinstance(event, Frame) and event.opcode in (
                        Opcode.TEXT,
                        Opcode.BINARY,
                        Opcode.CONT,
                    ):
                        opcode = opcode if event.opcode is Opcode.CONT else event.opcode
                        fragments += event.data
                        if event.fin and protocol.state is State.OPEN:
                            _answer(protocol, opcode, fragments)
                            fragments = b""
                for out in protocol.data_to_send():
                    sock.sendall(out) if out else sock.shutdown(socket.SHUT_WR)


def _answer(protocol: ServerProtocol, opcode: Opcode, message: bytes) -> None:
    if opcode is Opcode.BINARY:
        protocol.send_binary(message)
        return
    try:
        message.decode()
    except UnicodeDecodeError:
        protocol.fail(CloseCode.INVALID_DATA)
    else:
        protocol.send_text(message)


async def main(name: str) -> None:
    handler = {"echo": echo, "agent": agent}[name]
    async with serve(
        handler,
        "127.0.0.1",
        0,
        process_request=_answer_plain,
        compression=None if name == "agent" else "deflate",
        max_size=4 << 20,
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "in_order":
        serve_in_order()
    else:
        asyncio.run(main(sys.argv[1]))
