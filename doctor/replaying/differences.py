"""What a server answers otherwise than it did then (pure).

Messages are compared, not frames: how a server cuts them, and when they come, differs from run to
run.
"""

import json
from collections.abc import Sequence
from typing import Any

from doctor.replaying.script import Message

_LENGTH_SHOWN = 200


def compare(then: Sequence[Message], now: Sequence[Message]) -> list[dict[str, Any]]:
    """What came otherwise than it did then: {message, expected, got}; `message` is its number."""
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
