"""What the client of a captured stream sent and when, and what it was answered (pure)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.exports.captured import Captured
from proxy.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, parse_close
from proxy.redact import HIDDEN

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
