"""The record of one exchange: what came, what became of it, and what is written down of both."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from proxy.handshake import (
    Violation,
    is_handshake,
    request_violations,
    response_violations,
    wants_upgrade,
)
from proxy.http1 import Head, RequestHead, ResponseHead
from proxy.redact import (
    TARGET_LIMIT,
    shown_headers,
    shown_raw_head,
    shown_target,
    shown_value,
)

Outcome = Literal[
    "upgraded",
    "refused",
    "not_an_upgrade",
    "unreachable",
    "timeout",
    "upstream_closed",
    "malformed",
    "client_left",
    "answered",  # a plain request's; a handshake is never merely answered
]
OUTCOMES: tuple[str, ...] = get_args(Outcome)
PHASES = ("head", "connect", "response", "total")
RAW_LIMIT = 4096  # bytes of a malformed head that are kept as evidence
_CALL_SID = re.compile(r"CA[0-9a-f]{32}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread


def new_id(at: float) -> str:
    """A name of 18 characters that sorts by time: 48 bits of milliseconds, 40 of chance."""
    number = int(at * 1000) << 40 | secrets.randbits(40)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(85, -1, -5))


@dataclass(slots=True)
class Exchange:
    """One request and what became of it. `at` is the epoch second when its first byte came.

    `phases` are milliseconds: head (first byte to the end of the head), connect, response (head
    sent to response head received, or to the end of patience), total. What total has beyond the
    others is the sidecar's own.
    """

    id: str
    at: float
    peer: str
    client: str
    request: RequestHead | None = None
    raw: bytes = b""  # what came instead of a head that can be parsed
    ingress: str = "unknown"
    route: str | None = None
    upstream: str | None = None
    forwarded_target: str | None = None
    outcome: Outcome | None = None  # until it is known
    status: int | None = None
    error: str | None = None
    reason: str | None = None
    response: ResponseHead | None = None
    phases: dict[str, float] = field(default_factory=dict)
    probe_id: str | None = None
    call_sid: str | None = None
    request_number: int = 1  # which request of its connection: ingresses reuse connections
    received_bytes: int = 0
    sent_bytes: int = 0

    @property
    def is_handshake(self) -> bool:
        """A head that could not be read may have been one, and is shown among them."""
        return self.request is None or is_handshake(self.request)

    @property
    def event(self) -> str:
        return "handshake" if self.is_handshake else "request"

    def answer(self, response: ResponseHead) -> None:
        """Take the upstream's final response head, or its 101."""
        self.response = response
        self.status = response.status
        if response.status == 101:
            self.outcome = "upgraded"
        elif not self.is_handshake:
            self.outcome = "answered"
        elif self.request is not None and wants_upgrade(self.request):
            self.outcome = "refused"
        else:
            self.outcome = "not_an_upgrade"

    def fail(self, outcome: Outcome, error: str | None, reason: str, status: int | None) -> None:
        """Take an ending that the sidecar saw itself; `status` is what it answers, if anything.

        A handshake that was refused stays refused, though the body of the refusal broke off.
        """
        self.error, self.reason = error, reason
        if self.response is None:
            self.outcome, self.status = outcome, status
        elif not self.is_handshake:
            self.outcome = outcome

    @property
    def stamp(self) -> str:
        """The value of Proxy-Status (RFC 9209 section 2), with our id as its own parameter.

        The id is a string: it starts with a digit, which no token may (RFC 8941 section 3.3.4).
        """
        if self.error is not None:
            details = re.sub(r'[^ -~]|["\\]', "'", self.reason or "")[:TARGET_LIMIT]
            return f'hopscope; error={self.error}; details="{details}"; id="{self.id}"'
        received = self.response.status if self.response is not None else self.status
        return f'hopscope; received-status={received}; id="{self.id}"'

    def violations(self) -> list[Violation]:
        if self.request is None or not self.is_handshake:
            return []
        found = request_violations(self.request)
        if self.response is not None:
            found += response_violations(self.request, self.response)
        return found

    def line(self) -> dict[str, Any]:
        """The fields of the `handshake` or `request` log line."""
        head = self.request
        line: dict[str, Any] = {
            "id": self.id,
            "at": iso(self.at),
            "client": self.client,
            "peer": self.peer,
            "request_number": self.request_number,
            "ingress": self.ingress,
            "method": head and head.method,
            "target": head and shown_target(head.target),
            "forwarded_target": self.forwarded_target and shown_target(self.forwarded_target),
            "http_version": head and head.version,
            "host": _shown(head, "Host"),
            "route": self.route,
            "upstream": self.upstream,
            "outcome": self.outcome,
            "status": self.status,
            "error": self.error,
            "reason": self.reason,
            "phases_ms": {name: self._phase_ms(name) for name in PHASES},
            "probe_id": self.probe_id,
            "call_sid": self.call_sid,
            "user_agent": _shown(head, "User-Agent"),
        }
        if not self.is_handshake:
            return line | {"received_bytes": self.received_bytes, "sent_bytes": self.sent_bytes}
        return line | {
            "upgrade": _shown(head, "Upgrade"),
            "connection": _shown(head, "Connection"),
            "ws_version": _shown(head, "Sec-WebSocket-Version"),
            "ws_key_present": bool(head and head.values("Sec-WebSocket-Key")),
            "subprotocols": _shown(head, "Sec-WebSocket-Protocol"),
            "extensions": _shown(head, "Sec-WebSocket-Extensions"),
            "violations": [violation.line() for violation in self.violations()],
            "headers": shown_headers(head.fields) if head else {},
            "raw_head": None if head else shown_raw_head(self.raw[:RAW_LIMIT]),
        }

    def _phase_ms(self, name: str) -> float | None:
        return round(self.phases[name], 3) if name in self.phases else None

    def detail(self) -> dict[str, Any]:
        """Both heads in order, for `hopscope show`; a value that may not be shown is null."""
        return {"request_head": _pairs(self.request), "response_head": _pairs(self.response)}


def iso(at: float) -> str:
    """An epoch second as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def call_sid_in(target: str) -> str | None:
    """Twilio's name of a call, where a gateway put it into the stream's URL."""
    found = _CALL_SID.search(target)
    return found[0] if found else None


def _shown(head: Head | None, name: str) -> str | None:
    value = head.value(name) if head is not None else None
    return None if value is None else shown_value(name, value)


def _pairs(head: Head | None) -> list[list[str | None]]:
    return [] if head is None else [[name, shown_value(name, value)] for name, value in head.fields]
