"""Log lines as spans: an exchange with its phases, a session, a gateway's call with its turns.

Attributes have the names of OpenTelemetry's semantic conventions where there is one (HTTP spans,
1.23 and later), and hopscope.* otherwise. They are made of nothing but the fields of the log line,
so that whatever is hidden there is hidden here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = str | bool | int | float | tuple[str, ...]
# RFC 9110's methods, PATCH, and QUERY: any other would be a name that a stranger made up.
_METHODS = frozenset("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY".split())
_FINE_OUTCOMES = frozenset({"upgraded", "answered"})
# RFC 6455 section 7.1.5: whoever waits for a Close sees 1006.
_BAD_ENDINGS = frozenset({"eof_without_close", "reset", "timeout"})
# Told by a conventional attribute, or by the span itself.
_TOLD = frozenset(
    """
    at client duration_s headers host http_version method peer phases_ms raw_head status target
    user_agent
    """.split()
)


@dataclass(frozen=True, slots=True)
class Span:
    """What is told of one span; times are epoch nanoseconds. `error` is None where all is well."""

    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    error: str | None = None
    phases: list["Span"] = field(default_factory=list)
    events: list["Event"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened within a span, at an epoch nanosecond."""

    name: str
    at_ns: int
    attributes: dict[str, Value]


def exchange_span(line: Mapping[str, Any], at: float) -> Span:
    """Of a handshake or a plain request that began at the epoch second `at`."""
    start = _ns(at)
    method = line["method"] if line["method"] in _METHODS else None
    attributes = dict(_conventional(line, method)) | dict(_ours(line))
    error = _exchange_error(line)
    if error is not None:
        attributes["error.type"] = error
    name = f"{method or 'HTTP'} {line['route']}" if line["route"] else method or "HTTP"
    end = start + _ms(line["phases_ms"]["total"])
    return Span(name, start, end, attributes, error, list(_phases(line, start)))


def session_span(line: Mapping[str, Any], ended_at: float) -> Span:
    """Of a session that ended at the epoch second `ended_at`."""
    end = _ns(ended_at)
    attributes = dict(_ours(line))
    error = line["ending"] if line["ending"] in _BAD_ENDINGS else None
    if error is not None:
        attributes["error.type"] = error
    return Span(f"session {line['route']}", end - _ns(line["duration_s"]), end, attributes, error)


def call_span(
    fields: Mapping[str, Any],
    turns: Sequence[tuple[float, Mapping[str, Any]]],
    started_at: float,
    ended_at: float,
) -> Span:
    """Of a gateway's call, by the fields of `call_ended` and of each `turn`, told at that second.

    A turn is an event and no span: it is told when it is over, and not when it began. What was
    said is left to the log, which may be told to leave it out.
    """
    events = [
        Event("turn", _ns(at), dict(_flat("hopscope", _without(turn, "agent", "caller"))))
        for at, turn in turns
    ]
    attributes = dict(_flat("hopscope", _without(fields, "duration_s")))
    return Span("call", _ns(started_at), _ns(ended_at), attributes, events=events)


def _conventional(line: Mapping[str, Any], method: str | None) -> Iterator[tuple[str, Value]]:
    yield "http.request.method", method or "_OTHER"
    if method is None and line["method"]:
        yield "http.request.method_original", line["method"]
    yield "url.scheme", "http"  # as it arrived here; TLS ends at the ingress
    path, question, query = (line["target"] or "").partition("?")
    if path.startswith(("http://", "https://")):  # the form for proxies, RFC 9112 section 3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    told = {
        "url.path": path,
        "url.query": query if question else None,
        "http.response.status_code": line["status"],
        "client.address": line["client"],
        "network.peer.address": line["peer"],
        "network.protocol.name": "http",
        "network.protocol.version": (line["http_version"] or "").removeprefix("HTTP/"),
        "user_agent.original": line["user_agent"],
    }
    yield from ((name, value) for name, value in told.items() if value not in (None, ""))
    yield from _server(line["host"] or "")


def _server(host: str) -> Iterator[tuple[str, Value]]:
    """The address of Host and its port, if that is one (RFC 9110 section 7.2)."""
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    if name:
        yield "server.address", name.removeprefix("[").removesuffix("]")
    if port.isascii() and port.isdigit() and len(port) <= 5:
        yield "server.port", int(port)


def _ours(line: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    return _flat("hopscope", _without(line, *_TOLD))


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in fields if name not in names}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Value]]:
    """Nested fields under dotted names; a list of records as JSON: attributes can't nest."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}", inner)
    elif isinstance(value, (list, tuple)):
        if value:
            texts = (item if isinstance(item, str) else json.dumps(item) for item in value)
            yield prefix, tuple(texts)
    elif isinstance(value, (str, bool, int, float)):
        yield prefix, value


def _phases(line: Mapping[str, Any], start: int) -> Iterator[Span]:
    """Head, connect, response, one after the other; what lies between is the sidecar's own."""
    for name in ("head", "connect", "response"):
        ms = line["phases_ms"][name]
        if ms is not None:
            yield Span(name, start, start + _ms(ms), {})
            start += _ms(ms)


def _exchange_error(line: Mapping[str, Any]) -> str | None:
    """The error of RFC 9209, else the status, else what became of it.

    A handshake that is answered by anything but 101 has failed, whoever is to blame: 4xx is an
    error here, which the conventions leave to whoever knows more of the request than they do.
    """
    status = line["status"]
    if line["outcome"] in _FINE_OUTCOMES and (status is None or status < 500):
        return None
    return line["error"] or (str(status) if status else line["outcome"])


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _ms(milliseconds: float | None) -> int:
    return int((milliseconds or 0.0) * 1e6)
