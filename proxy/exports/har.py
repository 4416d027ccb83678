"""A HAR 1.2 file with Chrome's `_webSocketMessages`, which DevTools and others open (pure).

www.softwareishard.com/blog/har-12-spec; the messages as Chrome's own export has them: `type` is
send or receive as the client sees it, `time` an epoch second, `data` text, or base64 for binary.
"""

import base64
from importlib import metadata
from typing import Any

from proxy.capture import Frame
from proxy.exports.captured import Captured
from proxy.frames import BINARY, CONTINUATION, TEXT
from proxy.redact import HIDDEN

_TYPES = {"client": "send", "server": "receive"}


def har(captured: Captured) -> dict[str, Any]:
    """The whole document."""
    creator = {"name": "hopscope", "version": metadata.version("hopscope")}
    return {"log": {"version": "1.2", "creator": creator, "entries": [_entry(captured)]}}


def _entry(captured: Captured) -> dict[str, Any]:
    row = captured.handshake
    phases = {name: ms or 0 for name, ms in row["phases_ms"].items()}
    return {
        "startedDateTime": row["at"],
        "time": phases.get("total", 0),
        "request": {
            "method": row["method"] or "",
            "url": _url(row),
            "httpVersion": f"HTTP/{row['http_version'] or '1.1'}",
            "cookies": [],
            "headers": _headers(row.get("request_head")),
            "queryString": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": row["status"] or 0,
            "statusText": "Switching Protocols" if row["status"] == 101 else "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _headers(row.get("response_head")),
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {
            "connect": phases.get("connect", 0),
            "send": phases.get("head", 0),
            "wait": phases.get("response", 0),
            "receive": 0,
        },
        "_resourceType": "websocket",
        "_webSocketMessages": messages(captured),
        "comment": f"{row['id']}: {row['outcome']} by way of {row['ingress']}",
    }


def messages(captured: Captured) -> list[dict[str, Any]]:
    """The data messages in their order; those that were not kept are left out."""
    told = []
    parts: dict[str, list[Frame]] = {"client": [], "server": []}
    for frame in captured.frames:
        if frame.opcode not in (TEXT, BINARY, CONTINUATION):
            continue
        waiting = parts[frame.sender]
        waiting.append(frame)
        if not frame.fin:
            continue
        if waiting[0].opcode != CONTINUATION and all(part.payload is not None for part in waiting):
            payload = b"".join(part.payload or b"" for part in waiting)
            told.append(_message(waiting[0].opcode, payload, frame, captured.switched_at))
        waiting.clear()
    return told


def _message(opcode: int, payload: bytes, last: Frame, switched_at: float) -> dict[str, Any]:
    is_text = opcode == TEXT
    data = payload.decode(errors="replace") if is_text else base64.b64encode(payload).decode()
    return {
        "type": _TYPES[last.sender],
        "time": round(switched_at + last.at, 6),
        "opcode": opcode,
        "data": data,
    }


def _url(row: dict[str, Any]) -> str:
    secure = (row.get("headers") or {}).get("X-Forwarded-Proto") in ("https", "wss")
    return f"{'wss' if secure else 'ws'}://{row['host'] or 'unknown'}{row['target'] or '/'}"


def _headers(pairs: list[list[str | None]] | None) -> list[dict[str, str]]:
    return [{"name": name or "", "value": HIDDEN if v is None else v} for name, v in pairs or []]
