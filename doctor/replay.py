"""The client's side of a captured stream, played again, and what the server answers now.

    capture --> script (pure) --> play: send at its times, receive --> compare (pure) --> Replayed

Messages are compared, not frames: how a server cuts them, and when they come, differs from run to
run.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from proxy.exports.captured import Captured
from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, parse_close
from proxy.redact import HIDDEN

OPEN_S = 15.0
# What a server may think about before it says the next thing, where nothing more is to be sent.
SILENCE_S = 3.0
MESSAGE_LIMIT = 1 << 20
RECEIVED_LIMIT = 100_000
DIFFERENCES_SHOWN = 20
_LENGTH_SHOWN = 200

Message = str | bytes


@dataclass(frozen=True, slots=True)
class Line:
    """One thing the client does. `at` is seconds since the 101; a Close has `code`."""

    at: float
    kind: int
    payload: Message = b""
    code: int = 1000


@dataclass(frozen=True, slots=True)
class Script:
    """What is sent, what came back then, and what of both the capture does not hold."""

    lines: Sequence[Line]
    expected: Sequence[Message]
    close_code: int | None
    missing: Sequence[str] = ()


@dataclass(slots=True)
class Replayed:
    """`status` is that of the handshake; `error` what went wrong before the end of the script."""

    status: int | None = None
    sent: int = 0
    received: list[Message] = field(default_factory=list)
    close_code: int | None = None
    error: str | None = None


def write_script(captured: Captured, parameters: Mapping[str, str]) -> Script:
    """`parameters` are put into Twilio's start message, where the capture hides them."""
    lines: list[Line] = []
    expected: list[Message] = []
    missing: list[str] = []
    close_code = None
    parts: dict[str, list[bytes | None]] = {"client": [], "server": []}
    kinds = {"client": TEXT, "server": TEXT}
    for number, frame in enumerate(captured.frames, 1):
        sender = frame.sender
        if frame.opcode == CLOSE:
            code = parse_close(frame.payload or b"").code
            if sender == "client":
                lines.append(Line(frame.at, CLOSE, code=code or 1000))
            else:
                close_code = code
        elif frame.opcode == PING and sender == "client":
            lines.append(Line(frame.at, PING, frame.payload or b""))
        elif frame.opcode in (TEXT, BINARY, CONTINUATION):
            if frame.opcode != CONTINUATION:
                kinds[sender] = frame.opcode
            parts[sender].append(frame.payload)
            if not frame.fin:
                continue
            whole, parts[sender] = parts[sender], []
            if None in whole:
                missing.append(f"message {number} of the {sender}: {frame.note}")
                continue
            message = _message(kinds[sender], b"".join(part or b"" for part in whole))
            if sender == "server":
                expected.append(message)
                continue
            filled = _filled(message, parameters)
            if HIDDEN in str(filled):
                missing.append(f"message {number} of the client holds what was hidden")
            lines.append(Line(frame.at, kinds[sender], filled))
    return Script(lines, expected, close_code, missing)


def _message(kind: int, payload: bytes) -> Message:
    return payload.decode(errors="replace") if kind == TEXT else payload


def _filled(message: Message, parameters: Mapping[str, str]) -> Message:
    if not parameters or not isinstance(message, str) or '"customParameters"' not in message:
        return message
    try:
        told = json.loads(message)
        told["start"]["customParameters"] |= parameters
    except (ValueError, KeyError, TypeError):
        return message
    return json.dumps(told, separators=(",", ":"))


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


def compare(script: Script, replayed: Replayed) -> list[dict[str, Any]]:
    """What came otherwise than it did then: {message, expected, got}; `message` is its number."""
    then, now = script.expected, replayed.received
    found = [
        {"message": number, "expected": _shown(before), "got": _shown(after)}
        for number, (before, after) in enumerate(zip(then, now, strict=False), 1)
        if not _is_same(before, after)
    ]
    for number in range(min(len(then), len(now)) + 1, max(len(then), len(now)) + 1):
        before = _shown(then[number - 1]) if number <= len(then) else None
        after = _shown(now[number - 1]) if number <= len(now) else None
        found.append({"message": number, "expected": before, "got": after})
    return found


def _is_same(before: Message, after: Message) -> bool:
    """Equal as bytes, or as JSON."""
    if before == after:
        return True
    if not isinstance(before, str) or not isinstance(after, str):
        return False
    try:
        return bool(json.loads(before) == json.loads(after))
    except (ValueError, RecursionError):
        return False


def _shown(message: Message) -> str:
    text = message if isinstance(message, str) else f"{len(message)} bytes: {message[:40].hex()}"
    return text if len(text) <= _LENGTH_SHOWN else f"{text[:_LENGTH_SHOWN]}..."
