"""A text message of a stream without what may be secret in it (pure).

On the hot path of a capture: mostly there is nothing to hide, and then nothing is made anew.
"""

import json
import re
from typing import Any

from proxy.redact import HIDDEN, shown_text

# What JSON nests deeper than this is hidden without being looked at.
DEPTH_LIMIT = 40
_SECRET_KEY = re.compile(
    r"token|secret|passw|authori[sz]ation|api_?key|signature|cookie|credential", re.IGNORECASE
)
# Keys of Twilio's messages, which pass fifty times a second: none of them is a secret's.
_HARMLESS = frozenset(
    """
    callSid accountSid chunk connected event mark media name payload sequenceNumber start stop
    streamSid timestamp track tracks
    """.split()
)
_NESTED = frozenset({dict, list})


class _RepeatedKey(Exception):  # noqa: N818 - nothing is wrong, but one of the values is not seen
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedKey
    return found


_decode = json.JSONDecoder(object_pairs_hook=_object).raw_decode


def searched_text(payload: bytes) -> bytes:
    """The text without what may be secret; to the byte the same where there is nothing."""
    try:
        message = _parsed(payload)
    except _RepeatedKey:  # of which a reader sees one value, and who knows which
        return json.dumps(HIDDEN).encode()
    except (ValueError, RecursionError):
        text = payload.decode(errors="surrogateescape")
        return shown_text(text).encode(errors="surrogateescape")
    if not _may_hold_secret(message):
        return payload
    hidden = _hide(message)
    return payload if hidden == message else json.dumps(hidden, separators=(",", ":")).encode()


def _parsed(payload: bytes) -> Any:
    """What json.loads gives. Raises ValueError, RecursionError, _RepeatedKey."""
    if payload[:1] == b"{" and payload[1:2] != b"\0":  # UTF-8, as json.detect_encoding tells it
        text = payload.decode("utf-8", "surrogatepass")
        message, end = _decode(text)
        if end == len(text):
            return message
    return json.loads(payload, object_pairs_hook=_object)


def _may_hold_secret(value: Any, depth: int = 0) -> bool:
    """Whether _hide may find anything: mostly not, and then nothing need be made anew."""
    if depth >= DEPTH_LIMIT:
        return True
    if isinstance(value, list):
        return any(_may_hold_secret(item, depth + 1) for item in value)
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _HARMLESS and _is_secret(key, item):
                return True
            if type(item) in _NESTED and _may_hold_secret(item, depth + 1):
                return True
    return False


def _is_secret(key: str, item: Any) -> bool:
    # Twilio's <Parameter>s are where one-time tokens go, since the query of a stream is dropped.
    if key == "customParameters" and isinstance(item, dict):
        return True
    return item is not None and _SECRET_KEY.search(key) is not None


def _hide(value: Any, depth: int = 0) -> Any:
    if depth > DEPTH_LIMIT:
        return HIDDEN
    if isinstance(value, dict):
        return {key: _hide_entry(key, item, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item, depth + 1) for item in value]
    return value


def _hide_entry(key: str, item: Any, depth: int) -> Any:
    if _is_secret(key, item):
        return dict.fromkeys(item, HIDDEN) if key == "customParameters" else HIDDEN
    return _hide(item, depth + 1)
