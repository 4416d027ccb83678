"""Checks a JSON value against the facts of Twilio's OpenAPI documents in tests/openapi."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_FOLDER = Path(__file__).parent / "openapi"
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def read_facts(name: str) -> dict[str, Any]:
    """The facts of one resource, by operation: calls, alerts, notifications, events."""
    facts: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    return facts


def differences(value: object, schema: Any, facts: dict[str, Any], at: str = "") -> Iterator[str]:
    """What the value has that the schema forbids, and lacks that it names; one line each."""
    if isinstance(schema, str):
        schema = facts[schema]
    if value is None:
        if not schema.get("nullable"):
            yield f"{at or '.'}: null"
        return
    if "type" not in schema:  # whatever it likes: the request and the answer of a call's event
        return
    kind = _TYPES[schema["type"]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        yield f"{at or '.'}: {value!r} is no {schema['type']}"
        return
    if isinstance(value, dict):
        named = schema.get("properties")
        if named is not None:
            yield from (f"{at}.{name}: missing" for name in named if name not in value)
            yield from (f"{at}.{name}: not in the document" for name in value if name not in named)
            for name in named.keys() & value.keys():
                yield from differences(value[name], named[name], facts, f"{at}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from differences(item, schema["items"], facts, f"{at}[{index}]")
    elif isinstance(value, str):
        yield from (f"{at or '.'}: {value!r} {wrong}" for wrong in _string_faults(value, schema))


def _string_faults(value: str, schema: dict[str, Any]) -> Iterator[str]:
    if value not in schema.get("enum", [value]):
        yield f"is none of {schema['enum']}"
    if re.search(schema.get("pattern", ""), value) is None:
        yield f"does not match {schema['pattern']}"
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"has {len(value)} characters"
    wanted = schema.get("format")
    if wanted is not None and not _FORMATS[wanted](value):
        yield f"is no {wanted}"


def _is_rfc2822(value: str) -> bool:
    try:
        return parsedate_to_datetime(value).utcoffset() is not None and value.endswith("+0000")
    except ValueError:
        return False


def _is_iso8601(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


def _is_uri(value: str) -> bool:
    """Twilio's lists of 2010 call relative references URIs as well (RFC 3986 section 4.2)."""
    parts = urlsplit(value)
    return parts.path.startswith("/") and (bool(parts.hostname) or not parts.scheme)


_FORMATS: dict[str, Callable[[str], bool]] = {
    "currency": lambda value: re.fullmatch("[A-Z]{3}", value) is not None,
    "date-time": _is_iso8601,
    "date-time-rfc-2822": _is_rfc2822,
    "http-method": lambda value: value in ("GET", "POST"),
    "uri": _is_uri,
}
