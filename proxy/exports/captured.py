"""One captured stream as it left the admin API: its handshake, then its frames (pure).

The lines of JSON are also what `hopscope export --jsonl` writes and `hopscope replay` plays.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proxy.capture import Frame, parse_frame


@dataclass(frozen=True, slots=True)
class Captured:
    """`dropped` frames stood before the first one and made room."""

    handshake: dict[str, Any]
    frames: Sequence[Frame] = ()
    dropped: int = 0

    @property
    def requested_at(self) -> float:
        """The epoch second when the request came."""
        return datetime.fromisoformat(self.handshake["at"]).timestamp()

    @property
    def switched_at(self) -> float:
        """The epoch second of the 101, from which frames count their time."""
        return self.requested_at + (self.handshake["phases_ms"].get("total") or 0) / 1000


def parse_lines(lines: Iterable[str]) -> Captured:
    """Read what `hopscope export --jsonl` wrote. Raises ValueError, naming the line."""
    parsed: list[Any] = []
    try:
        parsed.extend(json.loads(line) for line in lines)
    except UnicodeDecodeError:
        raise ValueError("is no text; `hopscope export --jsonl` writes what is read here") from None
    except (ValueError, RecursionError):
        raise ValueError(f"line {len(parsed) + 1} is no JSON") from None
    if not parsed or not isinstance(parsed[0], dict) or parsed[0].get("hopscope") != "capture":
        raise ValueError(
            "line 1 is not the head of a capture; `hopscope export --jsonl` writes one"
        )
    frames = []
    for number, line in enumerate(parsed[1:], 2):
        try:
            frames.append(parse_frame(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"line {number} is no frame") from None
    return Captured(parsed[0].get("handshake") or {}, tuple(frames), parsed[0].get("dropped") or 0)
