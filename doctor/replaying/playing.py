"""A script played to a server: each line sent at its time, and what comes back received."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from doctor.replaying.script import Message, Script
from proxy.exports.captured import Captured
from proxy.frames import CLOSE, PING

OPEN_S = 15.0
# What a server may think about before it says the next thing, where nothing more is to be sent.
SILENCE_S = 3.0
MESSAGE_LIMIT = 1 << 20
RECEIVED_LIMIT = 100_000


@dataclass(slots=True)
class Replayed:
    """`status` is that of the handshake; `error` what went wrong before the end of the script."""

    status: int | None = None
    sent: int = 0
    received: list[Message] = field(default_factory=list)
    close_code: int | None = None
    error: str | None = None


async def play(
    script: Script,
    captured: Captured,
    url: str,
    *,
    is_fast: bool,
    progress: Callable[[float], None] = lambda _: None,
) -> Replayed:
    """Send the script, and take what comes. Never raises for what a server does."""
    row = captured.handshake
    names = str(row.get("subprotocols") or "").split(",")
    offered = [Subprotocol(name.strip()) for name in names if name.strip()]
    replayed = Replayed()
    try:
        async with connect(
            url,
            compression=None,
            user_agent_header=row.get("user_agent"),
            subprotocols=offered or None,
            open_timeout=OPEN_S,
            close_timeout=SILENCE_S,
            max_size=MESSAGE_LIMIT,
            ping_interval=None,
            proxy=None,
        ) as connection:
            replayed.status = 101
            hearing = asyncio.create_task(_hear(connection, replayed))
            try:
                await _send(connection, script, replayed, is_fast=is_fast, progress=progress)
                await _until_silent(hearing, replayed, len(script.expected))
            finally:
                hearing.cancel()
                with suppress(asyncio.CancelledError):
                    await hearing
    except InvalidStatus as error:
        replayed.status = error.response.status_code
        replayed.error = f"the handshake was answered with {replayed.status}"
    except (OSError, TimeoutError, WebSocketException) as error:
        replayed.error = str(error) or type(error).__name__
    return replayed


async def _send(
    connection: ClientConnection,
    script: Script,
    replayed: Replayed,
    *,
    is_fast: bool,
    progress: Callable[[float], None],
) -> None:
    began = time.monotonic()
    first = script.lines[0].at if script.lines else 0.0
    for number, line in enumerate(script.lines, 1):
        wait = 0.0 if is_fast else line.at - first - (time.monotonic() - began)
        await asyncio.sleep(max(wait, 0.0))
        try:
            if line.kind == CLOSE:
                if is_fast:  # the answers are still under way
                    await _until_silent(None, replayed, len(script.expected))
                await connection.close(line.code)
            elif line.kind == PING:
                await connection.ping(line.payload)
            else:
                await connection.send(line.payload)
        except ConnectionClosed:
            replayed.error = f"the server ended the stream before message {number} was sent"
            return
        replayed.sent += 1
        progress(number / len(script.lines))


async def _hear(connection: ClientConnection, replayed: Replayed) -> None:
    try:
        async for message in connection:
            if len(replayed.received) < RECEIVED_LIMIT:
                replayed.received.append(message)
    except ConnectionClosed:
        pass
    replayed.close_code = connection.close_code


async def _until_silent(
    hearing: "asyncio.Task[None] | None", replayed: Replayed, expected: int
) -> None:
    """Wait for the end, or until as much came as did then, or nothing comes any more."""
    heard, quiet_s = len(replayed.received), 0.0
    while quiet_s < SILENCE_S and not (hearing is not None and hearing.done()):
        if hearing is None and len(replayed.received) >= expected:
            return
        await asyncio.sleep(0.05)
        quiet_s = quiet_s + 0.05 if len(replayed.received) == heard else 0.0
        heard = len(replayed.received)
